/* cell: what a thread does to one set of a table and its cells; for chunks and levels, which
 * say which set an address belongs to. See chunks.h for the states of a cell, chunks.c for why
 * the orderings suffice. For hooks.
 */
#ifndef MT_RECORD_CELL_H
#define MT_RECORD_CELL_H

#include "chunks.h"
#include "real.h"
#include "word.h"

enum {
    MT_CELL_EMPTY = 0,
    MT_CELL_BUSY = 1,
    MT_CELL_LIVE = 2,
    MT_CELL_DEAD = 3,
    MT_CELL_STATE = 3
};

#define MT_CELL_ADDRESS      0x0000fffffffffff8ull
#define MT_CELL_VERSION_STEP 0x0001000000000000ull
#define MT_CELL_VERSION      0xffff000000000000ull

static inline uint64_t mt_cell_load(const _Atomic uint64_t *at) {
    return atomic_load_explicit(at, memory_order_relaxed);
}

/* In mt_cell.thread: what stands in the rest counts. */
#define MT_CELL_UNUSUAL 0x80000000u

static inline void mt_cell_read(const mt_chunks *table, int32_t i, uint64_t tag,
                                mt_chunk *chunk) {
    const mt_cell *cell = &table->cell[i];
    uint32_t thread = atomic_load_explicit(&cell->thread, memory_order_relaxed);
    chunk->address = tag & MT_CELL_ADDRESS;
    chunk->size = mt_cell_load(&cell->size);
    chunk->born_ns = mt_cell_load(&cell->born_ns);
    chunk->thread = thread & ~MT_CELL_UNUSUAL;
    chunk->site = atomic_load_explicit(&cell->site, memory_order_relaxed);
    chunk->p = 1;
    chunk->weight = MT_WEIGHT_ONE;
    chunk->pid = 0;
    if (!(thread & MT_CELL_UNUSUAL)) return;
    const mt_cell_rest *rest = &table->rest[i];
    chunk->p = mt_real_of(mt_cell_load(&rest->p));
    chunk->weight = mt_cell_load(&rest->weight);
    chunk->pid = mt_cell_load(&rest->pid);
}

static inline bool mt_cell_is_usual(const mt_chunk *chunk) {
    return mt_real_bits(chunk->p) == MT_REAL_ONE && chunk->weight == MT_WEIGHT_ONE &&
           chunk->pid == 0;
}

/* The fence orders these stores after whatever took the cell out of LIVE. */
static inline void mt_cell_write(mt_chunks *table, int32_t i, const mt_chunk *chunk) {
    mt_cell *cell = &table->cell[i];
    uint32_t thread = chunk->thread;
    atomic_thread_fence(memory_order_release);
    if (!mt_cell_is_usual(chunk)) {
        mt_cell_rest *rest = &table->rest[i];
        atomic_store_explicit(&rest->p, mt_real_bits(chunk->p), memory_order_relaxed);
        atomic_store_explicit(&rest->weight, chunk->weight, memory_order_relaxed);
        atomic_store_explicit(&rest->pid, chunk->pid, memory_order_relaxed);
        thread |= MT_CELL_UNUSUAL;
    }
    atomic_store_explicit(&cell->size, chunk->size, memory_order_relaxed);
    atomic_store_explicit(&cell->born_ns, chunk->born_ns, memory_order_relaxed);
    atomic_store_explicit(&cell->thread, thread, memory_order_relaxed);
    atomic_store_explicit(&cell->site, chunk->site, memory_order_relaxed);
}

/* A tag can hold the address. */
static inline bool mt_cell_holds(uint64_t address) {
    return address != 0 && !(address & ~MT_CELL_ADDRESS);
}

/* Sets a zero byte of a set's word, the preferred one or else the first: the cell, or -1 if
 * there is none. `filled`: whether it was the last one. */
static inline int32_t mt_cell_claim(bool alone, mt_chunks *table, uint32_t set,
                                    uint64_t fingerprint, uint32_t preferred, bool *filled) {
    uint64_t word = mt_cell_load(&table->word[set]), free_byte;
    while ((free_byte = mt_chunks_zero_bytes(word)) != 0) {
        uint32_t i = preferred;
        if (word >> (8 * i) & 0xff)
            i = (uint32_t)__builtin_ctzll(free_byte) / 8; /* the lowest is always a true one */
        uint64_t taken = word | fingerprint << (8 * i);
        if (!mt_word_exchange(alone, &table->word[set], &word, taken)) continue;
        *filled = !mt_chunks_zero_bytes(taken);
        return (int32_t)(set * MT_CELLS + i);
    }
    return -1;
}

