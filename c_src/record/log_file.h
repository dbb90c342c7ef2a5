/* log_file: the file that the event log is written to.
 *
 *          full ──▶ emptied, begun anew (over), or ended (stop)
 *            ▲
 *   open ─▶ blocks are appended ─▶ end
 *            │    ▲
 *            ▼    └ its descriptor was closed by the program: opened again by its path
 *          its path names no file, or another one that is empty: begun anew there
 *
 * The file is a new one with mode 0600; a regular file or a link that was there is removed,
 * never written to nor followed, and in a folder like /tmp nobody but its owner can remove it:
 * then there is no log. (So that a run does not read what an earlier one left.) A log that
 * another process is writing at that moment (flock) is left alone: this one goes to FILE.PID. A
 * character device (/dev/full) is written to as it is.
 *
 * Before each write the descriptor is asked whether it is still ours, once a second the path
 * whether it still names the file. A file that is there instead and is not empty is another
 * one's: then we stay with ours.
 *
 * Each beginning is a generation. Its first block is made by `first`. When it begins, blocks of
 * the one before that are still to come are refused: what they tell of is gone with the file.
 *
 * A write that fails (no room, a limit, the folder is gone) is tried again a second later at
 * the earliest. Of one that took a part of a block, that part is taken back, if nothing came
 * behind it; else it stays, and the reader looks for the next block by its magic.
 *
 * For hooks: no lock that waits, no allocation. A write waits as long as the disk does, which
 * is the one place where a hook waits. All signals wait meanwhile, SIGXFSZ and SIGPIPE of ours
 * do not come at all, and the thread is not cancelled; errno is kept.
 */
#ifndef MT_RECORD_LOG_FILE_H
#define MT_RECORD_LOG_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log_format.h"

/* A generation's first block; valid until it is called again, which nobody does at the same
 * time. */
typedef const mt_log_block *mt_log_file_first(uint32_t generation, mt_log_reason reason);

/* Opens `path`, which is absolute, and writes the first block. `limit` 0: none; `stops`: at the
 * limit it ends, else it is emptied. 0, or -1 and errno: no file, or nothing could be written.
 * From the constructor or an attach; again after an end. */
int mt_log_file_open(const char *path, uint64_t limit, bool stops, mt_log_file_first *first);

/* The present generation. */
extern _Atomic uint32_t mt_log_file_present __attribute__((visibility("hidden")));
static inline uint32_t mt_log_file_generation(void) {
    return atomic_load_explicit(&mt_log_file_present, memory_order_relaxed);
}

typedef enum mt_log_written {
    MT_LOG_WRITTEN,
    MT_LOG_FORMER, /* of a former generation: not written */
    MT_LOG_LOST,   /* it could not be written */
    MT_LOG_ENDED   /* it could not, and none can any more */
} mt_log_written;

/* Appends a block. */
mt_log_written mt_log_file_append(const mt_log_block *block);

/* Appends the last one. `last` makes it. */
typedef const mt_log_block *mt_log_file_last(uint32_t generation, mt_log_ending why);
void mt_log_file_on_limit(mt_log_file_last *last);
void mt_log_file_end(mt_log_ending why);

#endif
