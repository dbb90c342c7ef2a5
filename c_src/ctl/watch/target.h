/* target: a traced process, through the memory that it shares with us (record/region). It may
 * run, or have ended: the tables stay readable.
 *
 * Nothing in that memory is believed: the program may have written there by mistake. What does
 * not lie within it is as if it were not there. We write its header's page alone.
 *
 * One thread, but for the futex, which another may wait on.
 */
#ifndef MT_CTL_TARGET_H
#define MT_CTL_TARGET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ctl/show/census.h"
#include "processes.h"
#include "record/region.h"

typedef struct mt_target {
    pid_t pid;                /* as we know it */
    mt_region_header *header; /* a page that we may write to */
    char *memory;             /* the whole, read-only */
    uint64_t bytes;
    char *command;   /* with arguments */
    char name[64];   /* the kernel's short one */
    mt_picture last; /* of the process, when it was last looked at */
    bool final;      /* that was at its end */
    bool ended;      /* it is known to have ended: for the owner to say */
} mt_target;

/* Maps it; the descriptor stays the caller's. False after one sentence on stderr:
 * no memory, or not from this version's mtrace.so. */
bool mt_target_open(mt_target *target, int fd, pid_t pid);
void mt_target_close(mt_target *target);

/* Has a look at the process as it is now; at_end: it waits for us, and may end after that. */
void mt_target_look(mt_target *target, bool at_end);

/* What it asks for since the last time: bits of region.h. */
uint32_t mt_target_requests(mt_target *target);

/* The i-th part of this kind, whole within the memory, or NULL; its numbers. */
void *mt_target_part(const mt_target *target, mt_region_part kind, uint32_t i, uint64_t *bytes,
                     uint64_t *a, uint64_t *b);

/* What it holds now, leaving out what is younger. NULL without memory. To be freed by
 * mt_census_free. */
mt_census *mt_target_census(mt_target *target, uint64_t older_than_ns);

#endif
