/* log_groups: what logs have left, summed by names that the caller makes of stacks. One thread.
 */
#ifndef MT_CTL_LOG_GROUPS_H
#define MT_CTL_LOG_GROUPS_H

#include "log.h"

typedef struct mt_logged_group {
    char *name;
    uint64_t hash;
    uint64_t count[2], bytes[2]; /* of two sides: what they are is the caller's */
    uint32_t stack[2];           /* one of the group's, plus 1; 0: none */
} mt_logged_group;

/* {0} is empty. */
typedef struct mt_logged_groups {
    mt_logged_group **cell; /* open addressing, at most half full */
    uint32_t count, cells;
} mt_logged_groups;

/* Adds to one side what is left at the end of a log, older than --leaks-only, without what
 * --ignore means; `name` writes the name of a stack's group, as seen at `at` (ticks). Keeps the
 * books for that, which are empty before and the caller's to close. All bytes. */
typedef void mt_logged_namer(mt_logged *log, mt_out *to, uint32_t stack, uint64_t at);
uint64_t mt_logged_groups_left(mt_logged_groups *groups, int side, mt_logged *log,
                               mt_logged_account *account, mt_logged_namer *name);

/* All groups, in an order: to be freed. */
mt_logged_group **mt_logged_groups_sorted(const mt_logged_groups *groups,
                                          int (*order)(const void *, const void *));

void mt_logged_groups_close(mt_logged_groups *groups);

#endif
