/* find: the tables of a process that is traced already, by the descriptor that keeps them: of
 * the mtracectl that runs it, or, attached, its own. Memory that has the name counts if it
 * is root's, ours or that of the process's user. */
#ifndef MT_CTL_FIND_H
#define MT_CTL_FIND_H

#include <stdbool.h>
#include <sys/types.h>

/* The memfd, the caller's own, close-on-exec; -1: none was found. */
int mt_find_tables(pid_t pid);

/* The same, waiting up to 3 s for one that mtracectl run is just starting; and if there is none
 * one sentence on stderr that says why: it is gone, not ours, not traced, still being started,
 * traced for itself alone, or for a mtracectl that has ended. */
int mt_find_tables_or_say(pid_t pid);

/* Whether there is such a process and we may look at it; if not, one sentence on stderr. */
bool mt_find_process(pid_t pid);

/* Has it an object of this name loaded, mtrace.so? */
bool mt_find_object(pid_t pid);

#endif
