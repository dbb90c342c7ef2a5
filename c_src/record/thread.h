/* thread: what belongs to one thread: its guard, its counters, its scratch space.
 *
 *   thread-local storage (32 bytes)        slabs of blocks, mapped, never unmapped
 *   +-----------------------------+        +-------+-------+-------+-- --+
 *   | block ──────────────────────┼──────▶ | block | block | block | ... |  64 to a slab
 *   | guard, quiet, leaving, ...  |        +-------+-------+-------+-- --+
 *   +-----------------------------+          a bit a block says whether a thread has it
 *
 * A block belongs to one thread at a time, which alone writes it. When the thread ends, the
 * next one takes the block over as it is: counters only grow, so the sum over all blocks is
 * the exact number of calls that ended before the sum was begun, and nothing needs folding.
 *
 * The block is given up in a late round of thread-specific destructors: destructors of other
 * libraries allocate after ours. What a thread still does after that, or with all 65,536
 * blocks taken, is counted in one shared row of atomics and not recorded. A thread that got its
 * block too late to give it up leaves it behind; it is found by the thread's number when more
 * blocks are needed.
 *
 * While a chunk is being recorded the thread's guard is up: what allocates meanwhile is counted
 * and not recorded. A guard holds the stack pointer of whoever raised it: if a signal handler
 * or an exception jumped out of there, the thread is found above it one day, and the guard is
 * void.
 *
 * Any function here may be called by a hook. None of them takes a lock or allocates through
 * the malloc family; errno is kept.
 */
#ifndef MT_RECORD_THREAD_H
#define MT_RECORD_THREAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "context.h"
#include "options.h"
#include "sampler.h"
#include "sites.h"
#include "walk.h"

/* Counters: the calls of the malloc family, those of the VM's (tracer.c goes by their order),
 * then what became of the allocations. */
#define MT_COUNTS(X)                                                                           \
    X(malloc)                                                                                  \
    X(calloc)                                                                                  \
    X(realloc)                                                                                 \
    X(reallocarray)                                                                            \
    X(free)                                                                                    \
    X(free_sized)                                                                              \
    X(free_aligned_sized)                                                                      \
    X(posix_memalign)                                                                          \
    X(aligned_alloc)                                                                           \
    X(memalign)                                                                                \
    X(valloc)                                                                                  \
    X(pvalloc)                                                                                 \
    X(malloc_usable_size)                                                                      \
    X(strdup)                                                                                  \
    X(strndup)                                                                                 \
    X(enif_alloc)                                                                              \
    X(enif_realloc)                                                                            \
    X(enif_free)                                                                               \
    X(enif_alloc_binary)                                                                       \
    X(enif_realloc_binary)                                                                     \
    X(enif_term_to_binary)                                                                     \
    X(enif_release_binary)                                                                     \
    X(enif_make_binary)                                                                        \
    X(enif_alloc_resource)                                                                     \
    X(enif_alloc_env)                                                                          \
    X(enif_free_env)                                                                           \
    X(driver_alloc)                                                                            \
    X(driver_realloc)                                                                          \
    X(driver_free)                                                                             \
    X(driver_alloc_binary)                                                                     \
    X(driver_realloc_binary)                                                                   \
    X(driver_free_binary)                                                                      \
    X(recorded)    /* put into the table */                                                    \
    X(ignored)     /* drawn, but not put into the table: no cell, no site, no block */         \
    X(thinned)     /* taken out of the table again to make room */                             \
    X(missed_free) /* records that ended because their address was handed out again */

typedef enum mt_count {
#define X(name) MT_COUNT_##name,
    MT_COUNTS(X)
#undef X
        MT_COUNT_N
} mt_count;

/* Room for the frames above the program's: the hook and what it calls. */
enum { MT_OWN_FRAMES = 8 };

/* Words that a row of sites is keyed by, at most. */
enum { MT_KEY_MAX = MT_DEPTH_MAX + MT_ERLANG_DEPTH_MAX + 1 };

typedef struct mt_thread {
    mt_credit credit;
    _Atomic uint64_t count[MT_COUNT_N];
    mt_walk_stack known;
    int32_t tid;                  /* the thread that has it */
    uint32_t near[MT_SITES_NEAR]; /* rows: see sites.h */
    struct mt_log_buffer *log;    /* its part of the event log, if there is one; stays (log) */
    struct mt_recent *recent;     /* walks it took of late, where each is wanted; stays */
    uint64_t last_ns;             /* when its last record began, by the tracer's coarse clock */
    mt_context context;
    /* The stack that is being captured, and its context (see context.h). */
    void *stack[MT_OWN_FRAMES + MT_KEY_MAX];
} __attribute__((aligned(64))) mt_thread;

/* Volatile: the compiler knows malloc and dlsym as functions that call nothing of ours
 * (attribute leaf) and would drop the stores around them. */
typedef struct mt_tls {
    mt_thread *block; /* NULL where nothing is traced: then every hook takes its slow path */
    volatile uintptr_t guard_sp;    /* not 0: a chunk is being recorded, by a function here */
    volatile uintptr_t callback_sp; /* not 0: in a callback where no stack can be taken */
    volatile uint16_t quiet;        /* > 0: other work of ours */
    volatile uint8_t leaving;       /* rounds of destructors that have passed */
    volatile uint8_t bootstrap;     /* > 0: this thread is looking up the allocator behind us */
    volatile uint8_t adopting;      /* 1: it is getting its block */
    volatile uint8_t seen;          /* 1: it came through our malloc */
} mt_tls;

extern __thread mt_tls mt_tls_mine
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* Once, before any other thread can allocate: creates the key whose destructor gives blocks
 * back. Returns 0, or -1 if there is no key left: blocks are then never given back. */
int mt_thread_start(void);

/* Called by the thread that has got a block, or is about to give it up. Set once, before. */
extern void (*_Atomic mt_thread_moves)(mt_thread *block, bool begins)
    __attribute__((visibility("hidden")));

/* A block for this thread, or NULL (see above). */
mt_thread *mt_thread_adopt(void);

static inline mt_thread *mt_thread_mine(void) {
    mt_thread *block = mt_tls_mine.block;
    return __builtin_expect(block != NULL, 1) ? block : mt_thread_adopt();
}

/* Counts in the shared row. */
void mt_thread_count_shared(mt_count which);

/* One writer, and readers need only some recent value. Where one instruction adds to memory, a
 * signal handler that counts in between loses nothing. */
static inline void mt_thread_bump(mt_thread *block, mt_count which) {
#if defined __x86_64__
    __asm__("addq $1, %0" : "+m"(block->count[which])::"cc");
#else
    uint64_t n = atomic_load_explicit(&block->count[which], memory_order_relaxed);
    atomic_store_explicit(&block->count[which], n + 1, memory_order_relaxed);
#endif
}

static inline void mt_thread_count(mt_count which) {
    mt_thread *block = mt_thread_mine();
    if (__builtin_expect(block != NULL, 1)) mt_thread_bump(block, which);
    else mt_thread_count_shared(which);
}

/* Calls `f` with every block that a thread has or had. Not for hooks. */
void mt_thread_each(void (*f)(mt_thread *block));

/* Adds up all threads, past ones too. Any thread; takes about 20 ns a block. */
void mt_thread_sum(uint64_t total[MT_COUNT_N]);

/* Bytes mapped for blocks so far. */
uint64_t mt_thread_bytes(void);

#endif
