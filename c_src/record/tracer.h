/* tracer: what the hooks call. It lets the sampler choose, takes the stack of what is drawn,
 * and keeps the table of chunks and the table of sites in step.
 *
 *   allocate:  counted ─▶ credit left? ──yes──▶ the allocator, and nothing else (fast path)
 *                              │no
 *                              ▼
 *              tracing? ─▶ guard down? ─▶ drawn? ─▶ the allocator ─▶ stack ─▶ site ─▶ a cell?
 *              ─▶ recorded; then: table 4/7 full? ─▶ thin.  Time taken ─▶ charged
 *   free:      may it be recorded? ──no──▶ the allocator, and nothing else (fast path)
 *                              │yes
 *                              ▼
 *              in the table? ─▶ record ended, then the allocator
 *
 * Where every chunk is recorded (exact mode: MTRACE_INTERVAL=0 and a large table) a call goes a
 * shorter way: see exact.h.
 *
 * What was drawn and cannot be recorded is dropped and counted (ignored).
 *
 * Chunks that are drawn get a 512-byte boundary where the allocator can give them one without
 * touching more than the program asked for, so that a free need not look for any other: of 32
 * ordinary chunks one lies on such a boundary. Recorded chunks that do not (a realloc never
 * moves a chunk for our sake) are counted as odd, and while there are odd ones in the table
 * each free looks. Chunks of the VM's own are not among them: free never meets one that is
 * recorded, and the functions that do always look.
 *
 * Ownership: the tracer owns both tables; they are mapped once and never unmapped.
 */
#ifndef MT_RECORD_TRACER_H
#define MT_RECORD_TRACER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "context.h"
#include "levels.h"
#include "log.h"
#include "options.h"
#include "sampler.h"
#include "seen.h"
#include "sites.h"
#include "thread.h"

enum {
    MT_BOUNDARY = 512,             /* of drawn chunks */
    MT_ODD_BITS = MT_BOUNDARY - 1, /* an address with any of these is odd */
    MT_ZEROED_MAX = 32768          /* what is zeroed to get a calloc there, at most */
};

typedef struct mt_tracer {
    /* In a page of its own that the kernel empties in the child of a fork, however it forks
     * (MADV_WIPEONFORK, Linux 4.14); NULL before the start. */
    atomic_bool *_Atomic on;
    _Atomic uint32_t depth, erlang_depth;
    atomic_flag thinning;
    atomic_bool looks_always;       /* no chunk is counted as odd any more */
    atomic_bool never_aligns;       /* chunks that are drawn get no boundary */
    atomic_bool exact;              /* every chunk is recorded, for good: see exact.h */
    _Atomic uint64_t not_before_ns; /* which tells no time before this */
    mt_options options;
    mt_sampler sampler;
    mt_levels chunks; /* of one level: its table is chunks.level[0] */
    mt_sites sites;
    _Atomic uint64_t ignored_before, thinned_before; /* counters at the last reset */
    _Atomic uint64_t draws;      /* how many of late, and above that how many in vain: thin */
    _Atomic uint64_t watched_ns; /* until then somebody watches */
    _Atomic uint64_t watch_thinned; /* by mt_thin_for_watch, since then */
    _Atomic uint64_t epoch;         /* counts resets */
    /* Which bits of an address being 0 tells that the chunk may be recorded, in the low 16:
     * MT_ODD_BITS, or none while there are odd chunks, whose number stands above. */
    struct {
        _Atomic uint64_t word;
    } __attribute__((aligned(64))) odd;
} mt_tracer;

extern mt_tracer mt_tracer_state __attribute__((visibility("hidden")));

/* A chunk that is to be recorded when the allocator has made it. */
typedef struct mt_draw {
    double p;
    uint64_t begin_ns;
    mt_allocator allocator; /* by what was called */
} mt_draw;

/* A thread's credit while the VM's allocator works. */
typedef struct mt_inner {
    mt_thread *block;
    uint64_t left;
} mt_inner;

/* A record that realloc holds while the allocator works. */
typedef struct mt_held {
    mt_chunk chunk;
    uint64_t epoch;
    int32_t cell; /* -1: the address was not recorded */
} mt_held;

/* Everything is recorded, for good: see exact.h. */
static inline bool mt_tracer_is_exact(void) {
    return atomic_load_explicit(&mt_tracer_state.exact, memory_order_relaxed);
}

/* Acquire: whoever sees it finds the tables mapped, a thread too that was there before us. */
static inline bool mt_tracer_on(void) {
    atomic_bool *on = atomic_load_explicit(&mt_tracer_state.on, memory_order_acquire);
    return on && atomic_load_explicit(on, memory_order_relaxed);
}

/* What is recorded from now on is told to be no older than this moment: the coarse clock is
 * some milliseconds behind, and a chunk must not seem older than what its code replaced. Any
 * thread; of two calls at one moment either may count. */
static inline void mt_tracer_not_before(uint64_t ns) {
    atomic_store_explicit(&mt_tracer_state.not_before_ns, ns, memory_order_relaxed);
}

/* False if the chunk is surely not recorded, by its address alone; NULL may be. For a thread
 * that has a block. Whoever frees a chunk got it after it was counted as odd and recorded,
 * hence relaxed. */
