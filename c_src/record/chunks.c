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

#include "real.h"
#include "region.h"
#include "word.h"

enum { EMPTY = 0, BUSY = 1, LIVE = 2, DEAD = 3, STATE = 3 };

#define ADDRESS      0x0000fffffffffff8ull
#define VERSION_STEP 0x0001000000000000ull
#define VERSION      0xffff000000000000ull

static size_t bytes_of(uint32_t sets) {
    return sets * (sizeof(uint64_t) + MT_CELLS * sizeof(mt_cell));
}

int mt_chunks_init(mt_chunks *table, uint32_t slots) {
    uint32_t sets = slots / MT_CELLS;
    char *memory = mt_region_take(MT_REGION_CHUNKS, bytes_of(sets), sets, 0);
    if (!memory) return -1;
    mt_chunks_view(table, memory, sets);
    return 0;
}

size_t mt_chunks_view(mt_chunks *table, void *memory, uint32_t sets) {
    table->cell = memory;
    table->word = (_Atomic uint64_t *)(table->cell + (size_t)sets * MT_CELLS);
    table->shift = 64 - (uint32_t)__builtin_ctz(sets);
    table->sets = sets;
    atomic_store(&table->full, 0);
    return bytes_of(sets);
}

void mt_chunks_fini(mt_chunks *table) {
    mt_region_return(table->cell, bytes_of(table->sets));
    table->sets = 0;
}

static inline uint64_t load(const _Atomic uint64_t *at) {
    return atomic_load_explicit(at, memory_order_relaxed);
}

static void read_fields(const mt_cell *cell, uint64_t tag, mt_chunk *chunk) {
    chunk->address = tag & ADDRESS;
    chunk->size = load(&cell->size);
    chunk->born_ns = load(&cell->born_ns);
    chunk->p = mt_real_of(load(&cell->p));
    chunk->weight = load(&cell->weight);
    chunk->pid = load(&cell->pid);
    chunk->thread = atomic_load_explicit(&cell->thread, memory_order_relaxed);
    chunk->site = atomic_load_explicit(&cell->site, memory_order_relaxed);
}

/* The fence orders these stores after whatever took the cell out of LIVE. */
static void write_fields(mt_cell *cell, const mt_chunk *chunk) {
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&cell->size, chunk->size, memory_order_relaxed);
    atomic_store_explicit(&cell->born_ns, chunk->born_ns, memory_order_relaxed);
    atomic_store_explicit(&cell->p, mt_real_bits(chunk->p), memory_order_relaxed);
    atomic_store_explicit(&cell->weight, chunk->weight, memory_order_relaxed);
    atomic_store_explicit(&cell->pid, chunk->pid, memory_order_relaxed);
    atomic_store_explicit(&cell->thread, chunk->thread, memory_order_relaxed);
    atomic_store_explicit(&cell->site, chunk->site, memory_order_relaxed);
}

int32_t mt_chunks_claim(mt_chunks *table, uint64_t address) {
    if (address == 0 || address & ~ADDRESS) return -1;
    uint64_t h = mt_chunks_hash(address);
    uint32_t set = mt_chunks_set_of(table, h);
    uint64_t word = load(&table->word[set]), free_byte;
    while ((free_byte = mt_chunks_zero_bytes(word)) != 0) {
        int i = __builtin_ctzll(free_byte) / 8; /* the lowest is always a true one */
        uint64_t taken = word | mt_chunks_fingerprint(h) << (8 * i);
        if (!mt_word_exchange(&table->word[set], &word, taken)) continue;
        if (!mt_chunks_zero_bytes(taken))
            atomic_fetch_add_explicit(&table->full, 1, memory_order_relaxed);
        return (int32_t)(set * MT_CELLS) + i;
    }
    return -1;
}

void mt_chunks_publish(mt_chunks *table, int32_t i, const mt_chunk *chunk) {
    mt_cell *cell = &table->cell[i];
    uint64_t version = (load(&cell->tag) + VERSION_STEP) & VERSION;
    write_fields(cell, chunk);
    atomic_store_explicit(&cell->tag, version | chunk->address | LIVE, memory_order_release);
}

void mt_chunks_abandon(mt_chunks *table, int32_t cell) {
    _Atomic uint64_t *word = &table->word[cell / MT_CELLS];
    uint64_t fingerprint = load(word) & 0xffull << (8 * (cell % MT_CELLS));
    uint64_t before = mt_word_add(word, -fingerprint); /* it is ours: the others stay */
    if (!mt_chunks_zero_bytes(before))
        atomic_fetch_sub_explicit(&table->full, 1, memory_order_relaxed);
}

