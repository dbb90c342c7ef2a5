/* names: what addresses of another process, living or dead, are called: function, source line
 * and inlined functions, from the files that were mapped there.
 *
 * A file is believed only if it is the one that was mapped: same build id. One that is gone may
 * still lead to its debug file. What is found is kept.
 *
 * One thread, with a megabyte of stack; memory is the process's own. Names are any bytes.
 */
#ifndef MT_CTL_NAMES_H
#define MT_CTL_NAMES_H

#include <stdbool.h>
#include <stdint.h>

typedef struct mt_names mt_names;

typedef struct mt_names_frame {
    const char *function; /* demangled; NULL: unknown */
    uint64_t offset;      /* of the return address from the function's begin, unless inlined */
    const char *file;     /* NULL: unknown */
    uint32_t line;        /* 0: unknown */
    bool inlined;         /* into the next frame */
} mt_names_frame;

typedef struct mt_names_place {
    const char *object; /* path of the file; NULL: in none, or none for sure */
    uint64_t in_file;   /* the return address as the file has it */
    uint32_t frames;    /* at least 1, innermost first */
    const mt_names_frame *frame;
} mt_names_place;

/* `folders`: looked for files in first, by their last name, before their own path (for a log
 * that was written elsewhere); separated by colons, or NULL. Debug files are looked for there,
 * too, and in the folders of MTRACE_DEBUG_PATH: debug_file.h. NULL without memory. */
mt_names *mt_names_open(const char *folders);

/* No source files and lines, and nothing inlined: much faster where there is debug information.
 * Before the first find. */
void mt_names_no_lines(mt_names *names);

/* Files are taken from there, and kept there when names are closed (named_kept.h). Before the
 * first find. */
struct mt_named_kept;
void mt_names_keep(mt_names *names, struct mt_named_kept *kept);

/* Tells of a file that was mapped, as seen.h and log_format.h have it; `until` 0: not gone.
 * Times are of any clock, the same for all. Paths and build ids are copied. */
void mt_names_object(mt_names *names, uint64_t lo, uint64_t hi, uint64_t base, uint64_t since,
                     uint64_t until, const char *path, const uint8_t *build_id,
                     uint32_t build_id_bytes);

/* What a return address was called at that moment. Never NULL; valid until names are closed. */
const mt_names_place *mt_names_find(mt_names *names, uint64_t return_address, uint64_t at);

/* Files that could not be read, are other ones than were mapped, or are stripped; and why
 * there are no lines where libdw is not installed: for a note below a report. NULL at the end.
 */
const char *mt_names_missing(mt_names *names, uint32_t i);

void mt_names_close(mt_names *names);

#endif
