/* backtraces: what gdb says of a process's threads (thread apply all backtrace), read for one
 * question: may a function be called there now that allocates and loads a library? */
#ifndef MT_CTL_BACKTRACES_H
#define MT_CTL_BACKTRACES_H

#include <stdbool.h>
#include <stddef.h>

/* False while a thread is inside an allocator, the dynamic loader or a fork, anywhere on its
 * stack, but for an allocator's own thread that sleeps; `where` gets the function's name or its
 * object's, cut to `room`. False also if there is no stack at all in the text. Any text. */
bool mt_backtraces_quiet(const char *text, char *where, size_t room);

#endif
