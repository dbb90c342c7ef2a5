/* log_stacks: which number a stack has in the event log.
 *
 *   words ──two hashes, 128 bits──▶ | hash | hash | number, stamp |     4 entries to look at in
 *                                                                       each of three levels
 *
 * A dictionary that only grows: 16 Ki entries, then 128 Ki, then 1 Mi, each mapped when the one
 * before had no place (32 MiB more at most). The words are not kept: two stacks are taken for
 * one where both hashes agree. These are sums of products with odd random numbers (multilinear
 * hashing, Lemire and Kaser, "Strongly universal string hashing is fast", 2014): for two given
 * stacks the odds are 1 to some 2^120, for a million stacks to meet 1 to 2^81.
 *
 * A number holds as long as its stamp is the present one; when that has changed (a new
 * generation, code that was unloaded, definitions that were lost) a stack gets a new number and
 * is to be defined again.
 *
 * A thread that uses a stack whose definition is in no file yet defines it once more, in its
 * own buffer: so whatever events are in the file, and however the program died, their stacks
 * are in it too. Such stacks are few: a buffer is written within a second where its thread goes
 * on.
 *
 * For hooks: lock-free, no allocation through the malloc family, no system call but mmap at the
 * first use of a level.
 */
#ifndef MT_RECORD_LOG_STACKS_H
#define MT_RECORD_LOG_STACKS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "options.h"

/* Who writes definitions, a buffer each, and how many blocks of it are in the file. Never
 * unmapped; below 2^48. Its thread alone writes it. */
typedef struct mt_log_writer {
    _Atomic uint32_t written;
} mt_log_writer;

/* Makes the random numbers, and maps the first level. 0, or -1 without memory. Once. */
int mt_log_stacks_start(void);

/* The stack's number, or 0 if there is no place for it. `frames` at most MT_DEPTH_MAX.
 * *defines: the caller, whose buffer is `mine`, defines it: it is a new one, or its definition
 * lies in another thread's buffer still. Some 15 ns where it is known. */
uint32_t mt_log_stacks_number(void *const *stack, uint32_t frames, uint32_t stamp,
                              const mt_log_writer *mine, bool *defines);

/* How many had no place. */
uint64_t mt_log_stacks_full(void);

#endif
