/* thread: what belongs to one thread: its guard, its counters, its scratch space.
 *
 *   thread-local storage (16 bytes)        slabs of blocks, mapped, never unmapped
 *   +-----------------------------+        +-------+-------+-------+-- --+
 *   | block ──────────────────────┼──────▶ | block | block | block | ... |  64 to a slab
 *   | guard  leaving              |        +-------+-------+-------+-- --+
 *   +-----------------------------+          a bit a block says whether a thread has it
 *
 * A block belongs to one thread at a time, which alone writes it. When the thread ends, the
 * next one takes the block over as it is: counters only grow, so the sum over all blocks is
 * the exact number of calls that ended before the sum was begun, and nothing needs folding.
 *
 * The block is given up in a late round of thread-specific destructors: destructors of other
 * libraries allocate after ours. What a thread still does after that, or with all
 * 65,536 blocks taken, is counted in one shared row of atomics and not recorded.
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

#include "options.h"

/* Counters: the calls of the malloc family, then what became of the allocations. */
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
    X(recorded)    /* put into the table */                                                    \
    X(ignored)     /* not put into the table: no cell, no site, no block, nested in a hook */  \
    X(missed_free) /* records that ended because their address was handed out again */

typedef enum mt_count {
#define X(name) MT_COUNT_##name,
    MT_COUNTS(X)
#undef X
        MT_COUNT_N
} mt_count;

/* Room for the frames above the program's: the hook and what it calls. */
enum { MT_OWN_FRAMES = 8 };

typedef struct mt_thread {
    _Atomic uint64_t count[MT_COUNT_N];
    void *stack[MT_DEPTH_MAX + MT_OWN_FRAMES]; /* the stack that is being captured */
} __attribute__((aligned(64))) mt_thread;

/* Volatile: the compiler knows malloc and dlsym as functions that call nothing of ours
 * (attribute leaf) and would drop the stores around them. */
typedef struct mt_tls {
    mt_thread *block;
    volatile uint16_t guard;    /* > 0: count and forget, but record nothing */
    volatile uint8_t leaving;   /* rounds of destructors that have passed */
    volatile uint8_t bootstrap; /* > 0: this thread is looking up the allocator behind us */
} mt_tls;

extern __thread mt_tls mt_tls_mine
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* Once, before any other thread can allocate: creates the key whose destructor gives blocks
 * back. Returns 0, or -1 if there is no key left: blocks are then never given back. */
int mt_thread_start(void);

/* A block for this thread, or NULL (see above). */
mt_thread *mt_thread_adopt(void);

static inline mt_thread *mt_thread_mine(void) {
    mt_thread *block = mt_tls_mine.block;
    return __builtin_expect(block != NULL, 1) ? block : mt_thread_adopt();
}

/* Counts in the shared row. */
void mt_thread_count_shared(mt_count which);

/* Relaxed load and store suffice: one writer, and readers need only some recent value. */
static inline void mt_thread_count(mt_count which) {
    mt_thread *block = mt_thread_mine();
    if (__builtin_expect(block == NULL, 0)) {
        mt_thread_count_shared(which);
        return;
    }
    uint64_t n = atomic_load_explicit(&block->count[which], memory_order_relaxed);
    atomic_store_explicit(&block->count[which], n + 1, memory_order_relaxed);
}

/* Adds up all threads, past ones too. Any thread; takes about 20 ns a block. */
void mt_thread_sum(uint64_t total[MT_COUNT_N]);

/* Bytes mapped for blocks so far. */
uint64_t mt_thread_bytes(void);

#endif
