/* tracer: see the header. Runs inside malloc and free; never blocks, never allocates. */
#include "tracer.h"

#include <errno.h>
#include <time.h>

#include "unwind.h"

mt_tracer mt_tracer_state;

#define tracer (&mt_tracer_state)

uint64_t mt_tracer_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int mt_tracer_start(const mt_options *options) {
    tracer->options = *options;
    if (mt_chunks_init(&tracer->chunks, options->slots) != 0) return -1;
    if (mt_sites_init(&tracer->sites, options->slots, options->depth) != 0) {
        mt_chunks_fini(&tracer->chunks);
        return -1;
    }
    mt_thread_start();
    mt_unwind_start();
    atomic_store(&tracer->on, true);
    return 0;
}

void mt_tracer_stop(void) {
    atomic_store(&tracer->on, false);
}

static void end(int32_t cell, const mt_chunk *chunk) {
    mt_sites_drop(&tracer->sites, chunk->site);
    mt_chunks_abandon(&tracer->chunks, cell);
}

/* The stack goes into the thread's block, not onto the program's stack, which may be small. */
static bool fill(mt_thread *block, int32_t cell, mt_chunk *chunk, void *hook, void *from) {
    void **stack;
    uint32_t frames = mt_unwind(block->stack, tracer->options.depth, hook, from, &stack);
    int32_t site = mt_sites_hold(&tracer->sites, stack, frames);
    if (site < 0) {
        mt_chunks_abandon(&tracer->chunks, cell);
        return false;
    }
    chunk->site = (uint32_t)site;
    chunk->born_ns = mt_tracer_now();
    mt_chunks_publish(&tracer->chunks, cell, chunk);
    return true;
}

/* The allocator handed out an address that is in the table: nobody told us of its free. */
static void end_missed(uint64_t address) {
    mt_chunk old;
    int32_t cell = mt_chunks_take(&tracer->chunks, address, &old);
    if (cell < 0) return;
    end(cell, &old);
    mt_thread_count(MT_COUNT_missed_free);
}

void mt_tracer_record(void *p, size_t size, void *hook, void *from) {
    if (!p) return;
    mt_chunk chunk = {.address = (uintptr_t)p, .size = size};
    end_missed(chunk.address);
    mt_thread *block = mt_thread_mine();
    bool recorded = false;
    if (block && mt_tls_mine.guard == 0) {
        int32_t cell = mt_chunks_claim(&tracer->chunks, chunk.address);
        if (cell >= 0) {
            int saved = errno;
            mt_tls_mine.guard = 1;
            recorded = fill(block, cell, &chunk, hook, from);
            mt_tls_mine.guard = 0;
            errno = saved;
        }
    }
    mt_thread_count(recorded ? MT_COUNT_recorded : MT_COUNT_ignored);
}

void mt_tracer_forget(void *p) {
    mt_chunk chunk;
    int32_t cell = p ? mt_chunks_take(&tracer->chunks, (uintptr_t)p, &chunk) : -1;
    if (cell >= 0) end(cell, &chunk);
}

void mt_tracer_hold(void *p, mt_held *held) {
    held->epoch = atomic_load_explicit(&tracer->epoch, memory_order_relaxed);
    held->cell = p ? mt_chunks_take(&tracer->chunks, (uintptr_t)p, &held->chunk) : -1;
}

void mt_tracer_release(const mt_held *held) {
    if (held->cell >= 0) end(held->cell, &held->chunk);
}

/* A record from before a reset stays forgotten. */
void mt_tracer_restore(const mt_held *held) {
    if (held->cell < 0) return;
    if (held->epoch == atomic_load_explicit(&tracer->epoch, memory_order_relaxed))
        mt_chunks_publish(&tracer->chunks, held->cell, &held->chunk);
    else end(held->cell, &held->chunk);
}

void mt_tracer_reset(void) {
    atomic_fetch_add(&tracer->epoch, 1);
    for (int32_t i = 0; i < mt_chunks_slots(&tracer->chunks); i++) {
        mt_chunk chunk;
        int32_t cell = mt_chunks_take_cell(&tracer->chunks, i, &chunk);
        if (cell >= 0) end(cell, &chunk);
    }
    uint64_t total[MT_COUNT_N];
    mt_thread_sum(total);
    atomic_store(&tracer->ignored_before, total[MT_COUNT_ignored]);
}
