/* journal: the files whose code a target's stacks may lead through: what it noted itself
 * (record/seen) or, where it did not, what was mapped when it was last looked at. */
#ifndef MT_CTL_JOURNAL_H
#define MT_CTL_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "target.h"

/* The objects, as many as *n, the caller's own: one free each gives them and their texts back.
 * NULL if there are none, or without memory. */
mt_census_object *mt_journal_read(const mt_target *target, uint32_t *n, void **texts);

/* How many files had no place in what the target noted. */
uint64_t mt_journal_left_out(const mt_target *target);

/* Whether these return addresses led through the same files at both moments. */
bool mt_journal_alike(const mt_census_object *objects, uint32_t n, const uint64_t *stack,
                      uint32_t frames, uint64_t at, uint64_t then);

#endif
