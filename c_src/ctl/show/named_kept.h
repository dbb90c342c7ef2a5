/* named_kept: files that have been read for names, kept for the next report: of processes that
 * end together most map the same files, and to read one takes milliseconds, a large one with
 * debug information a tenth of a second.
 *
 *   names ── ends: give ──▶ [ kept ] ── a file is first asked about: take ──▶ other names
 *
 * A file is kept only where it was found, and taken again only by names that mean the same path
 * and build id, while what lies there is the same: device, inode, size and times. What was
 * looked for besides (debug files) is not looked at again: so nothing is kept for long.
 *
 * One thread. What is kept has one owner at any time, so names may be closed in any order.
 */
#ifndef MT_CTL_NAMED_KEPT_H
#define MT_CTL_NAMED_KEPT_H

#include <stdbool.h>

#include "named_file.h"

enum { MT_NAMED_KEPT_BYTES = 256 << 20 };

typedef struct mt_named_kept mt_named_kept;

/* For names that are opened with the same folders, and with lines or without. NULL without
 * memory, which every function here takes. */
mt_named_kept *mt_named_kept_open(void);

/* Fills in what is known of this file: all that mt_named_file_find wants, but for its texts,
 * which go to `arena`. False if it is not there. */
bool mt_named_kept_take(mt_named_kept *kept, mt_named_file *file, mt_arena *arena);

/* Takes over what was read of it, or gives it back. */
void mt_named_kept_give(mt_named_kept *kept, mt_named_file *file);

/* How many milliseconds until it should be tidied; -1: there is nothing. */
int mt_named_kept_due_ms(const mt_named_kept *kept);

/* Gives everything back where nothing was kept for a second, so that what changes on the disk
 * is seen, and an idle process is small; and where this process has more than
 * MT_NAMED_KEPT_BYTES of its own in memory. */
void mt_named_kept_tidy(mt_named_kept *kept);

void mt_named_kept_close(mt_named_kept *kept);

#endif
