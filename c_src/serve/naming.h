/* naming: gives a snapshot's addresses their names: function, source file and line, inlined
 * functions, Erlang functions in the JIT's code.
 *
 * What an address is called is found once and kept:
 *
 *   address at a moment ──objects──▶ object + address ──name_table──▶ name
 *                              │ none                                   │ new: lookup
 *                              ▼                                        ▼ (files are opened)
 *                             jit ──────────────────────────────────▶ name, for this run only
 *
 * Names outlive the objects that they lie in. The table is emptied before a run when its names
 * have taken 8 MiB; everything else that naming took is given back at the end of the run.
 *
 * It runs on a thread of its own, whose stack is large enough for what demangles and what reads
 * debug information, with our guard up. It allocates nothing through the malloc family, but
 * for what the C library does for that thread and to load libraries.
 *
 * State is one for the process: runs wait for each other, for as long as reading files takes.
 * No hook of the malloc family ever waits for them. Not for hooks; any thread.
 */
#ifndef MT_SERVE_NAMING_H
#define MT_SERVE_NAMING_H

#include <stdbool.h>
#include <stdint.h>

#include "snapshot.h"

/* What a run is asked for. Symbols are cheap; lines may read megabytes the first time. */
enum { MT_NAMES_LINES = 1, MT_NAMES_PLAIN = 2 /* demangled */ };

typedef struct mt_named_frame {
    const char *symbol; /* NULL: unknown */
    const char *plain;  /* with MT_NAMES_PLAIN; else NULL. Not mangled: the same as symbol */
    const char *file;   /* NULL: unknown */
    uint32_t line;      /* 0: unknown */
    bool inlined;       /* into the next frame */
} mt_named_frame;

/* What one address is called, innermost first where functions were inlined. */
typedef struct mt_name {
    uintptr_t address;
    uint32_t object;     /* its number; 0: none */
    uint32_t frames;     /* at least 1 */
    uint32_t known;      /* MT_NAMES_* that have been looked for, and the symbol */
    uint32_t tried_s;    /* when they were looked for */
    bool erlang;         /* code of the JIT */
    uint32_t index;      /* of this run's names, from 0 */
    const char *library; /* NULL: the address lies in no object */
    uintptr_t base;      /* of the object: what was added to the addresses in its file */
    mt_named_frame *frame;
} mt_name;

/* The names of one record's stack. */
typedef struct mt_named {
    uint64_t ns; /* what they took to find */
    const mt_name *name[MT_FRAMES_MAX];
} mt_named;

/* Names the stacks of n records into `named`, and all different names, in the order of their
 * index, into the array that `*names` is set to, unless that is NULL. What is handed out is
 * valid until mt_naming_end, which must follow, from the same thread, if this returned 0; -1
 * without memory. `what`: MT_NAMES_*. */
int mt_naming_begin(const mt_record *records, uint32_t n, unsigned what, mt_named *named,
                    const mt_name *const **names, uint32_t *count);
void mt_naming_end(void);

/* NULL, or a sentence that says why there are no lines, and the remedy. */
const char *mt_naming_lacks(void);

/* Bytes that are kept between runs. */
uint64_t mt_naming_bytes(void);

/* Around every dlclose of the program, before and after: see objects.h. If a run has the
 * objects at this moment the picture is not taken. */
void mt_naming_unloading(void);

#endif
