/* orphans: what gets old and is not freed, as rows of a file, for programs that run for weeks:
 *
 *   function;thread;address;size;ms;stack     as mtracectl log --csv has them (log_rows.h)
 *
 * Each chunk is written once, when it is found to be older; and a row "free" when one that was
 * written is found to be gone, and for each free of a chunk that nobody knows (record/strays).
 * So the file grows by what stays, and by what did not stay after all. ms are those of the
 * allocation, of the free that was noted, or of the moment at which a chunk was found gone.
 * A file that was moved away stays as it is; the next rows begin a new one.
 *
 * One thread.
 */
#ifndef MT_CTL_ORPHANS_H
#define MT_CTL_ORPHANS_H

#include "target.h"

typedef struct mt_orphans mt_orphans;

/* Opens the file, empties it, mode 0600. NULL after one sentence on stderr. */
mt_orphans *mt_orphans_open(const char *path, uint64_t seconds);

/* How many milliseconds until the next round; 0: it is due. -1 where there is none (NULL). */
int mt_orphans_due_ms(const mt_orphans *orphans);

/* Writes what this target has of them now. */
void mt_orphans_look(mt_orphans *orphans, mt_target *target);

/* The round is over. A full disk is said once; the program goes on. */
void mt_orphans_done(mt_orphans *orphans);

/* Forgets what was written of a process that has ended. */
void mt_orphans_ended(mt_orphans *orphans, pid_t pid);

/* -1: rows could not be written, which has been said. NULL is allowed. */
int mt_orphans_close(mt_orphans *orphans);

#endif
