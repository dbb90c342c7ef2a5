/* watch: the targets that are being watched, and what they ask for while they run.
 *
 *   a futex in each target's memory ── a thread of ours each ──▶ one pipe ──▶ poll
 *   its end                         ── a pidfd ────────────────────────────▶
 *
 * The threads do nothing but wait and write a byte. All else here: one thread.
 */
#ifndef MT_CTL_WATCH_H
#define MT_CTL_WATCH_H

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "target.h"

typedef struct mt_watched {
    mt_target target;
    int memory;  /* the memfd: kept, so that `mtracectl report` finds it */
    int process; /* a pidfd, or -1: older than Linux 5.3 */
    int bell;    /* the pipe */
    bool listening;
    bool gone; /* the process has ended */
    atomic_bool closing;
    pthread_t thread;
} mt_watched;

typedef struct mt_watch {
    mt_watched **list;
    unsigned n, room;
    int bell[2]; /* bell[0] is to be polled */
} mt_watch;

/* 0, or -1 after one sentence on stderr. Signals that are blocked now stay so in its threads.
 */
int mt_watch_open(mt_watch *watch);
void mt_watch_close(mt_watch *watch);

/* Takes over the descriptor. One that has the same number is dropped: another program was
 * executed in its place. NULL after one sentence on stderr. */
mt_watched *mt_watch_add(mt_watch *watch, int memfd, pid_t pid);

void mt_watch_drop(mt_watch *watch, mt_watched *watched);

mt_watched *mt_watch_find(const mt_watch *watch, pid_t pid);

/* After a poll: empties the pipe, and notes whose process has ended. */
void mt_watch_look(mt_watch *watch);

#endif
