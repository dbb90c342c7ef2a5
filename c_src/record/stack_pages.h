/* stack_pages: which pages of its stack a thread may read, of what it has asked the kernel.
 *
 *        lo                            hi
 *   ----+-----------------------------+------------------------------+----
 *       | asked, and all can be read  | a frame that reaches further |    outer frames
 *   ----+-----------------------------+------------------------------+----
 *               ▲ sp                                                 ▲ cfa
 *
 * One range a thread, [lo, hi) of mt_walk_stack. It grows down where a deeper call is met and
 * up by the whole of each frame that a walk goes through, so that a page is asked about once,
 * however large the frames are. On another stack (a fiber's, an alternate one) it begins anew:
 * nothing is remembered of a stack that the thread is not on, for it may be unmapped meanwhile.
 *
 * For hooks. No lock; a system call (readable.h) for each page that is new, at most
 * MT_STACK_PAGES_AT_ONCE in one go: a frame of megabytes is known after some walks, which until
 * then ask for the words that they read.
 */
#ifndef MT_RECORD_STACK_PAGES_H
#define MT_RECORD_STACK_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "walk.h"

enum {
    MT_STACK_PAGE =
        4096, /* the least that a page can be; of a larger one each part is tested */
    MT_STACK_PAGES_AT_ONCE = 64
};

/* Begins a walk at sp: afterwards it lies within the range. */
void mt_stack_pages_enter(mt_walk_stack *known, uintptr_t sp);

/* Grows up to the end of a frame, if that begins within the range and its pages can be read. */
void mt_stack_pages_grow(mt_walk_stack *known, uintptr_t sp, uintptr_t cfa);

static inline void mt_stack_pages_frame(mt_walk_stack *known, uintptr_t sp, uintptr_t cfa) {
    if (__builtin_expect(cfa > known->hi, 0)) mt_stack_pages_grow(known, sp, cfa);
}

/* Whether an address lies on the stack that another below it lies on: there is no page between
 * that cannot be read. The range grows to that; false too while it has not grown far enough. */
bool mt_stack_pages_join(mt_walk_stack *known, uintptr_t below, uintptr_t address);

/* Whether the word there can be read, asked if need be. */
bool mt_stack_pages_ask(const mt_walk_stack *known, uintptr_t address);

static inline bool mt_stack_pages_can_read(const mt_walk_stack *known, uintptr_t address) {
    bool within = address >= known->lo && address < known->hi;
    return __builtin_expect(within && address % sizeof(uintptr_t) == 0, 1) ||
           mt_stack_pages_ask(known, address);
}

#endif
