/* family: what the hooks of the malloc family have in common; for malloc.c and aligned.c. The
 * law that holds for them stands in malloc.c.
 */
#ifndef MT_HOOK_FAMILY_H
#define MT_HOOK_FAMILY_H

#include <stdbool.h>
#include <stddef.h>

#include "next.h"
#include "own.h"
#include "record/tracer.h"

#define EXPORT __attribute__((visibility("default")))
/* Not cold, which the compiler takes for small rather than fast: in exact mode it is every
 * call. */
#define SLOW        static __attribute__((noinline))
#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define NEXT        mt_next_get

/* The fast path of an allocation: the thread's credit covers the cost. Then it is counted, and
 * the hook ends in the allocator. Else the hook ends in its slow twin, which is therefore
 * called by the program itself, as its stack shows. */
static inline bool mt_family_covers(mt_thread *block, mt_count which, size_t size) {
    if (!mt_sampler_passes(&block->credit, size)) return false;
    mt_thread_bump(block, which);
    return true;
}

static inline bool mt_family_passes(mt_count which, size_t size) {
    mt_thread *block = mt_tls_mine.block;
    return LIKELY(block != NULL) && mt_family_covers(block, which, size);
}

#define RECORD(p, size, draw, hook)                                                            \
    mt_tracer_record(p, size, draw, own_##hook, MT_WALK_FROM_CALLER)

#endif
