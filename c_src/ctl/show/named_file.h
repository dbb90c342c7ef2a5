/* named_file: a file that was mapped into a program, looked for again to name its addresses.
 *
 * It is opened when it is first asked about, and believed only if it is the one that was
 * mapped: same build id or, where there was none, none either. One that is gone or another may
 * still lead to its debug file, by its build id.
 *
 * One thread, with a megabyte of stack (demangle.h, debug.h).
 */
#ifndef MT_CTL_NAMED_FILE_H
#define MT_CTL_NAMED_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "name/debug.h"
#include "name/memory.h"
#include "name/symbols.h"

#include "names.h"

typedef struct mt_named_file {
    struct mt_named_file *next;
    const char *path; /* "": none */
    mt_elf_identity identity;
    const char *missing; /* why it cannot be had, a sentence; NULL: it can, or not asked yet */
    const char *found;   /* where it was found; NULL: nowhere */
    struct stat status;  /* of that, before it was read; all 0: not known */
    mt_symbols symbols;
    mt_debug *debug;
    bool asked, asked_debug;
} mt_named_file;

struct mt_named_kept;

/* What it takes to look for files. */
typedef struct mt_named_where {
    const char *folders;     /* between colons, or NULL: they come before a file's own path */
    const char *search_path; /* of debug files: debug_file.h */
    bool lines;
    mt_arena *arena;            /* what is found goes there */
    struct mt_named_kept *kept; /* files that were read before, or NULL */
} mt_named_where;

/* Names the code at `address`, which is as in the file: one that lies before a return address.
 * What is known goes to `place`, whose offset counts from `address` + 1. */
void mt_named_file_find(mt_named_file *file, const mt_named_where *where, uint64_t address,
                        mt_names_place *place);

/* Gives back what was read. */
void mt_named_file_close(mt_named_file *file);

#endif
