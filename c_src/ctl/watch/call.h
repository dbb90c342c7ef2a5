/* call: calls a function of our object in a process that was started plain, by gdb.
 *
 *   look at all stacks ── somebody in malloc, the loader, a fork ──▶ let go, wait, again (10 s)
 *         │ nobody
 *         ▼
 *   a page of its own for the texts ─▶ dlopen, dlsym, the call ─▶ the page is unmapped, let go
 *
 * Nothing is left in the process but the object, and what the function did.
 */
#ifndef MT_CTL_CALL_H
#define MT_CTL_CALL_H

#include <stdbool.h>
#include <sys/types.h>

/* Calls `function` of the file `object`, which is loaded there if it is not yet, with
 * MT_ATTACHED_VERSION and, unless they are NULL, `options`. True if it was called or the object
 * could not be loaded: `*result` is what it returned, or -1. False after one sentence on
 * stderr: the process is stopped, gdb is not installed or may not attach, no moment was found,
 * or gdb did not come back. */
bool mt_call(pid_t pid, const char *object, const char *function, const char *options,
             long *result);

#endif
