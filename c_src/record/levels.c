/* levels: see the header. Runs inside malloc and free. */
#include "levels.h"

#include <stddef.h>

#include "cell.h"

enum {
    BY_ADDRESS = 2,
    ARENA_SHIFT = 26,
    SET_SHIFT = 8, /* 256 bytes of the heap */
    CELL_SHIFT = 5
};

int mt_levels_init(mt_levels *levels, uint32_t slots, bool exact) {
    uint32_t first = slots / 16 < MT_LEVELS_FIRST ? slots / 16 : MT_LEVELS_FIRST;
    const uint32_t several[MT_LEVELS_MAX] = {first, slots / 2, slots / 2, slots / 16,
                                             slots / 32};
    levels->count = 0;
    atomic_store(&levels->used, 1);
    uint32_t wanted = exact && slots >= MT_LEVELS_LEAST ? MT_LEVELS_MAX : 1;
    for (; levels->count < wanted; levels->count++) {
        uint32_t cells = wanted > 1 ? several[levels->count] : slots;
        if (mt_chunks_init(&levels->level[levels->count], cells) != 0) {
            mt_levels_fini(levels);
            return -1;
        }
    }
    return 0;
}

void mt_levels_fini(mt_levels *levels) {
    while (levels->count) mt_chunks_fini(&levels->level[--levels->count]);
    for (int i = 0; i < MT_LEVELS_FIRST / MT_CELLS; i++) atomic_store(&levels->beyond[i], 0);
}

/* The sets of an address, level by level. */
typedef struct {
    uint64_t address, fingerprint, hash;
} place;

static inline place place_of(uint64_t address) {
    uint64_t h = mt_chunks_hash(address);
    return (place){address, mt_chunks_fingerprint(h), h};
}

/* By the address. Where a heap is longer than the level goes round, each round begins a set
 * later: so it is spread evenly, and chunks at the same place of each page or so meet other
 * sets, too. Each arena (64 MiB in glibc) begins anywhere. */
static inline uint32_t set_by_address(const mt_chunks *table, uint64_t address) {
    uint32_t bits = 64 - table->shift;
    uint64_t block = address >> SET_SHIFT, round = block >> bits;
    uint64_t arena = bits + SET_SHIFT > ARENA_SHIFT ? round : address >> ARENA_SHIFT;
    return (uint32_t)(block + round + (arena * 0x9e3779b97f4a7c15ull >> 32)) &
           (table->sets - 1);
}

/* By a hash: another for each level, or what overflows a set of one would meet in one set of
 * the next. */
static inline uint32_t set_in(const mt_levels *levels, uint32_t level, place *at) {
    const mt_chunks *table = &levels->level[level];
    if (level < BY_ADDRESS) return set_by_address(table, at->address);
    at->hash = (at->hash ^ at->hash >> 29) * 0xc2b2ae3d27d4eb4full;
    return mt_chunks_set_of(table, at->hash);
}

/* Allocators hand out no less than 32 bytes (glibc, 64 bits): so a chunk has one of the eight
 * cells of its 256 bytes to itself, and its free finds it there without the set's word. */
static inline int preferred(uint64_t address) {
    return (int)(address >> CELL_SHIFT & (MT_CELLS - 1));
}

/* Said before the chunk is published, hence before anybody can free it: a free that is ordered
 * after that sees it, relaxed, because the number only grows. */
