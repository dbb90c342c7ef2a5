/* thin: makes room in the table, so that what is recorded stays a fair sample of what is alive,
 * of rare sites too.
 *
 * A chunk of n bytes at site s is in the table with probability
 *
 *     p = (1 - exp(-cost(n) / interval)) / 2^level(s)
 *
 * times the share of sets that had room. Where the table is 3/4 full, sites that hold more than
 * their share of it, a 16th, go up as many levels as it takes; where that does not make room
 * enough the interval doubles. Chunks that were likelier stay with probability p(new) / p(old),
 * and stand for more (Horvitz and Thompson, as for the draw). So all chunks of a site that have
 * the same size have the same weight again, and none of a rare site is given up for the
 * ten-thousandth of another: what is learnt of a site grows with the root of its cells. A site
 * that has but a 64th of the table left goes down a level.
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

/* Thins the table, unless another thread is about it, or the interval is fixed. Costs some 50
 * us for 4096 slots, each time that the table is 3/4 full. */
void mt_thin_make_room(mt_thread *block);

#endif
