/* sites: one row for each stack that a recorded chunk was allocated from.
 *
 *   used (a byte a row)   row
 *   | fingerprint |       | key | sums ... | peak, frames | ... | pc 0 | pc 1 | ... |
 *                           └── | hash 32 | references 30 | state 2 |
 *
 *   [FREE] ──insert──▶ [WRITING] ──▶ [READY] ──insert of another stack, when unreferenced──▶ …
 *
 * Each recorded chunk holds one reference to its row. A row without references keeps its
 * stack, so that the same site finds it again, until an insert needs the room: then the site's
 * totals are lost to it, which mt_sites_evicted counts. A stack may be in one of the
 * MT_SITES_WINDOW rows that follow its hash; if all of these are referenced by chunks of other
 * stacks there is no room and the chunk is not recorded. Two threads that insert the same new
 * stack at the same moment make two rows of it: whoever sums up by site compares stacks, not
 * row numbers.
 *
 * In a table of more than MT_SITES_FIRST rows a stack is looked for among the first so many,
 * then among 16 times as many, and so on to all of them, and inserted among the fewest that
 * have a free row for it (of a window of MT_SITES_NARROW but for the last); rows that never had
 * a stack, or lost it to a reset, have a fingerprint of 0 and are not touched. So rows that are
 * used lie together at the beginning, in few pages, and there may be as many as anybody will
 * want: where nothing is to be lost a table has at least MT_SITES_EXACT and at most
 * MT_SITES_MOST.
 *
 * Beside its stack a row keeps estimates of what was allocated from it:
 *
 *   live bytes  the sum of weight times size of its chunks in the table
 *   allocated   the sum of 1/p over all that were drawn, recorded or not; since the row was
 *               made, the start, or the last reset
 *   peak        the largest value of live bytes: a maximum of estimates, so rather too high;
 *               and of references, hence of chunks in the table
 *
 * and for allocated its variance, the sum of (1/p)(1/p - 1)x². That of live, the sum of
 * w(w - 1)x², follows from the chunks of a snapshot. Freed is allocated less live. The totals
 * of rows that were evicted are added up in one more row, at index `rows`.
 *
 * Any thread, hooks too: nothing blocks, allocates or makes a system call. Sums of doubles are
 * added with compare-and-swap.
 */
#ifndef MT_RECORD_SITES_H
#define MT_RECORD_SITES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MT_SITES_WINDOW = 64,
    MT_SITES_NARROW = 16,
    MT_SITES_FIRST = 4096,
    MT_SITES_EXACT = 1 << 18,
    MT_SITES_MOST = 1 << 20,
    MT_SITES_NEAR = 64,
    MT_SITES_BYTES = 1 << 16 /* 2^20 / 16 */
};

/* Live sums are integers, in units of 1/16 byte, so that what is added and taken away again
 * leaves nothing; those that begin with allocated are bits of doubles. What is written at each
 * chunk lies in the first line of the processor's cache: threads that allocate at one site
 * hand it to and fro. */
typedef struct mt_site {
    _Atomic uint64_t key;
    _Atomic uint64_t live_bytes; /* signed: a thread may take away before another has added */
    _Atomic uint64_t peak_bytes;
    _Atomic uint64_t all, all_bytes;             /* drawn with p = 1, integers */
    _Atomic uint32_t peak_count;                 /* of references */
    _Atomic uint32_t frames;                     /* how many the row has */
    _Atomic uint64_t allocated, allocated_bytes; /* the others */
    _Atomic uint64_t allocated_variance, allocated_bytes_variance;
    _Atomic uintptr_t stack[]; /* depth of them */
} __attribute__((aligned(64))) mt_site;

/* live and peak_count are of chunks in the table, not estimates: what there is and was only
 * where every chunk is recorded. */
typedef struct mt_site_totals {
    uint32_t live, peak_count;
    double live_bytes, peak_bytes;
    double allocated, allocated_bytes;
    double allocated_variance, allocated_bytes_variance;
} mt_site_totals;