static inline bool mt_tracer_must_look(const void *chunk) {
    uint64_t word = atomic_load_explicit(&mt_tracer_state.odd.word, memory_order_relaxed);
    return __builtin_expect(((uintptr_t)chunk & word & 0xffff) == 0, 0);
}

/* And if it must: false if a look into the table says so. Where nearly all are recorded nobody
 * looks twice. */
static inline bool mt_tracer_may_know(const void *chunk) {
    return mt_log_on() || mt_levels_several(&mt_tracer_state.chunks) ||
           mt_chunks_may_hold(&mt_tracer_state.chunks.level[0], (uintptr_t)chunk);
}

/* For hooks; errno and the floating-point environment are kept.
 *
 * Counts the call and lets the sampler decide what its fast path did not. True: the thread's
 * guard is up, for an allocator that calls our hooks itself; give the chunk, or NULL, to
 * mt_tracer_record, which lowers it. */
bool mt_tracer_draws_at(mt_count which, size_t size, mt_draw *draw, uintptr_t sp);

/* The guard is the address of the hook's own frame, as in exact and log: in a hook that is
 * called from the same place after the guard was jumped out of it is the same again. */
static inline __attribute__((always_inline)) bool mt_tracer_draws(mt_count which, size_t size,
                                                                  mt_draw *draw) {
    return mt_tracer_draws_at(which, size, draw, (uintptr_t)__builtin_frame_address(0));
}

/* True if a chunk that was drawn should get a boundary: not where everything is drawn. */
bool mt_tracer_aligns(void);

/* Records a chunk that was drawn, unless it is NULL. `hook` is the hook's own address, `from`
 * what its caller's registers are. */
void mt_tracer_record_from(void *chunk, size_t size, const mt_draw *draw, void *hook,
                           uintptr_t pc, uintptr_t sp, uintptr_t fp);

static inline void mt_tracer_record(void *chunk, size_t size, const mt_draw *draw, void *hook,
                                    mt_walk_from from) {
    mt_tracer_record_from(chunk, size, draw, hook, from.pc, from.sp, from.fp);
}

/* The same for words that are known, a stack and its context; the rest of the context is the
 * block's. The guard is up. False: ignored. */
bool mt_tracer_record_stack(mt_thread *block, void *chunk, size_t size, const mt_draw *draw,
                            void *const *stack, uint32_t frames);

/* Around a call of the VM's allocator for a chunk that is ours to record or not: what it
 * allocates for it (under +Mea min enif_alloc is a malloc) is counted as a call, but neither
 * drawn nor taken from the credit, which would make the next draw likelier than it says. Nests;
 * some 2 ns. */
mt_inner mt_tracer_enter_allocator(void);
void mt_tracer_leave_allocator(mt_inner inner);

/* Ends the record of a chunk that is about to be freed, and says whether there was one; NULL is
 * allowed. */
bool mt_tracer_forget(void *chunk);

/* Ends the record of an address that the allocator has just handed out, if it has one: nobody
 * told us of its free. To be asked where must_look and may_know are true. */
void mt_tracer_handed_out(void *chunk);

/* The same around realloc: hold before it, then release if the chunk is gone or restore if
 * the allocator failed and the chunk is still there. */
void mt_tracer_hold(void *chunk, mt_held *held);
void mt_tracer_release(const mt_held *held);
void mt_tracer_restore(const mt_held *held);

/* Accounts for a record that has ended: for thin and exact. */
void mt_tracer_ended(const mt_chunk *chunk);

/* For exact.
 *
 * Ends the record of an address that was handed out again, and counts it. */
void mt_tracer_end_missed(uint64_t address);

/* Notes the free of an address that nobody knows of; false. */
bool mt_tracer_stray(const void *p);

/* Reads the thread's context into its block, and tells it as the word that ends a key. */
static inline uint64_t mt_tracer_context(mt_thread *block, uint32_t frames,
                                         mt_allocator allocator) {
    mt_context *c = &block->context;
    mt_context_reader *read = atomic_load_explicit(&mt_context_read, memory_order_relaxed);
    c->pid = 0;
    c->caller = c->erlang_frames = 0;
    c->thread = MT_THREAD_OTHER;
    if (read)
        read(c, atomic_load_explicit(&mt_tracer_state.erlang_depth, memory_order_relaxed));
    return mt_context_word(c->caller, allocator, frames, c->erlang_frames, mt_seen_changes());
}

/* Appends to a stack what else its site is known by: how many words it has then. */
uint32_t mt_tracer_complete(mt_thread *block, void **stack, uint32_t frames,
                            mt_allocator allocator);

/* A chunk's word of its thread. */
static inline uint32_t mt_tracer_thread(const mt_thread *block, mt_allocator allocator) {
    return ((uint32_t)block->tid & MT_CHUNK_TID) |
           (uint32_t)block->context.thread << MT_CHUNK_KIND_SHIFT |
           (uint32_t)allocator << MT_CHUNK_ALLOCATOR_SHIFT;
}

/* Ends all records there are: for control. */
void mt_tracer_end_all(void);

/* CLOCK_MONOTONIC in nanoseconds, the clock of born_ns. Where everything is recorded and no
 * time is charged, born_ns is that of CLOCK_MONOTONIC_COARSE, which is behind by up to a tick
 * of the kernel (4 ms), and then a nanosecond more for each record of the thread within a tick:
 * which of a thread's chunks is older can be told, and how old by some ms. */
uint64_t mt_tracer_now(void);

#endif
