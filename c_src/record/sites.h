/* sites: one row for each stack that a recorded chunk was allocated from.
 *
 *   key (one word a row)                    stack
 *   | hash 32 | references 30 | state 2 |   | pc 0 | pc 1 | ... | depth of them
 *
 *   [FREE] ──insert──▶ [WRITING] ──▶ [READY] ──insert of another stack, when unreferenced──▶ …
 *
 * Each recorded chunk holds one reference to its row. A row without references keeps its
 * stack, so that the same site finds it again, until an insert needs the room. A stack may
 * be in one of the MT_SITES_WINDOW rows that follow its hash; if all of these are referenced
 * by chunks of other stacks there is no room and the chunk is not recorded. Two threads that
 * insert the same new stack at the same moment make two rows of it: whoever sums up by site
 * compares stacks, not row numbers.
 *
 * Any thread, hooks too: nothing blocks, spins, allocates or makes a system call.
 */
#ifndef MT_RECORD_SITES_H
#define MT_RECORD_SITES_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { MT_SITES_WINDOW = 64 };

typedef struct mt_sites {
    uint32_t rows;  /* a power of two */
    uint32_t depth; /* frames a row can hold */
    size_t bytes;   /* of the mapping */
    _Atomic uint64_t *key;
    _Atomic uint32_t *frames; /* how many frames the row has */
    _Atomic uintptr_t *stack; /* rows * depth */
} mt_sites;

/* Maps a table of `rows` rows (a power of two). 0, or -1 without memory. */
int mt_sites_init(mt_sites *sites, uint32_t rows, uint32_t depth);

/* Unmaps it: for tests. */
void mt_sites_fini(mt_sites *sites);

/* The row of this stack, with one more reference, which the caller owns; -1: no room. */
int32_t mt_sites_hold(mt_sites *sites, void *const *stack, uint32_t frames);

/* Gives one reference back. */
void mt_sites_drop(mt_sites *sites, uint32_t row);

/* Copies at most `max` frames of a row to which somebody holds a reference; returns how many.
 * See mt_chunks_peek for how a reader makes sure of that. */
uint32_t mt_sites_copy(const mt_sites *sites, uint32_t row, uintptr_t *stack, uint32_t max);

/* Rows that are referenced; a moment's value. */
uint32_t mt_sites_held(const mt_sites *sites);

#endif
