/* gdb: a debugger that is told what to do through a pipe: the vehicle by which a function is
 * called in a process that knows nothing of us. Without its init files, and without network.
 *
 * It is never killed while it has something of its own in the process (a breakpoint behind a
 * call): it is asked to stop, so that it leaves the process as it was. */
#ifndef MT_CTL_GDB_H
#define MT_CTL_GDB_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct mt_gdb {
    pid_t pid; /* gdb's own */
    int to, from;
    char *text; /* what it has answered, a string */
    size_t n, room;
} mt_gdb;

/* Starts it. False after one sentence on stderr: it is not installed. */
bool mt_gdb_start(mt_gdb *gdb);

/* Lets it do these commands, lines, and gets its answer. False if none came within so many
 * seconds, or it has ended. */
bool mt_gdb_ask(mt_gdb *gdb, int seconds, const char *commands);

/* The number behind the last "mtrace-result " in the answer, or -1. */
long mt_gdb_result(const mt_gdb *gdb);

/* Lets go of the process and ends. */
void mt_gdb_end(mt_gdb *gdb);

#endif
