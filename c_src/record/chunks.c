/* chunks: see the header for the table and the states of a cell.
 *
 * Why the orderings suffice. A cell's fields are written only between claim (or thin's BUSY)
 * and publish, by one thread. Publish stores the tag with release, a reader loads it with
 * acquire: the fields it then reads are at least those. If they are newer, the reader has read
 * a store that comes after a release fence of the writer, and the reader's own acquire fence
 * makes the tag that the writer found there visible, which is no longer the one remembered.
 * The byte of the word is cleared with release after the tag was emptied and set with acquire
 * by the next claim, so that two owners of a cell are ordered. A free may read the word
 * relaxed: whoever frees a chunk got its address from whoever allocated it, hence after the
 * record was published.
 */
#include "chunks.h"

#include <stddef.h>

#include "cell.h"
#include "region.h"

size_t mt_chunks_bytes(uint32_t sets) {
    return sets * (sizeof(uint64_t) + MT_CELLS * (sizeof(mt_cell) + sizeof(mt_cell_rest)));
}

void mt_chunks_at(mt_chunks *table, void *memory, uint32_t sets) {
    table->cell = memory;
    table->rest = (mt_cell_rest *)(table->cell + (size_t)sets * MT_CELLS);
    table->word = (_Atomic uint64_t *)(table->rest + (size_t)sets * MT_CELLS);
    table->shift = 64 - (uint32_t)__builtin_ctz(sets);
    table->sets = sets;
    atomic_store(&table->full, 0);
}

int mt_chunks_init(mt_chunks *table, uint32_t slots) {
    uint32_t sets = slots / MT_CELLS;
    void *memory = mt_region_take(MT_REGION_CHUNKS, mt_chunks_bytes(sets), sets, 0);
    if (!memory) return -1;
    mt_chunks_at(table, memory, sets);
    return 0;
}

void mt_chunks_fini(mt_chunks *table) {
    mt_region_return(table->cell, mt_chunks_bytes(table->sets));
    table->sets = 0;
}

int32_t mt_chunks_claim(mt_chunks *table, uint64_t address) {
    if (!mt_cell_holds(address)) return -1;
    uint64_t h = mt_chunks_hash(address);
    bool filled = false;
    int32_t cell = mt_cell_claim(mt_word_is_alone(), table, mt_chunks_set_of(table, h),
                                 mt_chunks_fingerprint(h), 0, &filled);
    if (filled) atomic_fetch_add_explicit(&table->full, 1, memory_order_relaxed);
    return cell;
}

void mt_chunks_publish(mt_chunks *table, int32_t i, const mt_chunk *chunk) {
    mt_cell_publish(table, i, chunk);
}

void mt_chunks_abandon(mt_chunks *table, int32_t cell) {
    if (mt_cell_abandon(table, cell))
        atomic_fetch_sub_explicit(&table->full, 1, memory_order_relaxed);
}

int32_t mt_chunks_take(mt_chunks *table, uint64_t address, mt_chunk *chunk) {
    uint64_t h = mt_chunks_hash(address);
    bool found;
    return mt_cell_find(table, mt_chunks_set_of(table, h), mt_chunks_fingerprint(h), address,
                        chunk, &found);
}

int32_t mt_chunks_take_cell(mt_chunks *table, int32_t i, mt_chunk *chunk) {
    uint64_t tag = mt_cell_load(&table->cell[i].tag);
    return mt_cell_take(table, i, tag, chunk) ? i : -1;
}

uint64_t mt_chunks_peek(const mt_chunks *table, int32_t i, mt_chunk *chunk) {
    const mt_cell *cell = &table->cell[i];
    uint64_t tag = atomic_load_explicit(&cell->tag, memory_order_acquire);
    if ((tag & MT_CELL_STATE) != MT_CELL_LIVE) return 0;
    mt_cell_read(table, i, tag, chunk);
    return mt_chunks_unchanged(table, i, tag) ? tag : 0;
}

bool mt_chunks_unchanged(const mt_chunks *table, int32_t i, uint64_t tag) {
    atomic_thread_fence(memory_order_acquire);
    return mt_cell_load(&table->cell[i].tag) == tag;
}

int32_t mt_chunks_next(const mt_chunks *table, int32_t cell) {
    uint32_t set = (uint32_t)cell / MT_CELLS, within = (uint32_t)cell % MT_CELLS;
    for (; set < table->sets; set++, within = 0) {
        uint64_t word = mt_cell_load(&table->word[set]) >> 8 * within;
        if (word) return (int32_t)(set * MT_CELLS + within) + __builtin_ctzll(word) / 8;
    }
    return -1;
}

void mt_chunks_thin(mt_chunks *table, mt_chunks_keep *keep, mt_chunks_gone *gone,
                    void *context) {
    for (int32_t i = 0; i < mt_chunks_slots(table); i++) {
        mt_cell *cell = &table->cell[i];
        uint64_t tag = mt_cell_load(&cell->tag);
        if ((tag & MT_CELL_STATE) != MT_CELL_LIVE) continue;
        uint64_t busy = (tag & ~(uint64_t)MT_CELL_STATE) | MT_CELL_BUSY;
        if (!atomic_compare_exchange_strong_explicit(
                &cell->tag, &tag, busy, memory_order_acquire, memory_order_relaxed))
            continue; /* freed this moment */
        mt_chunk chunk;
        mt_cell_read(table, i, tag, &chunk);
        if (keep(&chunk, context)) {
            mt_cell_write(table, i, &chunk);
            uint64_t live =
                ((tag + MT_CELL_VERSION_STEP) & MT_CELL_VERSION) | chunk.address | MT_CELL_LIVE;
            if (atomic_compare_exchange_strong_explicit(
                    &cell->tag, &busy, live, memory_order_acq_rel, memory_order_relaxed))
                continue;
        }
        atomic_store_explicit(&cell->tag, tag & MT_CELL_VERSION, memory_order_release);
        mt_chunks_abandon(table, i);
        gone(&chunk, context);
    }
}

uint32_t mt_chunks_taken(const mt_chunks *table) {
    uint32_t n = 0;
    for (uint32_t s = 0; s < table->sets; s++) {
        uint64_t word = mt_cell_load(&table->word[s]);
        for (; word; word >>= 8) n += (word & 0xff) != 0;
    }
    return n;
}
