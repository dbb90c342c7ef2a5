/* log_path: which file the event log goes to.
 */
#ifndef MT_RECORD_LOG_PATH_H
#define MT_RECORD_LOG_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Expands %p to the process's number, %c to its name, %% to %, and makes the path absolute by
 * the present folder. False if it has another % or does not fit. */
bool mt_log_path_expand(const char *text, pid_t pid, const char *name, char *path, size_t room);

#endif
