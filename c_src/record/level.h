/* level: what the first two levels of the table (levels.h) do, without a call: for levels, and
 * for exact, where that is done at each malloc and free. A chunk whose cell is free, which is
 * nearly all, is put and cut here; for any other levels.c looks further. For hooks.
 */
#ifndef MT_RECORD_LEVEL_H
#define MT_RECORD_LEVEL_H

#include "cell.h"
#include "levels.h"

enum {
    MT_LEVEL_ARENA = 26, /* bits */
    MT_LEVEL_SET = 8,    /* 256 bytes of the heap */
    MT_LEVEL_CELL = 5
};

/* The chunks of a set differ in their high bits, of which any product depends. */
static inline uint64_t mt_level_fingerprint(uint64_t address) {
    return (address * 0x9e3779b97f4a7c15ull) >> 56 | 1;
}

/* By the address. Where a heap is longer than the level goes round, each round begins a set
 * later: so it is spread evenly, and chunks at the same place of each page or so meet other
 * sets, too. Each arena (64 MiB in glibc) begins anywhere. */
static inline uint32_t mt_level_set(const mt_chunks *table, uint64_t address) {
    uint32_t bits = 64 - table->shift + MT_LEVEL_SET;
    uint64_t round = address >> bits;
    uint64_t arena = address >> (bits > MT_LEVEL_ARENA ? bits : MT_LEVEL_ARENA);
    return (uint32_t)((address >> MT_LEVEL_SET) + round +
                      (arena * 0x9e3779b97f4a7c15ull >> 32)) &
           (table->sets - 1);
}

/* Allocators hand out no less than 32 bytes (glibc, 64 bits): so a chunk has one of the eight
 * cells of its 256 bytes to itself, and its free finds it there without the set's word. */
static inline uint32_t mt_level_preferred(uint64_t address) {
    return address >> MT_LEVEL_CELL & (MT_CELLS - 1);
}

/* Chunks that belong to this set of the first level are in others. */
static inline bool mt_level_is_beyond(const mt_levels *levels, uint32_t set) {
    return atomic_load_explicit(&levels->beyond[set], memory_order_relaxed) != 0;
}

/* Asks for the lines that a record of this address is written to, or read from. */
static inline void mt_level_expect(const mt_chunks *level, uint32_t set, uint64_t address) {
    __builtin_prefetch(&level->word[set], 1);
    __builtin_prefetch(&level->cell[set * MT_CELLS + mt_level_preferred(address)], 1);
}

/* Puts a chunk into its cell of the first level, if all is as it mostly is: that is free, and
 * no other record can be of this address. False: nothing was done; mt_levels_put. */
static inline __attribute__((always_inline)) bool
mt_level_put(bool alone, mt_levels *levels, uint32_t set, const mt_chunk *chunk) {
    mt_chunks *table = &levels->level[0];
    uint64_t address = chunk->address, word = mt_cell_load(&table->word[set]);
    uint32_t within = mt_level_preferred(address);
    uint64_t fingerprint = mt_level_fingerprint(address);
    if (word >> (8 * within) & 0xff || mt_level_is_beyond(levels, set) ||
        !mt_cell_holds(address) || mt_chunks_zero_bytes(word ^ fingerprint * MT_CHUNKS_LOW))
        return false;
    if (!mt_word_exchange(alone, &table->word[set], &word, word | fingerprint << (8 * within)))
        return false;
    mt_cell_publish(table, (int32_t)(set * MT_CELLS + within), chunk);
    return true;
}

/* Ends the record of an address that is in its preferred cell: the cell, to be cleared, and the
 * tag it had; -1: look further. */
static inline int32_t mt_level_find(bool alone, mt_chunks *table, uint32_t set,
                                    uint64_t address, uint64_t *tag) {
    int32_t i = (int32_t)(set * MT_CELLS + mt_level_preferred(address));
    *tag = mt_cell_load(&table->cell[i].tag);
    uint64_t version = *tag & MT_CELL_VERSION;
    if ((*tag ^ version) != (address | MT_CELL_LIVE)) return -1;
    return mt_word_exchange(alone, &table->cell[i].tag, tag, version) ? i : -1;
}

#endif
