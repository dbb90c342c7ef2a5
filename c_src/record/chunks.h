/* chunks: a fixed table of live chunks, indexed by a hash of the chunk's address.
 *
 *             word: a fingerprint a cell, 0 = free       cells (address, size, time, ...)
 *   set 0     | 3f | 00 | a1 | 00 | 00 | 00 | 00 | 77 |  | live |   | live | ... | live |
 *   set 1     | 00 | 00 | 00 | 00 | 00 | 00 | 00 | 00 |  |      |   |      | ... |      |
 *   ...
 *   set 511   | ...                                   |  512 sets of 8 cells: 4096 slots
 *
 * A sample is kept in one such table; where every chunk is, in several: see levels.h.
 *
 * An address belongs to one set. A chunk whose set is full is not recorded; nothing ever
 * probes, moves or waits. Freeing a chunk that is not in the table costs one load and one
 * compare of eight bytes.
 *
 * A cell goes through these states; who makes a transition with a compare-and-swap owns the
 * cell until the next arrow. The state stands in the cell's tag beside the address and a
 * version, so that a reader can tell whether what it copied belongs together.
 *
 *            claim (byte 0 -> fingerprint)      publish
 *   [free] ─────────────────────▶ [claimed] ─────────────▶ [LIVE]
 *      ▲                              ▲                     │   │ ▲
 *      │ abandon (byte -> 0)          │ take (LIVE->EMPTY)  │   │ │ thin: kept
 *      └──────────────────────────────┴─────────────────────┘   ▼ │
 *      ▲                                                      [BUSY]
 *      └── thin: dropped, or found DEAD ──────────────────────┘ │
 *                                           [DEAD] ◀────────────┘ taken while BUSY
 *
 * realloc takes the record before it calls the allocator and publishes it again into the same
 * cell, which is still claimed, when the allocator failed: a restored record always fits.
 *
 * Any thread may call anything here at any time, but take for an address only the thread that
 * is about to free it. Nothing blocks, spins, allocates or makes a system call.
 */
#ifndef MT_RECORD_CHUNKS_H
#define MT_RECORD_CHUNKS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MT_CHUNKS_LOW  0x0101010101010101ull
#define MT_CHUNKS_HIGH 0x8080808080808080ull

enum { MT_CELLS = 8, /* cells in a set */ MT_WEIGHT_ONE = 1 << 20 };

/* What is known of a chunk. A plain copy, the caller's own. */
typedef struct mt_chunk {
    uint64_t address;
    uint64_t size;    /* bytes asked for */
    uint64_t born_ns; /* CLOCK_MONOTONIC */
    double p;         /* how likely it was drawn */
    uint64_t weight;  /* how many chunks it stands for, in units of 1 / MT_WEIGHT_ONE:
                         1 / (p * share of the sets that had room) */
    uint64_t pid;     /* of the Erlang process that it was allocated for; 0: none */
    uint32_t thread;  /* the thread's number and kind, and the allocator: see below */
    uint32_t site;    /* a row of sites; the record holds one reference to it */
} mt_chunk;

/* mt_chunk.thread: the kernel's number of the thread, which has at most 22 bits, its kind
 * (mt_thread_kind), and the allocator (mt_allocator):  allocator 3 | kind 2 | tid 24 */
enum { MT_CHUNK_TID = (1 << 24) - 1, MT_CHUNK_KIND_SHIFT = 24, MT_CHUNK_ALLOCATOR_SHIFT = 26 };

/* What each chunk has, two cells a line of the processor's cache; a record that begins or ends
 * touches no more where the rest is usual: p and weight one, no pid. */
typedef struct mt_cell {
    _Atomic uint64_t tag; /* version in the 16 highest bits, address, state in the 2 lowest */
    _Atomic uint64_t size;
    _Atomic uint64_t born_ns;
    _Atomic uint32_t thread; /* the highest bit: the rest is not usual */
    _Atomic uint32_t site;
} __attribute__((aligned(32))) mt_cell;

typedef struct mt_cell_rest {
    _Atomic uint64_t p; /* bits of the double */
    _Atomic uint64_t weight;
    _Atomic uint64_t pid;
} mt_cell_rest;

typedef struct mt_chunks {
    uint32_t sets;  /* a power of two */
    uint32_t shift; /* 64 - log2(sets) */
    _Atomic uint64_t *word;
    mt_cell *cell;
    mt_cell_rest *rest; /* of each cell */
    /* Sets without a free cell; not beside what every free reads. */
    _Atomic uint32_t full __attribute__((aligned(64)));
} mt_chunks;

/* The top bits choose the set, lower ones make the fingerprint, which is never 0. Two rounds of
 * multiplying and mixing: after one alone, chunks that lie side by side would be spread over
 * the sets more evenly than by chance, and fewer of them would meet a full set than the share
 * of full sets, by which they are weighed. */
static inline uint64_t mt_chunks_hash(uint64_t address) {
    uint64_t h = (address >> 3) * 0x9e3779b97f4a7c15ull;
    return (h ^ h >> 32) * 0xd6e8feb86659fd93ull;
}

