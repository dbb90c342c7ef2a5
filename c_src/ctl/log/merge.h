/* log_merge: the events of all threads, in the order of their times.
 *
 *   thread 1   ─▶ block ─▶ block        each thread's events come in its own order; of the
 *   thread 2   ─▶ block             ─▶  threads the one whose next event is the earliest has
 *   thread 3   ─▶ block ─▶ block        its turn (a heap), and keeps it while it stays so
 *
 * At any time there is one block in memory of each thread that has begun and not ended: one
 * that has not begun waits with the time its first block begins at. A time that goes backwards
 * within a thread counts as the one before. One thread.
 */
#ifndef MT_CTL_LOG_MERGE_H
#define MT_CTL_LOG_MERGE_H

#include "file.h"

typedef struct mt_logged_event {
    uint64_t time; /* ticks */
    uint64_t address, size;
    uint64_t from;   /* of MT_LOG_REALLOC_TO: the old chunk, 0: none */
    uint32_t stack;  /* its number in stacks, 0: not known */
    uint32_t thread; /* its number in stacks */
    mt_log_op op;    /* never _LARGE, PAD or TIME */
} mt_logged_event;

/* What a reader meets: a REALLOC_FROM ends the old chunk, a REALLOC_TO begins the new one. That
 * of a realloc that failed does not come, only the REALLOC_FAILED; that of one which had not
 * returned when the log ends does not come either: the chunk is still there. One that nothing
 * follows is a FREE. */

typedef struct mt_logged_stream mt_logged_stream;

typedef struct mt_logged_merge {
    mt_logged_file *file;
    const mt_logged_stacks *stacks;
    mt_logged_stream *stream; /* one a thread */
    uint32_t *heap, size;     /* streams that are not at their end, the earliest first */
    uint32_t shift;
    uint64_t events;        /* so far, as the log counts them: a realloc is two */
    uint64_t before_damage; /* of these, in blocks that stand before the first damaged place */
} mt_logged_merge;

void mt_logged_merge_open(mt_logged_merge *merge, mt_logged_file *file,
                          const mt_logged_stacks *stacks);

/* Up to `room` of the next events; 0: there are no more. */
uint32_t mt_logged_merge_next(mt_logged_merge *merge, mt_logged_event *events, uint32_t room);

void mt_logged_merge_close(mt_logged_merge *merge);

#endif
