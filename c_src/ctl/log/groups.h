/* log_groups: sums by name. One thread. */
#ifndef MT_CTL_LOG_GROUPS_H
#define MT_CTL_LOG_GROUPS_H

#include <stdint.h>

typedef struct mt_logged_group {
    char *name;
    uint64_t hash;
    uint64_t count[2], bytes[2]; /* what for is the caller's */
    uint32_t stack;              /* one of the group's */
} mt_logged_group;

typedef struct mt_logged_groups {
    mt_logged_group **cell; /* open addressing, at most half full */
    uint32_t count, cells;
} mt_logged_groups;

/* The group of this name, made where there is none; valid until it is closed. Groups begin
 * empty: {0}. */
mt_logged_group *mt_logged_groups_get(mt_logged_groups *groups, const char *name);

/* All groups, in an order: to be freed. */
mt_logged_group **mt_logged_groups_sorted(const mt_logged_groups *groups,
                                          int (*order)(const void *, const void *));

void mt_logged_groups_close(mt_logged_groups *groups);

#endif
