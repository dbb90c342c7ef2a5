/* tracer: what the hooks call. It decides whether an allocation is recorded, takes its stack
 * and keeps the table of chunks and the table of sites in step.
 *
 *   allocate:  counted ─▶ tracing? ─▶ guard down? ─▶ [sampler: drawn?] ─▶ a cell? ─▶ stack ─▶
 *              a site? ─▶ recorded
 *   free:      counted ─▶ tracing? ─▶ in the table? ─▶ record ended, then the real free
 *
 * What cannot be recorded is dropped and counted (ignored). The bracket marks where a sampler
 * chooses among allocations; here every allocation is a candidate.
 *
 * Ownership: the tracer owns both tables; they are mapped once and never unmapped.
 */
#ifndef MT_RECORD_TRACER_H
#define MT_RECORD_TRACER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chunks.h"
#include "options.h"
#include "sites.h"
#include "thread.h"

typedef struct mt_tracer {
    atomic_bool on; /* read first by every hook */
    mt_chunks chunks;
    mt_sites sites;
    mt_options options;
    _Atomic uint64_t ignored_before; /* the counter when the table was last emptied */
    _Atomic uint64_t epoch;          /* counts the times it was emptied */
} mt_tracer;

extern mt_tracer mt_tracer_state __attribute__((visibility("hidden")));

/* A record that realloc holds while the allocator works. */
typedef struct mt_held {
    mt_chunk chunk;
    uint64_t epoch;
    int32_t cell; /* -1: the address was not recorded */
} mt_held;

/* True where hooks have something to do. Relaxed: the tables were mapped before it became
 * true, by the thread that then starts the program, or hands out the redirected slots. */
static inline bool mt_tracer_on(void) {
    return atomic_load_explicit(&mt_tracer_state.on, memory_order_relaxed);
}

/* Maps the tables and switches on. 0, or -1 without memory: it then stays off. Once. */
int mt_tracer_start(const mt_options *options);

/* Switches off for good; safe in the child after a fork. */
void mt_tracer_stop(void);

/* The rest is for hooks; errno is kept.
 *
 * Records a chunk that the allocator has just returned. `hook` is the hook's own address and
 * `from` its return address. Does nothing for NULL. */
void mt_tracer_record(void *chunk, size_t size, void *hook, void *from);

/* Ends the record of a chunk that is about to be freed; NULL is allowed. */
void mt_tracer_forget(void *chunk);

/* The same around realloc: hold before it, then release if the chunk is gone or restore if
 * the allocator failed and the chunk is still there. */
void mt_tracer_hold(void *chunk, mt_held *held);
void mt_tracer_release(const mt_held *held);
void mt_tracer_restore(const mt_held *held);

/* From here on not for hooks.
 *
 * Empties the table: records of chunks that are alive are ended, their frees will pass
 * unnoticed. Any thread, while others allocate. */
void mt_tracer_reset(void);

/* CLOCK_MONOTONIC in nanoseconds, the clock of born_ns. */
uint64_t mt_tracer_now(void);

#endif