static __attribute__((noinline, cold)) void use(mt_levels *levels, uint32_t count) {
    uint32_t used = atomic_load_explicit(&levels->used, memory_order_relaxed);
    while (used < count &&
           !atomic_compare_exchange_weak_explicit(&levels->used, &used, count,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

/* The same for one set of the first level: nothing is published beyond it before it is counted.
 * Relaxed, for the same reason; an address that is found beyond is counted at least once. */
static inline void count_beyond(mt_levels *levels, uint64_t address, int32_t step) {
    uint32_t set = set_by_address(&levels->level[0], address);
    atomic_fetch_add_explicit(&levels->beyond[set], (uint64_t)(int64_t)step,
                              memory_order_relaxed);
}

static inline bool is_beyond(const mt_levels *levels, uint32_t set) {
    return atomic_load_explicit(&levels->beyond[set], memory_order_relaxed) != 0;
}

static inline uint32_t used(const mt_levels *levels) {
    return atomic_load_explicit(&levels->used, memory_order_relaxed);
}

int32_t mt_levels_claim(mt_levels *levels, uint64_t address) {
    if (levels->count == 1) return mt_chunks_claim(&levels->level[0], address);
    if (!mt_cell_holds(address)) return -1;
    place at = place_of(address);
    for (uint32_t l = 0; l < levels->count; l++) {
        bool filled;
        int32_t cell = mt_cell_claim(&levels->level[l], set_in(levels, l, &at), at.fingerprint,
                                     preferred(address), &filled);
        if (cell < 0) continue;
        if (l >= used(levels)) use(levels, l + 1);
        if (l > 0) count_beyond(levels, address, 1);
        return mt_levels_cell(l, cell);
    }
    return -1;
}

int32_t mt_levels_take(mt_levels *levels, uint64_t address, mt_chunk *chunk) {
    if (levels->count == 1) return mt_chunks_take(&levels->level[0], address, chunk);
    place at = place_of(address);
    bool found = false;
    for (uint32_t l = 0, n = used(levels); l < n && !found; l++) {
        int32_t cell = mt_cell_find(&levels->level[l], set_in(levels, l, &at), at.fingerprint,
                                    address, chunk, &found);
        if (cell >= 0) return mt_levels_cell(l, cell);
    }
    return -1;
}

/* True if a cell of the set holds the address. */
static inline bool holds(const mt_chunks *table, uint32_t set, const place *at) {
    uint64_t match = mt_cell_matches(table, set, at->fingerprint);
    for (; __builtin_expect(match != 0, 0); match &= match - 1) {
        uint64_t tag = mt_cell_load(
            &table->cell[set * MT_CELLS + (uint32_t)__builtin_ctzll(match) / 8].tag);
        if (tag == ((tag & MT_CELL_VERSION) | at->address | MT_CELL_LIVE)) return true;
    }
    return false;
}

/* Looks at all levels for an old record, as take would. */
static __attribute__((noinline)) mt_put put_on(mt_levels *levels, place at, uint32_t l,
                                               int32_t cell, const mt_chunk *chunk) {
    mt_chunks *into = cell >= 0 ? &levels->level[0] : NULL;
    for (uint32_t n = used(levels); l < levels->count && (l < n || !into); l++) {
        mt_chunks *level = &levels->level[l];
        uint32_t set = set_in(levels, l, &at);
        bool filled;
        if (holds(level, set, &at)) {
            if (into) mt_cell_clear(into, cell, at.fingerprint);
            return MT_PUT_STALE;
        }
        if (into) continue;
        cell = mt_cell_claim(level, set, at.fingerprint, preferred(at.address), &filled);
        if (cell < 0) continue;
        into = level;
        if (l >= n) use(levels, l + 1);
    }
    if (!into) return MT_PUT_FULL;
    if (into != &levels->level[0]) count_beyond(levels, at.address, 1);
    mt_cell_publish(into, cell, chunk);
    return MT_PUT_DONE;
}

/* The first level is always used. */
mt_put mt_levels_put(mt_levels *levels, const mt_chunk *chunk) {
    mt_chunks *first = &levels->level[0];
    place at = place_of(chunk->address);
    uint32_t set = set_by_address(first, chunk->address);
    bool filled;
    if (!mt_cell_holds(chunk->address)) return MT_PUT_FULL;
    if (holds(first, set, &at)) return MT_PUT_STALE;
    int32_t cell = mt_cell_claim(first, set, at.fingerprint, preferred(at.address), &filled);
    if (cell < 0 || is_beyond(levels, set)) return put_on(levels, at, 1, cell, chunk);
    mt_cell_publish(first, cell, chunk);
    return MT_PUT_DONE;
}

/* Where a chunk is mostly, in the second level: in its preferred cell. */
static inline int32_t find_preferred(mt_chunks *level, uint32_t set, const place *at,
                                     mt_chunk *chunk) {
    int32_t i = (int32_t)(set * MT_CELLS) + preferred(at->address);
    uint64_t tag = mt_cell_load(&level->cell[i].tag);
    if ((tag & ~MT_CELL_VERSION) != (at->address | MT_CELL_LIVE)) return -1;
    return mt_cell_take(level, i, tag, chunk) ? i : -1;
}

static __attribute__((noinline)) bool cut_on(mt_levels *levels, place at, mt_chunk *chunk) {
    bool found = false;
    for (uint32_t l = 1, n = used(levels); l < n && !found; l++) {
        mt_chunks *level = &levels->level[l];
        uint32_t set = set_in(levels, l, &at);
        int32_t cell = l < BY_ADDRESS ? find_preferred(level, set, &at, chunk) : -1;
        if (cell < 0)
            cell = mt_cell_find(level, set, at.fingerprint, at.address, chunk, &found);
        if (cell < 0) continue;
        mt_cell_clear(level, cell, at.fingerprint);
        count_beyond(levels, at.address, -1);
        return true;
    }
    return false;
}

/* Asks for the lines that a record of this address is written to, or read from. */
static inline void expect(const mt_chunks *level, uint32_t set, uint64_t address) {
    __builtin_prefetch(&level->word[set], 1);
    __builtin_prefetch(&level->cell[set * MT_CELLS + (uint32_t)preferred(address)], 1);
}

void mt_levels_expect(const mt_levels *levels, uint64_t address) {
    const mt_chunks *first = &levels->level[0], *second = &levels->level[1];
    uint32_t set = set_by_address(first, address);
    expect(first, set, address);
    if (is_beyond(levels, set)) expect(second, set_by_address(second, address), address);
}

bool mt_levels_cut(mt_levels *levels, uint64_t address, mt_chunk *chunk) {
    mt_chunks *first = &levels->level[0];
    place at = place_of(address);
    uint32_t set = set_by_address(first, address);
    int32_t own = find_preferred(first, set, &at, chunk);
    if (own >= 0) {
        mt_cell_clear(first, own, at.fingerprint);
        return true;
    }
    bool found = false, beyond = is_beyond(levels, set);
    if (beyond) expect(&levels->level[1], set_by_address(&levels->level[1], address), address);
    int32_t cell = mt_cell_find(first, set, at.fingerprint, address, chunk, &found);
    if (cell < 0) return beyond && !found && cut_on(levels, at, chunk);
    mt_cell_clear(first, cell, at.fingerprint);
    return true;
}

void mt_levels_publish(mt_levels *levels, int32_t cell, const mt_chunk *chunk) {
    mt_cell_publish(&levels->level[mt_levels_of(cell)], mt_levels_within(cell), chunk);
}

/* How many sets are full is asked of a table of one level alone, which is thinned by it. */
void mt_levels_abandon(mt_levels *levels, int32_t cell, uint64_t address) {
    if (levels->count == 1) mt_chunks_abandon(&levels->level[0], cell);
    else mt_cell_abandon(&levels->level[mt_levels_of(cell)], mt_levels_within(cell));
    if (mt_levels_of(cell) > 0) count_beyond(levels, address, -1);
}

int32_t mt_levels_next(const mt_levels *levels, int32_t cell) {
    int32_t within = mt_levels_within(cell);
    for (uint32_t l = mt_levels_of(cell), n = used(levels); l < n; l++, within = 0) {
        int32_t next = mt_chunks_next(&levels->level[l], within);
        if (next >= 0) return mt_levels_cell(l, next);
    }
    return -1;
}

bool mt_levels_take_cell(mt_levels *levels, int32_t cell, mt_chunk *chunk) {
    mt_chunks *level = &levels->level[mt_levels_of(cell)];
    return mt_chunks_take_cell(level, mt_levels_within(cell), chunk) >= 0;
}

uint64_t mt_levels_slots(const mt_levels *levels) {
    uint64_t n = 0;
    for (uint32_t l = 0; l < levels->count; l++)
        n += (uint64_t)mt_chunks_slots(&levels->level[l]);
    return n;
}

uint64_t mt_levels_taken(const mt_levels *levels) {
    uint64_t n = 0;
    for (uint32_t l = 0; l < used(levels); l++) n += mt_chunks_taken(&levels->level[l]);
    return n;
}

uint64_t mt_levels_bytes(const mt_levels *levels) {
    uint64_t n = 0;
    for (uint32_t l = 0; l < levels->count; l++) n += mt_chunks_bytes(levels->level[l].sets);
    return n;
}