static inline uint32_t mt_chunks_set_of(const mt_chunks *table, uint64_t h) {
    return (uint32_t)(h >> table->shift);
}

static inline uint64_t mt_chunks_fingerprint(uint64_t h) {
    uint64_t f = (h >> 24) & 0xff;
    return f ? f : 1;
}

/* The high bit of each byte that is zero; now and then also of one above such a byte, which
 * costs a look at a tag that then does not match. */
static inline uint64_t mt_chunks_zero_bytes(uint64_t x) {
    return (x - MT_CHUNKS_LOW) & ~x & MT_CHUNKS_HIGH;
}

/* False if there is surely no record of this address: one load and one compare. */
static inline bool mt_chunks_may_hold(const mt_chunks *table, uint64_t address) {
    uint64_t h = mt_chunks_hash(address);
    uint64_t word =
        atomic_load_explicit(&table->word[mt_chunks_set_of(table, h)], memory_order_relaxed);
    return mt_chunks_zero_bytes(word ^ mt_chunks_fingerprint(h) * MT_CHUNKS_LOW) != 0;
}

/* Maps a table of `slots` cells, a power of two >= 16. 0, or -1 without memory. */
int mt_chunks_init(mt_chunks *table, uint32_t slots);

/* The same over memory that holds one already, or zeroes: `sets` is what mt_chunks_init gave
 * mt_region_take. For who reads it from outside; nothing here is written then but *table. */
size_t mt_chunks_bytes(uint32_t sets);
void mt_chunks_at(mt_chunks *table, void *memory, uint32_t sets);

/* Unmaps it. For tests: in a process no thread may use the table any more. */
void mt_chunks_fini(mt_chunks *table);

/* Reserves a cell for this address: its number, or -1 if all of its set are taken or the
 * address is one that no tag can hold (beyond 2^48 or not a multiple of 8). */
int32_t mt_chunks_claim(mt_chunks *table, uint64_t address);

/* Fills a claimed cell; the record is visible from now on. */
void mt_chunks_publish(mt_chunks *table, int32_t cell, const mt_chunk *chunk);

/* Gives a claimed cell back unused. */
void mt_chunks_abandon(mt_chunks *table, int32_t cell);

/* Ends the record of this address: its cell, claimed, and what it held; or -1 if there is
 * none. To be followed by abandon, or publish to restore it. A record that a thinner holds is
 * ended by the thinner; -1 then too. */
int32_t mt_chunks_take(mt_chunks *table, uint64_t address, mt_chunk *chunk);

/* Ends the record in this cell, whatever its address: for reset. As take. */
int32_t mt_chunks_take_cell(mt_chunks *table, int32_t cell, mt_chunk *chunk);

/* Copies the record in a cell. The copy belongs together if and only if
 * mt_chunks_unchanged(table, cell, tag) is true after the last read of anything that the
 * record keeps alive (its site). Returns the tag, or 0 if the cell holds no live record. */
uint64_t mt_chunks_peek(const mt_chunks *table, int32_t cell, mt_chunk *chunk);
bool mt_chunks_unchanged(const mt_chunks *table, int32_t cell, uint64_t tag);

/* The first cell from `cell` on that is taken, or -1. So a reader goes past what was never used
 * without touching it. What is published meanwhile may be missed. */
int32_t mt_chunks_next(const mt_chunks *table, int32_t cell);

/* Asks `keep` about every record, which may change all but its address; what it refuses is
 * removed. `gone` is told of each record that ended here, be it refused or freed meanwhile.
 * One thread at a time. */
typedef bool mt_chunks_keep(mt_chunk *chunk, void *context);
typedef void mt_chunks_gone(const mt_chunk *chunk, void *context);
void mt_chunks_thin(mt_chunks *table, mt_chunks_keep *keep, mt_chunks_gone *gone,
                    void *context);

/* Cells that are taken: counted, some 200 ns for 4096. The other two only load a number. All
 * are a moment's values. */
uint32_t mt_chunks_taken(const mt_chunks *table);

/* Sets without a free cell. The count follows the words: it may be below 0 while a set that a
 * thread has just filled was opened by another. */
static inline uint32_t mt_chunks_full(const mt_chunks *table) {
    int32_t full = (int32_t)atomic_load_explicit(&table->full, memory_order_relaxed);
    return full > 0 ? (uint32_t)full : 0;
}

/* True if one of 12 sets has no free cell, as at some 4/7 of all cells. (A chunk that
 * takes the address of one that was just freed finds the room that this left, more often than
 * the share of sets with room says: the fewer are full, the less that matters.) */
static inline bool mt_chunks_crowded(const mt_chunks *table) {
    return mt_chunks_full(table) > table->sets / 12;
}

/* The sets that have a free cell, at least 1. */
static inline uint32_t mt_chunks_open(const mt_chunks *table) {
    uint32_t full = mt_chunks_full(table);
    return full < table->sets ? table->sets - full : 1;
}

static inline int32_t mt_chunks_slots(const mt_chunks *table) {
    return (int32_t)(table->sets * MT_CELLS);
}

#endif