static inline void mt_cell_publish(mt_chunks *table, int32_t i, const mt_chunk *chunk) {
    mt_cell *cell = &table->cell[i];
    uint64_t version = (mt_cell_load(&cell->tag) + MT_CELL_VERSION_STEP) & MT_CELL_VERSION;
    mt_cell_write(table, i, chunk);
    atomic_store_explicit(&cell->tag, version | chunk->address | MT_CELL_LIVE,
                          memory_order_release);
}

/* Clears the cell's byte. True if its set had no free cell before. */
static inline bool mt_cell_abandon(mt_chunks *table, int32_t cell) {
    _Atomic uint64_t *word = &table->word[cell / MT_CELLS];
    uint64_t fingerprint = mt_cell_load(word) & 0xffull << (8 * (cell % MT_CELLS));
    uint64_t before =
        mt_word_add(mt_word_is_alone(), word, -fingerprint); /* it is ours: the others stay */
    return !mt_chunks_zero_bytes(before);
}

/* The same where the fingerprint is known and nobody counts sets. */
static inline void mt_cell_clear(bool alone, mt_chunks *table, int32_t cell,
                                 uint64_t fingerprint) {
    mt_word_increase(alone, &table->word[cell / MT_CELLS],
                     -(fingerprint << (8 * (cell % MT_CELLS))));
}

/* Takes the cell if it is live with this tag's address; a failed exchange may bring the tag of
 * another record, for which the cell was claimed meanwhile. The version stays: only publish
 * moves it on, so a tag never comes back while a reader could still hold it. */
static inline bool mt_cell_take(mt_chunks *table, int32_t i, uint64_t tag, mt_chunk *chunk) {
    mt_cell *cell = &table->cell[i];
    uint64_t address = tag & MT_CELL_ADDRESS;
    while ((tag & MT_CELL_ADDRESS) == address) {
        switch (tag & MT_CELL_STATE) {
        case MT_CELL_LIVE:
            if (mt_word_exchange(mt_word_is_alone(), &cell->tag, &tag, tag & MT_CELL_VERSION)) {
                mt_cell_read(table, i, tag, chunk);
                return true;
            }
            break; /* the thinner came first, or has just put it back */
        case MT_CELL_BUSY:
            if (atomic_compare_exchange_strong_explicit(&cell->tag, &tag, tag | MT_CELL_STATE,
                                                        memory_order_acq_rel,
                                                        memory_order_relaxed))
                return false;
            break;
        default:
            return false;
        }
    }
    return false;
}

/* The cells of a set's word that have the fingerprint, a bit each: of those an address may be
 * in one. */
static inline uint64_t mt_cell_matches(const mt_chunks *table, uint32_t set,
                                       uint64_t fingerprint) {
    return mt_chunks_zero_bytes(mt_cell_load(&table->word[set]) ^ fingerprint * MT_CHUNKS_LOW);
}

/* Ends the record of an address that belongs to the set: the cell, or -1. `found`: there was
 * one. A dead record of this address may stand beside a live one: its thinner is slow, and the
 * address was freed and handed out again meanwhile. */
static inline int32_t mt_cell_find(mt_chunks *table, uint32_t set, uint64_t fingerprint,
                                   uint64_t address, mt_chunk *chunk, bool *found) {
    uint64_t match = mt_cell_matches(table, set, fingerprint);
    for (; match; match &= match - 1) {
        int32_t i = (int32_t)(set * MT_CELLS) + __builtin_ctzll(match) / 8;
        uint64_t tag = mt_cell_load(&table->cell[i].tag);
        if ((tag & MT_CELL_ADDRESS) != address) continue;
        if ((tag & MT_CELL_STATE) != MT_CELL_LIVE && (tag & MT_CELL_STATE) != MT_CELL_BUSY)
            continue;
        *found = true;
        return mt_cell_take(table, i, tag, chunk) ? i : -1;
    }
    return -1;
}

#endif
