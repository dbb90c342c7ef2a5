/* thunks: see the header. */
#include "thunks.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

extern const char __start_mt_thunks_functions[] __attribute__((weak, visibility("hidden")));
extern const char __stop_mt_thunks_functions[] __attribute__((weak, visibility("hidden")));

bool mt_thunks_is_frame(uintptr_t address) {
    return address > (uintptr_t)__start_mt_thunks_functions &&
           address <= (uintptr_t)__stop_mt_thunks_functions;
}

bool mt_thunks_is_thunk(const mt_thunks *pool, const void *address) {
    return pool->code &&
           (uintptr_t)address - (uintptr_t)pool->code < (uintptr_t)pool->room * MT_THUNK_BYTES;
}

static uint32_t hash(const mt_thunks *pool, const void *target, uint32_t row) {
    uint64_t h = ((uintptr_t)target ^ (uint64_t)row << 40) * 0x9e3779b97f4a7c15ull;
    return (uint32_t)(h >> 32) % (2 * pool->room);
}

static void *code_of(const mt_thunks *pool, uint32_t i) {
    return (char *)(uintptr_t)pool->code + i * MT_THUNK_BYTES;
}

static bool is(mt_thunk *thunk, const void *target, uint32_t row) {
    return atomic_load_explicit(&thunk->target, memory_order_relaxed) == target &&
           atomic_load_explicit(&thunk->row, memory_order_relaxed) == row;
}

/* Acquire: who finds a number finds the thunk filled. While the index is made anew a thunk may
 * be missed: then it is looked for again under the lock. */
static void *find(mt_thunks *pool, const void *target, uint32_t row) {
    uint32_t at = hash(pool, target, row);
    for (uint32_t n; (n = atomic_load_explicit(&pool->index[at], memory_order_acquire)) != 0;
         at = (at + 1) % (2 * pool->room))
        if (is(&pool->thunk[n - 1], target, row)) return code_of(pool, n - 1);
    return NULL;
}

static void note(mt_thunks *pool, uint32_t i) {
    mt_thunk *thunk = &pool->thunk[i];
    void *target = atomic_load_explicit(&thunk->target, memory_order_relaxed);
    uint32_t at = hash(pool, target, atomic_load_explicit(&thunk->row, memory_order_relaxed));
    while (atomic_load_explicit(&pool->index[at], memory_order_relaxed) != 0)
        at = (at + 1) % (2 * pool->room);
    atomic_store_explicit(&pool->index[at], (uint16_t)(i + 1), memory_order_release);
}

static bool is_gone(const mt_thunk *thunk) {
    Dl_info info;
    void *target = atomic_load_explicit(&thunk->target, memory_order_relaxed);
    return target && dladdr(target, &info) == 0;
}

static void fill(mt_thunks *pool, uint32_t i, void *target, uint32_t row) {
    atomic_store_explicit(&pool->thunk[i].row, row, memory_order_relaxed);
    atomic_store_explicit(&pool->thunk[i].target, target, memory_order_relaxed);
}

/* Takes thunks whose library is gone out of the index: they have no target then, and are found
 * by that. */
static void sweep(mt_thunks *pool) {
    for (uint32_t i = 0; i < pool->room; i++)
        if (is_gone(&pool->thunk[i])) fill(pool, i, NULL, 0);
    for (uint32_t at = 0; at < 2 * pool->room; at++)
        atomic_store_explicit(&pool->index[at], 0, memory_order_relaxed);
    for (uint32_t i = 0; i < pool->room; i++)
        if (atomic_load_explicit(&pool->thunk[i].target, memory_order_relaxed)) note(pool, i);
}

static int64_t swept(const mt_thunks *pool) {
    for (uint32_t i = 0; i < pool->room; i++)
        if (!atomic_load_explicit(&pool->thunk[i].target, memory_order_relaxed)) return i;
    return -1;
}

/* A thunk that nobody has; a sweep that found nothing is the last. */
static int64_t unused(mt_thunks *pool) {
    uint32_t used = atomic_load_explicit(&pool->used, memory_order_relaxed);
    if (used < pool->room) {
        atomic_store_explicit(&pool->used, used + 1, memory_order_relaxed);
        return used;
    }
    int64_t i = swept(pool);
    if (i >= 0) return i;
    sweep(pool);
    i = swept(pool);
    if (i < 0) atomic_store_explicit(&pool->full, true, memory_order_relaxed);
    return i;
}

void *mt_thunks_get(mt_thunks *pool, void *target, uint32_t row) {
    if (!pool->code || !target) return NULL;
    if (mt_thunks_is_thunk(pool, target)) return target;
    void *code = find(pool, target, row);
    if (code || atomic_load_explicit(&pool->full, memory_order_relaxed)) return code;
    pthread_mutex_lock(&lock);
    code = find(pool, target, row);
    int64_t i = code ? -1 : unused(pool);
    if (i >= 0) {
        fill(pool, (uint32_t)i, target, row);
        note(pool, (uint32_t)i);
        code = code_of(pool, (uint32_t)i);
    }
    pthread_mutex_unlock(&lock);
    return code;
}
