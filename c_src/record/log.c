/* log: see the header. Runs inside malloc and free. */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log_clock.h"
#include "log_frame.h"
#include "log_path.h"
#include "log_stacks.h"
#include "recent.h"
#include "seen.h"
#include "stack_pages.h"
#include "unwind.h"

#define state       (&mt_log_state)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

static _Atomic pid_t process;
static mt_log_options options;

void mt_log_drop(void) {
    atomic_fetch_add_explicit(&state->dropped, 1, memory_order_relaxed);
}

/* Something was being added when a signal came; or a handler has jumped out of that, and it is
 * found below the stack pointer one day (see thread.h). */
static bool is_interrupted(const mt_log_buffer *b, mt_thread *block, uintptr_t sp) {
    uintptr_t raised = b->busy_sp;
    stack_t alternate;
    if (sp < raised || !mt_stack_pages_join(&block->known, raised, sp)) return true;
    return sigaltstack(NULL, &alternate) != 0 || alternate.ss_flags & SS_ONSTACK;
}

/* The longest event has four words. */
static inline bool is_full(const mt_log_buffer *b) {
    return atomic_load_explicit(&b->events, memory_order_relaxed) > MT_LOG_EVENT_WORDS - 4;
}

static __attribute__((noinline, cold)) mt_log_buffer *enter_slowly(mt_thread *block,
                                                                   uintptr_t sp) {
    mt_log_buffer *b = block ? mt_log_buffer_get(block) : NULL;
    if (!b || (b->busy_sp && is_interrupted(b, block, sp))) {
        mt_log_drop();
        if (b) b->dropped++;
        return NULL;
    }
    b->busy_sp = sp;
    if (b->generation != mt_log_file_generation()) mt_log_buffer_renew(b);
    else if (is_full(b)) mt_log_buffer_flush(b); /* a handler jumped out just before that */
    return b;
}

/* The thread's buffer, which is its own until leave; NULL: nothing can be added. */
static inline mt_log_buffer *enter(mt_thread *block) {
    uintptr_t sp = (uintptr_t)__builtin_frame_address(0);
    if (UNLIKELY(!atomic_load_explicit(&state->open, memory_order_relaxed))) return NULL;
    mt_log_buffer *b = block ? block->log : NULL;
    if (UNLIKELY(!b || b->busy_sp || b->generation != mt_log_file_generation()))
        return enter_slowly(block, sp);
    b->busy_sp = sp;
    atomic_signal_fence(memory_order_seq_cst);
    return b;
}

static inline void leave(mt_log_buffer *b) {
    atomic_signal_fence(memory_order_seq_cst);
    b->busy_sp = 0;
}

/* The words first, then their number. A thread's times never go backwards. Written out is what
 * is there afterwards, not before: the numbers of the event's stack would not hold any more. */
static inline void put(mt_log_buffer *b, uint64_t units, mt_log_op op, const void *chunk,
                       uint32_t words, uint64_t second, uint64_t third) {
    uint32_t n = atomic_load_explicit(&b->events, memory_order_relaxed);
    uint64_t delta = units > b->last ? units - b->last : 0;
    uint64_t *w = b->word + n;
    b->last += delta;
    if (UNLIKELY(delta >> MT_LOG_DELTA_BITS)) {
        *w++ = delta << 4 | MT_LOG_TIME;
        n++;
        delta = 0;
    }
    w[0] = (uintptr_t)chunk >> 3 << MT_LOG_ADDRESS_SHIFT | delta << 4 | op;
    w[1] = second;
    w[2] = third;
    n += words;
    atomic_store_explicit(&b->events, n, memory_order_release);
    if (UNLIKELY(is_full(b) || units > b->due)) mt_log_buffer_flush(b);
}

/* The files that it lies in first. */
static __attribute__((noinline)) void define(mt_log_buffer *b, void *const *stack,
                                             uint32_t frames, uint32_t number) {
    mt_seen_note(stack, frames);
    mt_log_tell();
    mt_log_buffer_define(b, number, stack, frames);
}

/* Numbers hold within a generation. */
static inline uint32_t stamp_of(const mt_log_buffer *b) {
    return atomic_load_explicit(&state->stamp, memory_order_relaxed) ^ b->generation << 20;
}

static inline uint32_t number_of(mt_log_buffer *b, void *const *stack, uint32_t frames) {
    bool defines;
    uint32_t number = mt_log_stacks_number(stack, frames, stamp_of(b), &b->writer, &defines);
    if (UNLIKELY(defines)) define(b, stack, frames, number);
    return number;
}

static inline bool is_same(const mt_log_near *n, void *const *stack, uint32_t frames) {
    uintptr_t differs = 0;
    for (uint32_t i = 0; i < frames; i++) differs |= n->word[i] ^ (uintptr_t)stack[i];
    return differs == 0;
}

