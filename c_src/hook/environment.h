/* environment: our own entries in LD_PRELOAD, and taking them out, so that what this process
 * starts, starts clean. Allocates nothing through the malloc family.
 *
 * The list that the kernel made must stay as long as it is:
 *
 *   argv ... NULL | variables ... NULL | auxiliary vector ... AT_NULL      (on the first stack)
 *
 * What lies behind it is found by its end, by Go's runtime for one. So what is edited is a
 * copy, which becomes environ, with the vector behind it as well; in the kernel's list a
 * variable that went is replaced by one that stays, which is there twice then.
 */
#ifndef MT_HOOK_ENVIRONMENT_H
#define MT_HOOK_ENVIRONMENT_H

typedef int mt_environment_is_ours(const char *entry);

/* How many entries of LD_PRELOAD in this list of variables `is_ours` accepts. Writes nothing:
 * a program may keep such a string in read-only memory. */
int mt_environment_count(char *const *environment, mt_environment_is_ours *is_ours);

/* Removes them, in place, and the variable if nothing is left of it; what has none of them is
 * not written to. Returns how many went. Before main: nobody else may be reading the list. */
int mt_environment_remove(char **environment, mt_environment_is_ours *is_ours);

/* Removes the variables of this name, and those whose names begin with it and a "_". Likewise.
 */
void mt_environment_drop(char **environment, const char *name);

/* A copy of the kernel's list, to be edited; NULL without memory. Not to be freed. */
char **mt_environment_copy(char *const *kernels);

/* Makes the two fit, when the copy has been edited. */
void mt_environment_settle(char **kernels, char **edited);

#endif
