/* exact: see the header. Runs inside malloc and free. */
#include "exact.h"

#include <errno.h>
#include <time.h>

#include "level.h"
#include "recent.h"
#include "seen.h"
#include "site_row.h"
#include "unwind.h"

#define tracer (&mt_tracer_state)

/* By a clock that costs a fraction of the precise one. Among several threads it is asked before
 * the site is held: from then on its row's line is wanted, which others write to, and what is
 * done with it is done without a pause. */
static uint64_t now_of(mt_thread *block) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    uint64_t now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    uint64_t least = atomic_load_explicit(&tracer->not_before_ns, memory_order_relaxed);
    if (now < least) now = least;
    if (now <= block->last_ns) now = block->last_ns + 1;
    return block->last_ns = now;
}

/* The chunk's site, held, or -1; `frames` of its stack are at `stack`. */
static int32_t look_up(mt_thread *block, void **stack, uint32_t frames, mt_allocator allocator,
                       uint64_t *word) {
    uint32_t words = mt_tracer_complete(block, stack, frames, allocator);
    int32_t row = mt_sites_hold_near(&tracer->sites, stack, words, block->near);
    *word = (uintptr_t)stack[words - 1];
    if (row >= 0 && mt_sites_is_new(&tracer->sites, (uint32_t)row)) mt_seen_note(stack, frames);
    return row;
}

static __attribute__((noinline)) int32_t site_by_walk(mt_thread *block, mt_allocator allocator,
                                                      uint32_t depth, void *hook, uintptr_t pc,
                                                      uintptr_t sp, uintptr_t fp) {
    void **stack;
    uint64_t word;
    int error = errno;
    uint32_t frames = mt_unwind_up(block, depth, hook, pc, sp, fp, &stack);
    int32_t row = look_up(block, stack, frames, allocator, &word);
    if (row >= 0) {
        mt_recent_note note = {
            .context = word, .row = (uint32_t)row, .age = mt_sites_age(&tracer->sites)};
        mt_recent_keep(block, hook, pc, sp, fp, depth, note);
    }
    errno = error;
    return row;
}

/* The Erlang frames of the thread's context are those of a row's stack. */
static inline bool is_called_alike(const mt_thread *block, uint32_t row, uint32_t frames) {
    const mt_context *c = &block->context;
    const mt_site *site = mt_sites_row(&tracer->sites, row);
    uintptr_t differs = 0;
    for (uint32_t i = 0; i < c->erlang_frames; i++)
        differs |=
            c->erlang[i] ^ atomic_load_explicit(&site->stack[frames + i], memory_order_relaxed);
    return differs == 0;
}

/* The row that is noted, if it still is what it was. It is held last: another's would count one
 * more for a moment, and have its peak then. If its age is as it was, so was the stack. */
static inline mt_site *site_of(bool alone, mt_thread *block, mt_allocator allocator, void *hook,
                               uintptr_t pc, uintptr_t sp, uintptr_t fp, uint32_t *row) {
    uint32_t depth = atomic_load_explicit(&tracer->depth, memory_order_relaxed);
    const mt_recent_walk *w = mt_recent_find(block, hook, pc, sp, fp, depth);
    if (w && mt_tracer_context(block, w->frames, allocator) == w->note.context) {
        *row = w->note.row;
        mt_site *site = is_called_alike(block, *row, w->frames)
                            ? mt_row_hold_again(alone, &tracer->sites, *row, w->note.age)
                            : NULL;
        if (site) return site;
    }
    int32_t found = site_by_walk(block, allocator, depth, hook, pc, sp, fp);
    *row = (uint32_t)found;
    return found < 0 ? NULL : mt_sites_row(&tracer->sites, *row);
}

static __attribute__((noinline)) bool put_slowly(const mt_chunk *chunk) {
    mt_put result;
    while ((result = mt_levels_put(&tracer->chunks, chunk)) == MT_PUT_STALE)
        mt_tracer_end_missed(chunk->address);
    if (result == MT_PUT_DONE) return true;
    mt_sites_live(&tracer->sites, chunk->site, -1, chunk->weight, chunk->size);
    mt_sites_drop(&tracer->sites, chunk->site);
    return false;
}

static inline mt_chunk chunk_of(const mt_thread *block, void *p, size_t size,
                                mt_allocator allocator, uint64_t now, uint32_t row) {
    return (mt_chunk){.address = (uintptr_t)p,
                      .size = size,
                      .born_ns = now,
                      .p = 1,
                      .weight = MT_WEIGHT_ONE,
                      .pid = block->context.pid,
                      .thread = mt_tracer_thread(block, allocator),
                      .site = row};
}