/* Found by three of its frames. */
static inline uint32_t number_of_near(mt_log_buffer *b, void *const *stack, uint32_t frames) {
    uint32_t stamp = stamp_of(b);
    if (frames < 3 || frames > MT_LOG_NEAR_FRAMES) return number_of(b, stack, frames);
    uint64_t h =
        (uintptr_t)stack[1] + 3 * (uintptr_t)stack[2] + 5 * (uintptr_t)stack[frames / 2];
    mt_log_near *n = &b->near[h * 0x9e3779b97f4a7c15ull >> 60];
    if (n->frames == frames && n->stamp == stamp && is_same(n, stack, frames)) return n->number;
    uint32_t number = number_of(b, stack, frames);
    n->frames = 0; /* until all of it is there: a handler may jump out */
    atomic_signal_fence(memory_order_seq_cst);
    n->stamp = stamp;
    n->number = number;
    for (uint32_t i = 0; i < frames; i++) n->word[i] = (uintptr_t)stack[i];
    atomic_signal_fence(memory_order_seq_cst);
    n->frames = frames;
    return number;
}

/* By a walk that was taken anew, which is kept if it can be. */
static __attribute__((noinline)) uint32_t number_by_walk(mt_thread *block, mt_log_buffer *b,
                                                         uint32_t depth, void *hook,
                                                         uintptr_t pc, uintptr_t sp,
                                                         uintptr_t fp) {
    void **stack;
    int error = errno;
    uint32_t stamp = stamp_of(b); /* before: what is defined later may be lost with it */
    uint32_t frames = mt_unwind_up(block, depth, hook, pc, sp, fp, &stack);
    uint32_t number = number_of_near(b, stack, frames);
    mt_recent_note note = {.number = number, .stamp = stamp};
    mt_recent_keep(block, hook, pc, sp, fp, depth, note);
    errno = error;
    return number;
}

static inline uint32_t number_of_walk(mt_thread *block, mt_log_buffer *b, uint32_t depth,
                                      void *hook, uintptr_t pc, uintptr_t sp, uintptr_t fp) {
    const mt_recent_walk *w = mt_recent_find(block, hook, pc, sp, fp, depth);
    if (w && w->note.stamp == stamp_of(b)) return w->note.number;
    return number_by_walk(block, b, depth, hook, pc, sp, fp);
}

/* Two frames are kept by the second. */
static inline uint32_t number_of_caller(mt_log_buffer *b, void *hook, uintptr_t pc) {
    uint32_t stamp = stamp_of(b);
    mt_log_caller *c = &b->caller[pc * 0x9e3779b97f4a7c15ull >> 57];
    if (UNLIKELY(c->pc != pc || c->hook != (uintptr_t)hook || c->stamp != stamp)) {
        void *stack[2] = {(char *)hook + 1, (void *)pc}; /* as unwind has it */
        *c = (mt_log_caller){pc, (uintptr_t)hook, 0, stamp};
        c->number = number_of(b, stack, 2);
    }
    return c->number;
}

/* A free within the recording of something else gets two frames at most: the thread's room for
 * stacks is taken. */
static inline uint32_t number_of_free(mt_thread *block, mt_log_buffer *b, void *hook,
                                      uintptr_t pc, uintptr_t sp, uintptr_t fp) {
    uint32_t frames = state->frees;
    if (!hook || frames == 0) return 0;
    void *first = (char *)hook + 1;
    if (frames == 1) return number_of(b, &first, 1);
    if (frames == 2 || mt_tls_mine.guard_sp || mt_tls_mine.callback_sp)
        return number_of_caller(b, hook, pc);
    mt_tls_mine.guard_sp = (uintptr_t)__builtin_frame_address(0);
    uint32_t number = number_of_walk(block, b, frames, hook, pc, sp, fp);
    mt_tls_mine.guard_sp = 0;
    return number;
}

enum { REALLOCATING = 6 };
static const mt_count reallocating[REALLOCATING] = {
    MT_COUNT_realloc,        MT_COUNT_reallocarray,
    MT_COUNT_enif_realloc,   MT_COUNT_enif_realloc_binary,
    MT_COUNT_driver_realloc, MT_COUNT_driver_realloc_binary};

/* A chunk that was held to be given away (a binary, to the VM) is no realloc's. */
void mt_log_draws(mt_thread *block, mt_count which) {
    if (!block->log || !block->log->realloc) return;
    for (int i = 0; i < REALLOCATING; i++)
        if (which == reallocating[i]) return;
    block->log->realloc = 0;
}

