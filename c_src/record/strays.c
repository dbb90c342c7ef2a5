/* strays: see the header. */
#include "strays.h"

#include <time.h>

#include "region.h"

mt_strays *_Atomic mt_strays_ring;

void mt_strays_start(void) {
    if (atomic_load(&mt_strays_ring)) return;
    mt_strays *ring = mt_region_take(MT_REGION_STRAYS, sizeof *ring, MT_STRAYS, 0);
    atomic_store_explicit(&mt_strays_ring, ring, memory_order_release);
}

/* The fence orders the fields behind the sequence that is void meanwhile. */
void mt_strays_put(mt_strays *ring, const void *chunk, uint32_t thread) {
    struct timespec t;
    uint64_t i = atomic_fetch_add_explicit(&ring->count, 1, memory_order_relaxed);
    mt_stray *s = &ring->entry[i % MT_STRAYS];
    clock_gettime(CLOCK_MONOTONIC, &t);
    atomic_store_explicit(&s->sequence, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&s->address, (uintptr_t)chunk, memory_order_relaxed);
    atomic_store_explicit(&s->ns, (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec,
                          memory_order_relaxed);
    atomic_store_explicit(&s->thread, thread, memory_order_relaxed);
    atomic_store_explicit(&s->sequence, i + 1, memory_order_release);
}
