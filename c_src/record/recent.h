/* recent: walks that a thread took of late, so that the same walk need not be taken again where
 * every chunk's stack is wanted: in exact mode and for the event log.
 *
 *   pc, sp ──hash──▶ | pc, sp, fp | words of the stack: where, and what stood there | note |
 *
 * A walk is a function of the registers it begins with and of the words of the stack that it
 * reads: the return addresses, and the saved frame pointers that a frame further out is found
 * by. Where all of these are the same again, so are the frames: if the rules are (walk.h), and
 * if the walk went as far as was asked or as there is, or to code that no object has (a JIT's).
 * Others are not kept.
 *
 * The rules are as long as no object was unloaded that the walk went through, and none was
 * loaded where it ended. Each object is asked for after each dlclose of the program's; and each
 * 64th time that the walk is found, for what the C library unloads by itself: then, where the
 * same addresses stand at the same places of the same stack, other frames further out could be
 * told 63 times.
 *
 * Whoever finds a walk here also finds what he noted about it the last time: the row of sites
 * or the log's number of its stack.
 *
 * A thread's own; 40 KiB, mapped when they are first wanted, passed on with the block. For
 * hooks: reads only words between sp and the end of the stack that the thread is known to have.
 * 1 ns for each frame.
 */
#ifndef MT_RECORD_RECENT_H
#define MT_RECORD_RECENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "thread.h"
#include "walk.h"

enum {
    MT_RECENT_WALKS = 64, /* a power of two */
    MT_RECENT_WORDS = 40,
    MT_RECENT_PLACES = 6,
    MT_RECENT_TIMES = 64 /* that a walk is found, at most, until its places are asked for */
};

/* What is noted about a walk: by exact its context, and its site's row as of an age of the
 * sites; by log the number of its stack as of a stamp. */
typedef struct mt_recent_note {
    uint64_t context, age;
    uint32_t row, number, stamp;
} mt_recent_note;

typedef struct mt_recent_walk {
    uintptr_t pc, sp; /* pc 0: none */
    uintptr_t fp;     /* counts if needs_fp */
    uintptr_t hook;
    uint32_t max, frames; /* with the hook's own */
    uint32_t words, places, extent;
    uint32_t unloads, times; /* mt_walk_unloads when the places were last asked for; found */
    bool needs_fp;
    mt_recent_note note;
    uint32_t at[MT_RECENT_WORDS]; /* bytes above sp */
    uintptr_t word[MT_RECENT_WORDS];
    uintptr_t place[MT_RECENT_PLACES]; /* in objects that may go */
    uint32_t id[MT_RECENT_PLACES];     /* of these; 0: in none */
} mt_recent_walk;

typedef struct mt_recent {
    mt_recent_walk walk[MT_RECENT_WALKS];
} mt_recent;

/* Whether what lies at its places is what lay there; else it is kept no longer. */
bool mt_recent_same_objects(mt_recent_walk *w);

/* True if a walk from these registers would be the one in `w`. */
static inline __attribute__((no_sanitize_address, no_sanitize_thread)) bool
mt_recent_is(mt_recent_walk *w, const mt_walk_stack *known, uintptr_t pc, uintptr_t sp,
             uintptr_t fp) {
    if (w->pc != pc || w->sp != sp || (w->needs_fp && w->fp != fp)) return false;
    if (sp < known->lo || sp + w->extent > known->hi) return false;
    const char *stack = (const char *)sp;
    for (uint32_t i = 0; i < w->words; i++)
        if (*(const uintptr_t *)(stack + w->at[i]) != w->word[i]) return false;
    uint32_t unloads = atomic_load_explicit(&mt_walk_unloads, memory_order_relaxed);
    bool trusted = w->unloads == unloads && ++w->times % MT_RECENT_TIMES != 0;
    return w->places == 0 || trusted || mt_recent_same_objects(w);
}

/* Where a walk from here is kept, if it is. */
static inline mt_recent_walk *mt_recent_place(mt_recent *recent, uintptr_t pc, uintptr_t sp) {
    uint64_t h = (pc ^ sp << 20) * 0x9e3779b97f4a7c15ull;
    return &recent->walk[h >> 58];
}

/* The walk that mt_unwind_up would take, with these arguments; or NULL, if it is not kept. */
static inline const mt_recent_walk *mt_recent_find(const mt_thread *block, void *hook,
                                                   uintptr_t pc, uintptr_t sp, uintptr_t fp,
                                                   uint32_t max) {
    if (__builtin_expect(block->recent == NULL, 0)) return NULL;
    mt_recent_walk *w = mt_recent_place(block->recent, pc, sp);
    if (w->hook != (uintptr_t)hook || w->max != max) return NULL;
    return mt_recent_is(w, &block->known, pc, sp, fp) ? w : NULL;
}

/* Keeps the walk that mt_unwind_up has just taken, with these arguments, and what is to be
 * noted about it: both, or neither where a signal's handler jumps out of here. Not every walk
 * can be kept; NULL then. */
const mt_recent_walk *mt_recent_keep(mt_thread *block, void *hook, uintptr_t pc, uintptr_t sp,
                                     uintptr_t fp, uint32_t max, mt_recent_note note);

#endif