/* What became of a chunk that was to be reallocated: see log_format.h. */
static mt_log_op outcome(mt_log_buffer *b, void **chunk, size_t size) {
    uint64_t old = b->realloc;
    b->realloc = 0;
    if (*chunk) return old ? MT_LOG_REALLOC_TO : MT_LOG_ALLOC;
    if (!old) return MT_LOG_PAD;
    if (size == 0) return MT_LOG_REALLOC_TO;
    *chunk = (void *)(uintptr_t)old;
    return MT_LOG_REALLOC_FAILED;
}

/* When it returned. Where nobody else could have had the chunk meanwhile, a realloc's is when
 * it was called. */
static inline uint64_t returned(const mt_log_buffer *b, mt_log_op op) {
    return op != MT_LOG_ALLOC && mt_word_is_alone() ? b->last : mt_log_clock_units();
}

void mt_log_allocated_from(mt_thread *block, void *chunk, size_t size, void *hook, uintptr_t pc,
                           uintptr_t sp, uintptr_t fp) {
    mt_log_buffer *b = enter(block);
    if (!b) return;
    mt_log_op op = outcome(b, &chunk, size);
    if (op != MT_LOG_PAD) {
        uint64_t number = (uint64_t)number_of_walk(block, b, state->depth, hook, pc, sp, fp)
                          << 32;
        bool large = size > UINT32_MAX && op != MT_LOG_REALLOC_FAILED;
        if (size > UINT32_MAX && !large) size = UINT32_MAX;
        put(b, returned(b, op), op + large, chunk, 2 + large, large ? number : number | size,
            size);
    }
    leave(b);
}

/* An allocator's realloc gives the old chunk back by our free: that end of it has been told. */
static inline bool is_moved(const mt_log_buffer *b, const void *chunk) {
    return mt_tls_mine.guard_sp && b->realloc == (uintptr_t)chunk;
}

void mt_log_freed_from(void *chunk, void *hook, uintptr_t pc, uintptr_t sp, uintptr_t fp) {
    mt_thread *block = mt_thread_mine();
    mt_log_buffer *b = chunk ? enter(block) : NULL;
    if (!b) return;
    if (!is_moved(b, chunk)) {
        uint64_t number = (uint64_t)number_of_free(block, b, hook, pc, sp, fp) << 32;
        put(b, mt_log_clock_units_after(), MT_LOG_FREE, chunk, 2, number, 0);
    }
    leave(b);
}

/* Where nothing will be drawn (see mt_tracer_draws) what comes of it is not told: it is freed.
 */
void mt_log_reallocates(void *chunk, bool drawn) {
    mt_thread *block = mt_thread_mine();
    mt_log_buffer *b = enter(block);
    if (!b) return;
    if (chunk)
        put(b, mt_log_clock_units_after(), drawn ? MT_LOG_REALLOC_FROM : MT_LOG_FREE, chunk,
            1 + !drawn, 0, 0);
    if (drawn) b->realloc = (uintptr_t)chunk;
    leave(b);
}

/* A thread has got its block, or is about to give it up. */
static void moves(mt_thread *block, bool begins) {
    mt_log_buffer *b = block->log;
    if (!b) return;
    b->busy_sp = (uintptr_t)__builtin_frame_address(0);
    if (begins) mt_log_buffer_begin(b, (uint32_t)block->tid);
    else if (b->events || b->defs || b->dropped) mt_log_buffer_flush(b);
    b->busy_sp = 0;
}

void mt_log_unloaded(void) {
    mt_seen_unloaded();
    if (atomic_load(&state->open)) mt_log_tell();
}

int mt_log_begin(const mt_log_options *from, uint32_t depth) {
    static char path[PATH_MAX]; /* one caller: the start */
    options = *from;
    if (!mt_log_path_expand(from->file, getpid(), program_invocation_short_name, path,
                            sizeof path))
        return errno = EINVAL, -1;
    mt_log_clock_start();
    atomic_store(&state->dropped, 0);
    state->depth = depth;
    state->frees = (uint32_t)from->frees;
    atomic_store(&state->stamp, 1);
    if (mt_log_stacks_start() != 0 || mt_seen_start() != 0) return errno = ENOMEM, -1;
    if (mt_log_begin_file(path, from, depth) != 0) return -1;
    atomic_store(&process, getpid());
    atomic_store(&mt_thread_moves, moves);
    atomic_store(&state->open, true);
    atomic_store(&state->on, true);
    return 0;
}

static void take(mt_thread *block) {
    if (block->log) mt_log_buffer_take(block->log);
}

void mt_log_end(mt_log_ending why) {
    if (!mt_log_on() || atomic_load(&process) != getpid()) return;
    int error = errno;
    if (atomic_exchange(&state->open, false)) {
        mt_thread_each(take);
        mt_log_file_end(why);
        if (why == MT_LOG_END_DETACHED) atomic_store(&state->on, false);
    }
    errno = error;
}
