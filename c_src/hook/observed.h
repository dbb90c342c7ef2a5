/* observed: a process that is traced for somebody outside, mtracectl: how they meet at the
 * start and part at the end. In between nothing is done: no thread, no descriptor.
 *
 *   MTRACE_CTL names an abstract Unix socket (unix(7)), on which mtracectl listens
 *
 *   constructor   connect; map the tables in a memfd (record/region); send that; close both
 *   a signal      a bit in the region, and a futex wakes who watches (MTRACE_SIGNALS)
 *   exit          the same, and up to 2 s of waiting, so that the kernel's figures of this
 *                 process can be read; 50 ms where the watcher has gone
 *
 * env(1) with a command is passed by: it executes that in its place, and scripts name it where
 * they mean their interpreter.
 *
 * The name is believed only if a process of the same user listens there. In the child of a fork
 * nothing of this is done; a signal that would have ended it without us ends it.
 */
#ifndef MT_HOOK_OBSERVED_H
#define MT_HOOK_OBSERVED_H

#include <stdbool.h>

#include "record/options.h"

typedef enum mt_observed {
    MT_OBSERVED_NO = 0,       /* nobody wants to: MTRACE_CTL is not set */
    MT_OBSERVED_MEETING = 1,  /* somebody listens, and has not got the tables yet */
    MT_OBSERVED_ALONE = 2,    /* nobody listens any more, or a stranger */
    MT_OBSERVED_NO_MEMORY = 3 /* the tables could not be shared */
} mt_observed;

/* Whether this process is env, about to execute a command. */
bool mt_observed_passes_by(int argc, char **argv, mt_getenv *get);

/* Before the tables are mapped: connects, and shares what is taken of the region from now on.
 * Changes options->slots to what there is room for. `get`: as in options.h. */
mt_observed mt_observed_meet(mt_options *options, mt_getenv *get);

/* When they are mapped: hands them over, and takes the signals (MTRACE_SIGNALS). */
void mt_observed_begin(const mt_options *options);

/* Lets no descriptor stay: after that, or where tracing did not begin. */
void mt_observed_hang_up(void);

/* In the child of a fork. */
void mt_observed_forked(void);

/* Takes the variables by which mtracectl starts programs out of the environment. Before main.
 */
void mt_observed_clean(char **environment);

#endif
