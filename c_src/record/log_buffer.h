/* log_buffer: a thread's part of the event log that is not written yet.
 *
 *   mt_log_buffer
 *   +-------+--------------+-----------------------+----------------+
 *   | state | block header | events ▶      48 KiB  | definitions ▶  |   64 KiB
 *   +-------+--------------+-----------------------+----------------+
 *                            └── written as one block by its thread: when either part is full,
 *                                or is older than a second when something is added
 *
 * It stands beside the thread's block (thread.h) and goes with it to the next thread. Its
 * thread alone adds to it: words first, then their count (release), so that at the program's
 * exit another thread may take what is complete. Who writes it out has `writing`; nobody waits
 * for it but the one thread that ends the log, and that for a bounded time.
 *
 * A thread's number in the log is one of our own: the kernel's are used again.
 */
#ifndef MT_RECORD_LOG_BUFFER_H
#define MT_RECORD_LOG_BUFFER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "log_file.h"
#include "log_format.h"
#include "log_stacks.h"
#include "thread.h"

enum {
    MT_LOG_EVENT_WORDS = 6144,
    MT_LOG_DEF_WORDS = 2040,
    MT_LOG_CALLERS = 128,
    MT_LOG_NEAR = 16,
    MT_LOG_NEAR_FRAMES = 24
};

/* Stacks of two frames, by their second. */
typedef struct mt_log_caller {
    uintptr_t pc, hook;
    uint32_t number, stamp;
} mt_log_caller;

/* A stack that was met of late: no hash is needed where it comes again. */
typedef struct mt_log_near {
    uint32_t frames, stamp, number;
    uintptr_t word[MT_LOG_NEAR_FRAMES];
} mt_log_near;

typedef struct mt_log_buffer {
    _Atomic uint32_t events, defs; /* words that are complete */
    uint32_t generation;           /* of what is in it */
    uint32_t number, tid;          /* the thread's */
    uint32_t sequence, told;       /* of its next block; told: the generation that knows it */
    uint32_t taken;                /* the generation that was taken of it at an end */
    uint32_t dropped;              /* events since the last block that was written */
    uint64_t begin, last, due;  /* in units: of the first and the last event; to be written */
    volatile uintptr_t busy_sp; /* not 0: something is being added, by a function here */
    uint64_t realloc;           /* the old chunk of a realloc that has not returned */
    atomic_flag writing;
    mt_log_caller caller[MT_LOG_CALLERS];
    mt_log_near near[MT_LOG_NEAR];
    _Alignas(64) mt_log_writer writer; /* other threads ask it */
    _Alignas(64) mt_log_block head;
    uint64_t word[MT_LOG_EVENT_WORDS + MT_LOG_DEF_WORDS];
} mt_log_buffer;

/* Read at each event, seldom written. */
typedef struct mt_log_shared {
    atomic_bool on;           /* this process has a log */
    atomic_bool open;         /* it has not ended */
    _Atomic uint32_t stamp;   /* numbers of stacks with another one do not hold */
    uint32_t depth, frees;    /* frames kept of an allocation's stack, of a free's */
    _Atomic uint64_t dropped; /* events of all threads */
} mt_log_shared;

extern mt_log_shared mt_log_state __attribute__((visibility("hidden")));

/* A buffer for this block, kept beside it; or NULL without memory. */
mt_log_buffer *mt_log_buffer_get(mt_thread *block);

/* The block has another thread from now on: what the one before left is written. */
void mt_log_buffer_begin(mt_log_buffer *buffer, uint32_t tid);

/* Drops what belongs to a former generation, and counts it. */
void mt_log_buffer_renew(mt_log_buffer *buffer);

/* Writes it out, by its thread; it has no events afterwards in any case. */
void mt_log_buffer_flush(mt_log_buffer *buffer);

/* At the end: writes what is complete of a buffer that its thread may be adding to. */
void mt_log_buffer_take(mt_log_buffer *buffer);

/* Adds a stack's definition, by its thread. */
void mt_log_buffer_define(mt_log_buffer *buffer, uint32_t number, void *const *stack,
                          uint32_t frames);

/* Writes a definition to `to` and returns how many words it has; `bytes` of `text` (which may
 * be NULL) come behind the `n` words, and at least one 0. */
uint32_t mt_log_define(uint64_t *to, mt_log_kind kind, uint32_t id, const uint64_t *words,
                       uint32_t n, const char *text, uint32_t bytes);

/* How many events there are in so many words. */
uint32_t mt_log_buffer_count(const uint64_t *event, uint32_t words);

#endif
