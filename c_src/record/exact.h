/* exact: the tracer where every chunk is recorded, for good: MTRACE_INTERVAL=0 and a table of
 * several levels (levels.h). Nothing is drawn, charged or thinned; ages are told by a coarse
 * clock; a walk that is the same as one of late brings its row of sites with it (recent.h).
 *
 *   allocate:  guard up ─▶ the allocator ─▶ the same walk? ──yes──▶ its row ─▶ a cell
 *                                              │no                   ▲
 *                                              └──▶ stack ─▶ site ───┘
 *   free:      its cell ─▶ its row ─▶ the allocator
 *
 * For hooks; errno and the floating-point environment are kept.
 */
#ifndef MT_RECORD_EXACT_H
#define MT_RECORD_EXACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tracer.h"

/* The short way to mt_tracer_draws, for a thread that has a block: counts the call and raises
 * the guard. False: nothing is done, go the long way. */
static inline bool mt_exact_draws(mt_count which) {
    mt_thread *block = mt_tls_mine.block;
    if (!mt_tracer_is_exact() || !block || mt_tls_mine.quiet || mt_tls_mine.guard_sp ||
        mt_tls_mine.callback_sp)
        return false;
    mt_thread_bump(block, which);
    mt_tls_mine.guard_sp = (uintptr_t)__builtin_frame_address(0);
    return true;
}

/* Records a chunk, or counts it as ignored: no room. The guard is up. `from`: see walk.h. */
void mt_exact_record_from(void *chunk, size_t size, mt_allocator allocator, void *hook,
                          uintptr_t pc, uintptr_t sp, uintptr_t fp);

/* The same for a chunk of the malloc family, if there is one; lowers the guard. */
static inline void mt_exact_record(void *chunk, size_t size, void *hook, mt_walk_from from) {
    if (chunk)
        mt_exact_record_from(chunk, size, MT_ALLOCATOR_MALLOC, hook, from.pc, from.sp, from.fp);
    mt_tls_mine.guard_sp = 0;
}

/* The same for what realloc made of a chunk that was held (mt_tracer_hold): NULL with a size
 * that is not 0 is a failure. Where the chunk has stayed in its place so does its record. */
void mt_exact_resize_from(const mt_held *held, void *chunk, size_t size, void *hook,
                          uintptr_t pc, uintptr_t sp, uintptr_t fp);
static inline void mt_exact_resize(const mt_held *held, void *chunk, size_t size, void *hook,
                                   mt_walk_from from) {
    mt_exact_resize_from(held, chunk, size, hook, from.pc, from.sp, from.fp);
    mt_tls_mine.guard_sp = 0;
}

/* Ends the record of a chunk that is about to be freed; false: there is none. */
bool mt_exact_forget(void *chunk);

#endif
