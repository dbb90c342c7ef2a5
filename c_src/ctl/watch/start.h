/* start: the program that is run, as our child: in our process group, with our terminal,
 * descriptors and folder; traced. */
#ifndef MT_CTL_START_H
#define MT_CTL_START_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "ctl/arguments.h"

/* Can memory be shared with it? False after one sentence on stderr. */
bool mt_start_may(void);

/* Starts `path` with arguments->rest, `object` preloaded before what is, and the socket's name.
 * `mask` are the signals that it shall find blocked. Its number, or -1 after one sentence on
 * stderr: what execve(2) refused is known when this returns. */
pid_t mt_start(const mt_arguments *arguments, const char *path, const char *object,
               const char *socket, const sigset_t *mask);

/* Ends us by the signal that ended the program, without a core of our own. */
void mt_end_by(int signal);

#endif
