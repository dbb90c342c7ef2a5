/* log_file: an event log as a sequence of blocks, and what is wrong with it.
 *
 * The index is made by one reading of the whole file: every header and checksum is looked at,
 * definitions are taken in, and per block 56 bytes stay:
 *
 *   file    | block | block | ??? | block | block | blo
 *                             │                      └─ cut: it was being written
 *                             └─ damaged: the next one is looked for by its magic
 *   index     t1 s0 ─▶ t2 s0    ─▶ t1 s2  ─▶ t1 s3     (a sequence that jumps: a loss)
 *
 * The file is read up to where it ended when it was opened. It may be shortened meanwhile:
 * blocks are checked again when their events are read. One thread.
 */
#ifndef MT_CTL_LOG_FILE_H
#define MT_CTL_LOG_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "stacks.h"
#include "record/log_format.h"

typedef struct mt_logged_part {
    uint64_t offset, begin_ticks, end_ticks;
    uint32_t bytes, event_bytes, checksum, thread; /* thread: its number in stacks */
    uint32_t sequence, dropped;
    uint32_t next; /* of this thread; 0: none (the first part follows nothing) */
} mt_logged_part;

typedef struct mt_logged_file {
    const char *path;
    int fd;
    uint64_t size;
    mt_logged_part *part;
    uint32_t parts;
    size_t room;
    uint32_t *first, *last; /* parts of each thread; MT_LOG_NO_ID: none */
    size_t threads_room;
    uint32_t generation;
    uint64_t *block; /* MT_LOG_BLOCK_MAX bytes: the one that is looked at */
    /* What is wrong. */
    uint64_t cut;           /* bytes of a last block that is not whole */
    uint64_t damaged;       /* places */
    uint64_t damaged_bytes; /* in all of them */
    uint64_t damaged_at;    /* the first one's offset, while damaged is not 0 */
    uint64_t strange;  /* definitions or events that nobody knows, though the sum is right */
    uint64_t former;   /* blocks of another generation */
    uint64_t lost;     /* blocks that are missing, by their sequence */
    uint64_t repeated; /* blocks that are there twice: the one with more counts */
    uint64_t dropped;  /* events, by the headers */
    uint64_t vanished; /* blocks that were there and are not any more */
    bool gave_up;      /* damage of a kind that it would take forever to search */
    /* Ticks and nanoseconds of the first and the last moment that are known together. */
    uint64_t ticks[2], ns[2];
} mt_logged_file;

/* Opens and indexes. 0, or -1 after a sentence on stderr: no log, none of ours, not a file. */
int mt_logged_file_open(mt_logged_file *file, mt_logged_stacks *stacks, const char *path);
void mt_logged_file_close(mt_logged_file *file);

/* Reads a part's events into `words`, room for its bytes; -1: it is not there any more. */
int mt_logged_file_read(mt_logged_file *file, const mt_logged_part *part, uint64_t *words);

/* Nanoseconds of CLOCK_MONOTONIC; of CLOCK_REALTIME (since 1970), if the log's start is known.
 */
uint64_t mt_logged_file_ns(const mt_logged_file *file, uint64_t ticks);
uint64_t mt_logged_file_wall(const mt_logged_file *file, const mt_logged_stacks *stacks,
                             uint64_t ticks);

/* The first and the last moment of the log. */
uint64_t mt_logged_file_begin(const mt_logged_file *file, const mt_logged_stacks *stacks);
uint64_t mt_logged_file_end(const mt_logged_file *file);

/* Whether something is wrong with it beyond a last block that is not whole. */
bool mt_logged_file_is_damaged(const mt_logged_file *file);

#endif
