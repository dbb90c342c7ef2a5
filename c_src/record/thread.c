/* thread: hands out blocks and takes them back. Lock-free; blocks are never unmapped. */
#include "thread.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "region.h"

/* A thread whose first allocation comes from a destructor meets ours a round later, hence not
 * the very last round. */
enum { BLOCKS = 64, SLABS = 1024, LAST_ROUND = PTHREAD_DESTRUCTOR_ITERATIONS - 1 };

typedef struct slab {
    _Atomic uint64_t taken; /* bit i: block i has a thread */
    mt_thread block[BLOCKS];
} slab;

__thread mt_tls mt_tls_mine;
void (*_Atomic mt_thread_moves)(mt_thread *block, bool begins);

static _Atomic(slab *) slabs[SLABS];
static _Atomic uint64_t shared[MT_COUNT_N];
static pthread_key_t key;
static atomic_bool have_key;
static _Atomic pid_t process;

/* The i-th slab, mapped if need be; NULL without memory. The pointer is published with
 * release so that whoever acquires it finds the mapping zeroed. */
static slab *slab_at(int i) {
    slab *s = atomic_load_explicit(&slabs[i], memory_order_acquire);
    if (s) return s;
    slab *fresh = mt_region_take(MT_REGION_THREADS, sizeof *fresh, BLOCKS, sizeof(mt_thread));
    if (!fresh) return NULL;
    if (atomic_compare_exchange_strong_explicit(&slabs[i], &s, fresh, memory_order_acq_rel,
                                                memory_order_acquire))
        return fresh;
    mt_region_return(fresh, sizeof *fresh);
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
    __atomic_store_n(&block->tid, 0, __ATOMIC_RELAXED);
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

static void tell(mt_thread *block, bool begins) {
    void (*moves)(mt_thread *, bool) =
        atomic_load_explicit(&mt_thread_moves, memory_order_relaxed);
    if (moves) moves(block, begins);
}

/* Runs once in each round of destructors; we let go in the last but one. */
static void leave(void *block) {
    if (++mt_tls_mine.leaving < LAST_ROUND) {
        mt_tls_mine.quiet++;
        int failed = pthread_setspecific(key, block);
        mt_tls_mine.quiet--;
        if (!failed) return;
    }
    mt_tls_mine.leaving = LAST_ROUND;
    tell(block, false);
    mt_tls_mine.block = NULL;
    give_back(block);
}

int mt_thread_start(void) {
    if (atomic_load(&have_key)) return 0;
    if (pthread_key_create(&key, leave) != 0) return -1;
    atomic_store(&process, getpid());
    atomic_store(&have_key, true);
    return 0;
}

/* A seed that differs from thread to thread and from run to run. */
static uint64_t mix(uint64_t x) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    x ^= (uint64_t)t.tv_nsec << 32 ^ (uint64_t)t.tv_sec;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull; /* splitmix64 (Steele et al., OOPSLA 2014) */
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

/* Blocks whose threads are gone without having given them up: whoever takes the number away
 * gives the block back. One whose number another thread of this process got stays taken. */
static void reclaim(slab *s) {
    for (int i = 0; i < BLOCKS; i++) {
        int32_t *number = &s->block[i].tid, tid = __atomic_load_n(number, __ATOMIC_RELAXED);
        if (tid == 0 || syscall(SYS_tgkill, getpid(), tid, 0) == 0 || errno != ESRCH) continue;
        if (__atomic_compare_exchange_n(number, &tid, 0, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED))
            give_back(&s->block[i]);
    }
}

/* Before one more slab is mapped the others are searched for blocks that were left behind. */
static mt_thread *claim_any(void) {
    mt_thread *block = NULL;
    for (int i = 0; i < SLABS && !block; i++) {
        bool mapped = atomic_load_explicit(&slabs[i], memory_order_relaxed) != NULL;
        for (int k = 0; !mapped && k < i && !block; k++) {
            slab *older = atomic_load_explicit(&slabs[k], memory_order_acquire);
            reclaim(older);
            block = claim(older);
        }
        slab *s = block ? NULL : slab_at(i);
        if (s) block = claim(s);
        else break;
    }
    return block;
}

static void make_mine(mt_thread *block) {
    __atomic_store_n(&block->tid, (int32_t)syscall(SYS_gettid), __ATOMIC_RELAXED);
    block->credit.random ^= mix((uintptr_t)block);
    block->known.lo = block->known.hi = 0;
    block->known.steps[0] = block->known.steps[1] = 0;
    block->known.ended[0] = block->known.ended[1] = 0;
    tell(block, true);
    mt_tls_mine.block = block; /* first: pthread_setspecific may call calloc */
    if (!atomic_load_explicit(&have_key, memory_order_relaxed)) return;
    mt_tls_mine.quiet++;
    pthread_setspecific(key, block);
    mt_tls_mine.quiet--;
}

/* A thread that found no block once does not look again. Signals wait: a handler that jumped
 * out of the middle would leave a thread behind that adopts for ever. */
mt_thread *mt_thread_adopt(void) {
    if (mt_tls_mine.leaving >= LAST_ROUND || mt_tls_mine.adopting) return NULL;
    /* The child of a vfork is no thread of this process, though it has our memory. */
    pid_t started = atomic_load_explicit(&process, memory_order_relaxed);
    if (started && started != getpid()) return NULL;
    int saved = errno;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    mt_tls_mine.adopting = 1;
    mt_thread *block = claim_any();
    if (block) make_mine(block);
    else mt_tls_mine.leaving = LAST_ROUND;
    mt_tls_mine.adopting = 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
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

void mt_thread_each(void (*f)(mt_thread *block)) {
    for (int i = 0; i < SLABS; i++) {
        slab *s = atomic_load_explicit(&slabs[i], memory_order_acquire);
        if (!s) return;
        for (int b = 0; b < BLOCKS; b++) f(&s->block[b]);
    }
}

uint64_t mt_thread_bytes(void) {
    uint64_t n = 0;
    while (n < SLABS && atomic_load_explicit(&slabs[n], memory_order_relaxed)) n++;
    return n * sizeof(slab);
}
