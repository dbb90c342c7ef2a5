/* preload: what happens when the dynamic linker loads us at the start of a program: a
 * constructor decides whether this process is traced, starts tracing, and keeps us out of
 * what the BEAM will start.
 *
 * Traced is a BEAM (it exports enif_alloc) unless MTRACE=0, and any program with MTRACE=1.
 * In all others nothing is opened, started or printed; LD_PRELOAD stays as it is.
 */
#ifndef MT_HOOK_PRELOAD_H
#define MT_HOOK_PRELOAD_H

#include <stdint.h>

#include "record/options.h"

typedef enum mt_preload {
    MT_PRELOAD_NO = 0, /* not preloaded: loaded as a NIF only, or nothing to trace */
    MT_PRELOAD_TRACING = 1,
    MT_PRELOAD_OFF = 2,       /* MTRACE=0 */
    MT_PRELOAD_SHADOWED = 3,  /* another allocator stands in front of us and takes the calls */
    MT_PRELOAD_NO_MEMORY = 4, /* the tables could not be mapped */
    MT_PRELOAD_LATE = 5,  /* LD_PRELOAD names us, but we came later: we could not be loaded */
    MT_PRELOAD_NO_LOG = 6 /* MTRACE_LOG names a file that cannot be written */
} mt_preload;

/* How this object was preloaded; any thread. */
mt_preload mt_preload_state(void);

/* What MTRACE asks for; see options.h. */
uint64_t mt_preload_mode(void);

/* From now on options are asked of this and not of the environment, and there is room for at
 * most so many slots: for who attaches from outside, before the first attach. */
void mt_preload_given(mt_getenv *get);
void mt_preload_limit_slots(uint64_t slots);

/* Starts tracing as the environment says: TRACING, or NO_MEMORY and nothing done. For the
 * constructor and the first attach. A value that makes no sense is a line on stderr. */
mt_preload mt_preload_start(void);

/* For a later attach: begins a log if who attaches from outside wants one. False if it cannot
 * be written. */
bool mt_preload_log_again(void);

#endif
