/* thread: hands out blocks and takes them back. Lock-free; blocks are never unmapped. */
#include "thread.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/mman.h>

/* A thread whose first allocation comes from a destructor meets ours a round later, hence not
 * the very last round. */
enum { BLOCKS = 64, SLABS = 1024, LAST_ROUND = PTHREAD_DESTRUCTOR_ITERATIONS - 1 };

typedef struct slab {
    _Atomic uint64_t taken; /* bit i: block i has a thread */
    mt_thread block[BLOCKS];
} slab;

__thread mt_tls mt_tls_mine;

static _Atomic(slab *) slabs[SLABS];
static _Atomic uint64_t shared[MT_COUNT_N];
static pthread_key_t key;
static atomic_bool have_key;

/* The i-th slab, mapped if need be; NULL without memory. The pointer is published with
 * release so that whoever acquires it finds the mapping zeroed. */
static slab *slab_at(int i) {
    slab *s = atomic_load_explicit(&slabs[i], memory_order_acquire);
    if (s) return s;
    slab *fresh =
        mmap(NULL, sizeof *fresh, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fresh == MAP_FAILED) return NULL;
    if (atomic_compare_exchange_strong_explicit(&slabs[i], &s, fresh, memory_order_acq_rel,
                                                memory_order_acquire))
        return fresh;
    munmap(fresh, sizeof *fresh);
    return s;
}

/* Acquire on success: the last owner's counts are visible before we add to them. */
static mt_thread *claim(slab *s) {
    uint64_t taken = atomic_load_explicit(&s->taken, memory_order_relaxed);
    while (~taken) {
        int i = __builtin_ctzll(~taken);
        if (atomic_compare_exchange_weak_explicit(&s->taken, &taken, taken | 1ull << i,
                                                  memory_order_acquire, memory_order_relaxed))
            return &s->block[i];
    }
    return NULL;
}

/* Release: our counts are visible to the next owner. */
static void give_back(mt_thread *block) {
    for (int i = 0; i < SLABS; i++) {
        slab *s = atomic_load_explicit(&slabs[i], memory_order_acquire);
        if (!s) return;
        if (block >= s->block && block < s->block + BLOCKS) {
            atomic_fetch_and_explicit(&s->taken, ~(1ull << (block - s->block)),
                                      memory_order_release);
            return;
        }
    }
}

/* Runs once in each round of destructors; we let go in the last but one. */
static void leave(void *block) {
    if (++mt_tls_mine.leaving < LAST_ROUND) {
        mt_tls_mine.guard++;
        int failed = pthread_setspecific(key, block);
        mt_tls_mine.guard--;
        if (!failed) return;
    }
    mt_tls_mine.leaving = LAST_ROUND;
    mt_tls_mine.block = NULL;
    give_back(block);
}

int mt_thread_start(void) {
    if (atomic_load(&have_key)) return 0;
    if (pthread_key_create(&key, leave) != 0) return -1;
    atomic_store(&have_key, true);
    return 0;
}

mt_thread *mt_thread_adopt(void) {
    if (mt_tls_mine.leaving >= LAST_ROUND) return NULL;
    int saved = errno;
    mt_thread *block = NULL;
    for (int i = 0; i < SLABS && !block; i++) {
        slab *s = slab_at(i);
        if (!s) break;
        block = claim(s);
    }
    if (block) {
        mt_tls_mine.block = block; /* first: pthread_setspecific may call calloc */
        if (atomic_load_explicit(&have_key, memory_order_relaxed)) {
            mt_tls_mine.guard++;
            pthread_setspecific(key, block);
            mt_tls_mine.guard--;
        }
    }
    errno = saved;
    return block;
}

void mt_thread_count_shared(mt_count which) {
    atomic_fetch_add_explicit(&shared[which], 1, memory_order_relaxed);
}

void mt_thread_sum(uint64_t total[MT_COUNT_N]) {
    for (int c = 0; c < MT_COUNT_N; c++)
        total[c] = atomic_load_explicit(&shared[c], memory_order_relaxed);
    for (int i = 0; i < SLABS; i++) {
        slab *s = atomic_load_explicit(&slabs[i], memory_order_acquire);
        if (!s) break;
        for (int b = 0; b < BLOCKS; b++)
            for (int c = 0; c < MT_COUNT_N; c++)
                total[c] += atomic_load_explicit(&s->block[b].count[c], memory_order_relaxed);
    }
}

uint64_t mt_thread_bytes(void) {
    uint64_t n = 0;
    while (n < SLABS && atomic_load_explicit(&slabs[n], memory_order_relaxed)) n++;
    return n * sizeof(slab);
}