typedef struct mt_sites {
    uint32_t rows;        /* a power of two */
    uint32_t depth;       /* frames a row can hold */
    uint32_t stride;      /* bytes of a row */
    size_t bytes;         /* of the mapping */
    _Atomic uint64_t age; /* grows when a row that held a stack is taken for another */
    char *row; /* rows + 1 of mt_site; the last is of those evicted, its key how many */
    _Atomic uint8_t *used; /* of each row, 0: it has no stack */
    _Atomic uint8_t *level;
} mt_sites;

enum { MT_SITES_REFERENCE = 4 }; /* in a key */

static inline mt_site *mt_sites_row(const mt_sites *sites, uint32_t row) {
    return (mt_site *)(sites->row + (size_t)row * sites->stride);
}

/* Maps a table of `rows` rows (a power of two). 0, or -1 without memory. */
int mt_sites_init(mt_sites *sites, uint32_t rows, uint32_t depth);

/* The same over memory that holds one already, or zeroes, given the two numbers that
 * mt_sites_init gave mt_region_take; NULL: says how many bytes that is, alone. -1 if they are
 * too many. For who reads it from outside; nothing is written but *sites. */
int mt_sites_at(mt_sites *sites, void *memory, uint32_t rows, uint32_t depth);

/* Unmaps it: for tests. */
void mt_sites_fini(mt_sites *sites);

/* The row of this stack, with one more reference, which the caller owns; -1: no room. */
int32_t mt_sites_hold(mt_sites *sites, void *const *stack, uint32_t frames);

/* The same for a thread that keeps the rows it held of late, which spares it to look for them:
 * `near` is its own, MT_SITES_NEAR of them, zero at first, and only ever a guess. */
int32_t mt_sites_hold_near(mt_sites *sites, void *const *stack, uint32_t frames,
                           uint32_t *near);

/* Grows whenever a row that had a stack gets another or none: see site_row.h. */
static inline uint64_t mt_sites_age(const mt_sites *sites) {
    return atomic_load_explicit(&sites->age, memory_order_relaxed);
}

/* How many there are; a moment's value. The row is held. */
uint32_t mt_sites_references(const mt_sites *sites, uint32_t row);

/* How rarely its chunks are recorded: see thin.h. 0 for a row that is new; a moment's value. */
uint32_t mt_sites_level(const mt_sites *sites, uint32_t row);
void mt_sites_set_level(mt_sites *sites, uint32_t row, uint32_t level);

/* True if nothing was added to the row yet: its stack is new. The row is held. */
bool mt_sites_is_new(const mt_sites *sites, uint32_t row);

/* Gives one reference back. */
void mt_sites_drop(mt_sites *sites, uint32_t row);

/* Adds a chunk that was drawn with probability p. The row is held. No floating point if p is 1.
 */
void mt_sites_allocated(mt_sites *sites, uint32_t row, double p, uint64_t size);

/* Adds (sign 1) or takes away (-1) a recorded chunk of this weight, in the units of chunks.h.
 * The row is held. */
void mt_sites_live(mt_sites *sites, uint32_t row, int sign, uint64_t weight, uint64_t size);

/* The totals of a row that is held, or of those evicted (row = rows). Not for hooks. */
mt_site_totals mt_sites_totals(const mt_sites *sites, uint32_t row);

/* Empties a row's sums, into those of another row, or into none: for sites.c. */
void mt_sites_move_sums(mt_sites *sites, uint32_t row, uint32_t to);
void mt_sites_forget_sums(mt_sites *sites, uint32_t row);

/* Forgets rows without references and all totals. */
void mt_sites_reset(mt_sites *sites);

/* Copies at most `max` frames of a row to which somebody holds a reference; returns how many.
 * See mt_chunks_peek for how a reader makes sure of that. */
uint32_t mt_sites_copy(const mt_sites *sites, uint32_t row, uintptr_t *stack, uint32_t max);

/* Rows that lost their totals to another stack since the start or the last reset. */
uint64_t mt_sites_evicted(const mt_sites *sites);

/* Rows that are referenced; a moment's value. */
uint32_t mt_sites_held(const mt_sites *sites);

#endif
