/* journal: the files whose code a target's stacks may lead through: what it noted itself
 * (record/seen) or, where it did not, what was mapped when it was last looked at. */
#ifndef MT_CTL_JOURNAL_H
#define MT_CTL_JOURNAL_H

#include "target.h"

/* The objects, as many as *n, the caller's own: one free each gives them and their texts back.
 * NULL if there are none, or without memory. */
mt_census_object *mt_journal_read(const mt_target *target, uint32_t *n, void **texts);

#endif