/* Takes the cell if it is live with this tag's address; a failed exchange may bring the tag of
 * another record, for which the cell was claimed meanwhile. The version stays: only publish
 * moves it on, so a tag never comes back while a reader could still hold it. */
static bool take(mt_cell *cell, uint64_t tag, mt_chunk *chunk) {
    uint64_t address = tag & ADDRESS;
    while ((tag & ADDRESS) == address) {
        switch (tag & STATE) {
        case LIVE:
            if (mt_word_exchange(&cell->tag, &tag, tag & VERSION)) {
                read_fields(cell, tag, chunk);
                return true;
            }
            break; /* the thinner came first, or has just put it back */
        case BUSY:
            if (atomic_compare_exchange_strong_explicit(
                    &cell->tag, &tag, tag | STATE, memory_order_acq_rel, memory_order_relaxed))
                return false;
            break;
        default:
            return false;
        }
    }
    return false;
}

int32_t mt_chunks_take(mt_chunks *table, uint64_t address, mt_chunk *chunk) {
    uint64_t h = mt_chunks_hash(address);
    uint32_t set = mt_chunks_set_of(table, h);
    uint64_t match = mt_chunks_zero_bytes(load(&table->word[set]) ^
                                          mt_chunks_fingerprint(h) * MT_CHUNKS_LOW);
    for (; match; match &= match - 1) {
        int32_t i = (int32_t)(set * MT_CELLS) + __builtin_ctzll(match) / 8;
        uint64_t tag = load(&table->cell[i].tag);
        if ((tag & ADDRESS) != address) continue;
        /* A dead record of this address may stand beside a live one: its thinner is slow, and
         * the address was freed and handed out again meanwhile. */
        if ((tag & STATE) == LIVE || (tag & STATE) == BUSY)
            return take(&table->cell[i], tag, chunk) ? i : -1;
    }
    return -1;
}

int32_t mt_chunks_take_cell(mt_chunks *table, int32_t i, mt_chunk *chunk) {
    uint64_t tag = load(&table->cell[i].tag);
    return take(&table->cell[i], tag, chunk) ? i : -1;
}

uint64_t mt_chunks_peek(const mt_chunks *table, int32_t i, mt_chunk *chunk) {
    const mt_cell *cell = &table->cell[i];
    uint64_t tag = atomic_load_explicit(&cell->tag, memory_order_acquire);
    if ((tag & STATE) != LIVE) return 0;
    read_fields(cell, tag, chunk);
    return mt_chunks_unchanged(table, i, tag) ? tag : 0;
}

bool mt_chunks_unchanged(const mt_chunks *table, int32_t i, uint64_t tag) {
    atomic_thread_fence(memory_order_acquire);
    return load(&table->cell[i].tag) == tag;
}

void mt_chunks_thin(mt_chunks *table, mt_chunks_keep *keep, mt_chunks_gone *gone,
                    void *context) {
    for (int32_t i = 0; i < mt_chunks_slots(table); i++) {
        mt_cell *cell = &table->cell[i];
        uint64_t tag = load(&cell->tag);
        if ((tag & STATE) != LIVE) continue;
        uint64_t busy = (tag & ~(uint64_t)STATE) | BUSY;
        if (!atomic_compare_exchange_strong_explicit(
                &cell->tag, &tag, busy, memory_order_acquire, memory_order_relaxed))
            continue; /* freed this moment */
        mt_chunk chunk;
        read_fields(cell, tag, &chunk);
        if (keep(&chunk, context)) {
            write_fields(cell, &chunk);
            uint64_t live = ((tag + VERSION_STEP) & VERSION) | chunk.address | LIVE;
            if (atomic_compare_exchange_strong_explicit(
                    &cell->tag, &busy, live, memory_order_acq_rel, memory_order_relaxed))
                continue;
        }
        atomic_store_explicit(&cell->tag, tag & VERSION, memory_order_release);
        mt_chunks_abandon(table, i);
        gone(&chunk, context);
    }
}

uint32_t mt_chunks_taken(const mt_chunks *table) {
    uint32_t n = 0;
    for (uint32_t s = 0; s < table->sets; s++) {
        uint64_t word = load(&table->word[s]);
        for (; word; word >>= 8) n += (word & 0xff) != 0;
    }
    return n;
}
