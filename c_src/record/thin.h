/* thin: makes room in the table, so that what is recorded stays a fair sample of what is alive,
 * of rare sites too.
 *
 * A chunk of n bytes at site s is in the table with probability
 *
 *     p = (1 - exp(-cost(n) / interval)) / 2^level(s)
 *
 * times the share of sets that had room. Where the table is 4/7 full, the site that holds most
 * of it goes up a level, with those that hold half as much or more; if none holds more than its
 * share, an 80th of the table, the interval doubles. Chunks that were likelier stay with
 * probability p(new) / p(old), and stand for more (Horvitz and Thompson, as for the draw). So
 * all chunks of a site that have the same size have the same weight again, and none of a rare
 * site is given up for the ten-thousandth of another: what is learnt of a site grows with the
 * root of its cells. An interval that had doubled without, several times perhaps, for the time
 * that recording took, is followed one doubling at a time, first of all: no more chunks are
 * given up than there must be room for. A site that has but a quarter of its share left goes
 * down a level. Where three of four draws are in vain, for the levels of their sites, the
 * interval doubles, too: fewer do, and cost less.
 *
 * For hooks: no lock, no system call.
 */
#ifndef MT_RECORD_THIN_H
#define MT_RECORD_THIN_H

#include <stdbool.h>
#include <stdint.h>

#include "chunks.h"
#include "thread.h"

/* Whether a chunk that was drawn is recorded; its p becomes that of the level. Its row is held.
 * Never refuses at a fixed interval. */
bool mt_thin_takes(mt_thread *block, uint32_t site, mt_chunk *chunk);

/* Thins the table, unless another thread is about it, or the interval is fixed. Looks at
 * every slot. */
void mt_thin_make_room(mt_thread *block);

/* For who begins to watch what is allocated from now on: leaves but a quarter of the table to
 * what is in it, the same number of cells to each site that has more, and has all sites draw
 * every chunk again. Estimates of what is in it become less sure, those of what comes surer.
 * Nothing at a fixed interval. Any thread, while others allocate; not for hooks. */
void mt_thin_for_watch(void);

#endif
