/* levels: the table of live chunks as the tracer uses it: one table (chunks.h) where a sample
 * is kept, several where every chunk is.
 *
 *   sampling   [ slots, by a hash of the address ]
 *
 *   exact      0 [ 1/16, at most 32768 cells ]     by the address
 *              1 [ 1/2 of the slots   ]     by the address
 *              2 [ 1/2                ]     by a hash
 *              3 [ 1/16 ]                   by a hash
 *              4 [ 1/32 ]                   by a hash
 *
 * A chunk goes into the first level that has room for it, and is looked for in the same order;
 * levels that were never used are not looked at. So nothing probes within a level, moves or
 * waits, and all that chunks.h says of a cell holds in each. What overflows the second level
 * has two more choices and then a third, so that up to 3/4 of the slots that were asked for
 * nothing is ignored: see test/c/levels_test.c for the patterns of addresses that this was
 * tried with. All levels together have some 1.16 times the slots asked for.
 *
 * The first two levels keep chunks side by side that lie side by side: 256 bytes of the heap
 * belong to one set, the next 256 to the next set. A program that goes through its memory in
 * order then goes through the table in order, and what it has in the processor's caches and
 * the TLB, has its records there too; a hash costs a page of its own for each chunk. Where the
 * heap is longer than the level goes round, each round begins elsewhere. A program with few
 * live chunks stays within the first level, which is small; each of its sets counts how many
 * chunks found no room in it, so that the others are looked at only where there are any.
 *
 * A table that is to sample is spread by a hash, because the share of sets with room is what
 * its chunks are weighed by, and has one level, because it is thinned. A table keeps the levels
 * that it was started with, whatever the interval becomes.
 *
 * A cell's number is that within its level, with the level above the bits of MT_LEVELS_CELL.
 * Threads, hooks and cost: as chunks.h, some ns more for each level that is looked at.
 */
#ifndef MT_RECORD_LEVELS_H
#define MT_RECORD_LEVELS_H

#include "chunks.h"

enum {
    MT_LEVELS_MAX = 5,
    MT_LEVELS_SHIFT = 26,
    MT_LEVELS_CELL = (1 << MT_LEVELS_SHIFT) - 1,
    MT_LEVELS_LEAST = 16384, /* slots; a smaller table has one level */
    MT_LEVELS_FIRST = 32768  /* cells of the first level, at most */
};

typedef struct mt_levels {
    mt_chunks level[MT_LEVELS_MAX];
    uint32_t count;        /* levels there are */
    _Atomic uint32_t used; /* levels that ever held a chunk; only grows */
    /* For each set of the first level, how many chunks that belong to it are in the others:
     * where there are none, nobody looks there. Those that were thinned stay counted. */
    _Atomic uint64_t beyond[MT_LEVELS_FIRST / MT_CELLS];
} mt_levels;

/* Maps a table for `slots` chunks, a power of two >= 16, from mt_region_take, level by level;
 * `exact`: in several levels, if it is large enough. 0, or -1 without memory. */
int mt_levels_init(mt_levels *levels, uint32_t slots, bool exact);

/* Unmaps it: for tests. */
void mt_levels_fini(mt_levels *levels);

/* As the functions of chunks.h. */
int32_t mt_levels_claim(mt_levels *levels, uint64_t address);
void mt_levels_publish(mt_levels *levels, int32_t cell, const mt_chunk *chunk);
void mt_levels_abandon(mt_levels *levels, int32_t cell, uint64_t address);
int32_t mt_levels_take(mt_levels *levels, uint64_t address, mt_chunk *chunk);

/* What recording and forgetting are where there are several levels, in one go each. Put records
 * a chunk: its site's row, weight and p are set. Cut ends the record of an address and gives
 * its cell back; false if there is none. */
typedef enum mt_put {
    MT_PUT_DONE = 0,
    MT_PUT_FULL = 1, /* no level has room, or no tag can hold the address */
    MT_PUT_STALE = 2 /* the address has a record: cut it and try again */
} mt_put;

mt_put mt_levels_put(mt_levels *levels, const mt_chunk *chunk);
bool mt_levels_cut(mt_levels *levels, uint64_t address, mt_chunk *chunk);

/* An address will be put or cut beyond the first level before long: spares it the wait for
 * memory; a few ns. */
void mt_levels_expect_beyond(const mt_levels *levels, uint64_t address);

static inline bool mt_levels_several(const mt_levels *levels) {
    return levels->count > 1;
}

/* A cell's level, and its number there. */
static inline uint32_t mt_levels_of(int32_t cell) {
    return (uint32_t)cell >> MT_LEVELS_SHIFT;
}

static inline int32_t mt_levels_within(int32_t cell) {
    return cell & MT_LEVELS_CELL;
}

static inline int32_t mt_levels_cell(uint32_t level, int32_t within) {
    return (int32_t)(level << MT_LEVELS_SHIFT) | within;
}

/* As mt_chunks_next, through all levels; begin with 0. */
int32_t mt_levels_next(const mt_levels *levels, int32_t cell);

static inline uint64_t mt_levels_peek(const mt_levels *levels, int32_t cell, mt_chunk *chunk) {
    return mt_chunks_peek(&levels->level[mt_levels_of(cell)], mt_levels_within(cell), chunk);
}

static inline bool mt_levels_unchanged(const mt_levels *levels, int32_t cell, uint64_t tag) {
    return mt_chunks_unchanged(&levels->level[mt_levels_of(cell)], mt_levels_within(cell), tag);
}

/* Ends the record in a cell: for reset. To be abandoned then. */
bool mt_levels_take_cell(mt_levels *levels, int32_t cell, mt_chunk *chunk);

/* Cells there are, those that are taken (counted: 200 ns for 4096), and bytes mapped. */
uint64_t mt_levels_slots(const mt_levels *levels);
uint64_t mt_levels_taken(const mt_levels *levels);
uint64_t mt_levels_bytes(const mt_levels *levels);

#endif
