/* environment: takes us out of LD_PRELOAD, so that what this process starts, starts clean. */
#ifndef MT_HOOK_ENVIRONMENT_H
#define MT_HOOK_ENVIRONMENT_H

typedef int mt_environment_is_ours(const char *entry);

/* Removes every entry that `is_ours` accepts from the value of LD_PRELOAD in this list of
 * variables, in place, and the variable if nothing is left of it. Returns how many went. The
 * strings must be writable. Before main: nobody else may be reading the list. */
int mt_environment_remove(char **environment, mt_environment_is_ours *is_ours);

#endif