static inline __attribute__((always_inline)) void record(bool alone, void *p, size_t size,
                                                         mt_allocator allocator, void *hook,
                                                         uintptr_t pc, uintptr_t sp,
                                                         uintptr_t fp) {
    mt_thread *block = mt_tls_mine.block;
    mt_levels *levels = &tracer->chunks;
    uint32_t set = mt_level_set(&levels->level[0], (uintptr_t)p), row;
    mt_level_expect(&levels->level[0], set, (uintptr_t)p);
    if (mt_level_is_beyond(levels, set)) mt_levels_expect_beyond(levels, (uintptr_t)p);
    uint64_t now = alone ? 0 : now_of(block);
    mt_site *site = site_of(alone, block, allocator, hook, pc, sp, fp, &row);
    bool recorded = site != NULL;
    if (recorded) {
        if (alone) now = now_of(block);
        mt_chunk chunk = chunk_of(block, p, size, allocator, now, row);
        mt_row_add(alone, site, size);
        recorded = mt_level_put(alone, levels, set, &chunk) || put_slowly(&chunk);
    }
    mt_thread_bump(block, recorded ? MT_COUNT_recorded : MT_COUNT_ignored);
}

void mt_exact_record_from(void *p, size_t size, mt_allocator allocator, void *hook,
                          uintptr_t pc, uintptr_t sp, uintptr_t fp) {
    if (mt_word_is_alone()) record(true, p, size, allocator, hook, pc, sp, fp);
    else record(false, p, size, allocator, hook, pc, sp, fp);
}

/* The old one ends first, as if it were freed: then the peaks are those of a free and a malloc.
 */
static void stay(mt_thread *block, const mt_held *held, size_t size, void *hook, uintptr_t pc,
                 uintptr_t sp, uintptr_t fp) {
    uint64_t address = held->chunk.address;
    bool alone = mt_word_is_alone();
    uint64_t now = now_of(block);
    uint32_t row;
    mt_row_end(alone, mt_sites_row(&tracer->sites, held->chunk.site), held->chunk.size);
    mt_site *site = site_of(alone, block, MT_ALLOCATOR_MALLOC, hook, pc, sp, fp, &row);
    mt_thread_bump(block, site ? MT_COUNT_recorded : MT_COUNT_ignored);
    if (!site) {
        mt_levels_abandon(&tracer->chunks, held->cell, address);
        return;
    }
    mt_chunk chunk =
        chunk_of(block, (void *)(uintptr_t)address, size, MT_ALLOCATOR_MALLOC, now, row);
    mt_row_add(alone, site, size);
    mt_levels_publish(&tracer->chunks, held->cell, &chunk);
}

void mt_exact_resize_from(const mt_held *held, void *p, size_t size, void *hook, uintptr_t pc,
                          uintptr_t sp, uintptr_t fp) {
    bool held_one = held->cell >= 0, same = held_one && (uintptr_t)p == held->chunk.address;
    if (!p && size) {
        mt_tracer_restore(held);
    } else if (same && held->chunk.weight == MT_WEIGHT_ONE) {
        stay(mt_tls_mine.block, held, size, hook, pc, sp, fp);
    } else {
        mt_tracer_release(held);
        if (p) mt_exact_record_from(p, size, MT_ALLOCATOR_MALLOC, hook, pc, sp, fp);
    }
}

/* A chunk's weight is one, unless the interval was another for a while. */
static void ended(const mt_chunk *chunk) {
    if (chunk->weight != MT_WEIGHT_ONE) mt_tracer_ended(chunk);
    else mt_row_end(mt_word_is_alone(), mt_sites_row(&tracer->sites, chunk->site), chunk->size);
}

static __attribute__((noinline)) bool forget_slowly(uint64_t address) {
    mt_chunk chunk;
    if (!mt_levels_cut(&tracer->chunks, address, &chunk)) return false;
    ended(&chunk);
    return true;
}

static __attribute__((noinline)) void ended_unusual(int32_t cell, uint64_t tag) {
    mt_chunk chunk;
    mt_cell_read(&tracer->chunks.level[0], cell, tag, &chunk);
    ended(&chunk);
}

static inline __attribute__((always_inline)) bool forget(bool alone, void *p) {
    mt_chunks *first = &tracer->chunks.level[0];
    uint64_t address = (uintptr_t)p, tag;
    uint32_t set = mt_level_set(first, address);
    /* mostly in the next level: a look at the set's word spares one at the cell */
    if (mt_level_is_beyond(&tracer->chunks, set)) return forget_slowly(address);
    int32_t i = mt_level_find(alone, first, set, address, &tag);
    if (i < 0) return forget_slowly(address);
    const mt_cell *cell = &first->cell[i];
    uint32_t row = atomic_load_explicit(&cell->site, memory_order_relaxed);
    uint64_t size = mt_cell_load(&cell->size);
    uint32_t thread = atomic_load_explicit(&cell->thread, memory_order_relaxed);
    if (__builtin_expect(thread & MT_CELL_UNUSUAL, 0)) ended_unusual(i, tag);
    else mt_row_end(alone, mt_sites_row(&tracer->sites, row), size);
    mt_cell_clear(alone, first, i, mt_level_fingerprint(address));
    return true;
}

bool mt_exact_forget(void *p) {
    __builtin_prefetch((char *)p - sizeof(size_t)); /* most allocators look there next */
    return mt_word_is_alone() ? forget(true, p) : forget(false, p);
}
