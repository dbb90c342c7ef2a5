/* levels: see the header. Runs inside malloc and free. */
#include "levels.h"

#include <stddef.h>

#include "cell.h"
#include "level.h"

enum { BY_ADDRESS = 2 };

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

/* An address, and what its sets are found by, level by level. In the levels by address the
 * chunks of a set differ in their high bits, of which any product depends. */
typedef struct {
    uint64_t address, fingerprint, hash;
} place;

static inline place place_of(uint64_t address) {
    return (place){address, mt_level_fingerprint(address), 0};
}

/* By a hash: another for each level, or what overflows a set of one would meet in one set of
 * the next. */
static inline uint32_t set_in(const mt_levels *levels, uint32_t level, place *at) {
    const mt_chunks *table = &levels->level[level];
    if (level < BY_ADDRESS) return mt_level_set(table, at->address);
    if (!at->hash) at->hash = mt_chunks_hash(at->address);
    at->hash = (at->hash ^ at->hash >> 29) * 0xc2b2ae3d27d4eb4full;
    return mt_chunks_set_of(table, at->hash);
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
    uint32_t set = mt_level_set(&levels->level[0], address);
    mt_word_increase(mt_word_is_alone(), &levels->beyond[set], (uint64_t)(int64_t)step);
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
        int32_t cell =
            mt_cell_claim(mt_word_is_alone(), &levels->level[l], set_in(levels, l, &at),
                          at.fingerprint, mt_level_preferred(address), &filled);
        if (cell < 0) continue;
        if (l >= used(levels)) use(levels, l + 1);
        if (l > 0) count_beyond(levels, address, 1);
        return mt_levels_cell(l, cell);
    }
    return -1;
}

/* Where a chunk mostly is, in the first two levels: in its preferred cell. -1: look further. */
static inline int32_t find_preferred(mt_chunks *level, uint32_t set, uint64_t address,
                                     mt_chunk *chunk) {
    uint64_t tag;
    int32_t cell = mt_level_find(mt_word_is_alone(), level, set, address, &tag);
    if (cell >= 0) mt_cell_read(level, cell, tag, chunk);
    return cell;
}

int32_t mt_levels_take(mt_levels *levels, uint64_t address, mt_chunk *chunk) {
    mt_chunks *first = &levels->level[0];
    if (levels->count == 1) return mt_chunks_take(first, address, chunk);
    int32_t own = find_preferred(first, mt_level_set(first, address), address, chunk);
    if (own >= 0) return own;
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
            if (into) mt_cell_clear(mt_word_is_alone(), into, cell, at.fingerprint);
            return MT_PUT_STALE;
        }
        if (into) continue;
        cell = mt_cell_claim(mt_word_is_alone(), level, set, at.fingerprint,
                             mt_level_preferred(at.address), &filled);
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
    uint32_t set = mt_level_set(first, chunk->address);
    bool filled;
    if (!mt_cell_holds(chunk->address)) return MT_PUT_FULL;
    if (holds(first, set, &at)) return MT_PUT_STALE;
    int32_t cell = mt_cell_claim(mt_word_is_alone(), first, set, at.fingerprint,
                                 mt_level_preferred(at.address), &filled);
    if (cell < 0 || mt_level_is_beyond(levels, set)) return put_on(levels, at, 1, cell, chunk);
    mt_cell_publish(first, cell, chunk);
    return MT_PUT_DONE;
}

static __attribute__((noinline)) bool cut_on(mt_levels *levels, place at, mt_chunk *chunk) {
    bool found = false;
    for (uint32_t l = 1, n = used(levels); l < n && !found; l++) {
        mt_chunks *level = &levels->level[l];
        uint32_t set = set_in(levels, l, &at);
        int32_t cell = l < BY_ADDRESS ? find_preferred(level, set, at.address, chunk) : -1;
        if (cell < 0)
            cell = mt_cell_find(level, set, at.fingerprint, at.address, chunk, &found);
        if (cell < 0) continue;
        mt_cell_clear(mt_word_is_alone(), level, cell, at.fingerprint);
        count_beyond(levels, at.address, -1);
        return true;
    }
    return false;
}

void mt_levels_expect_beyond(const mt_levels *levels, uint64_t address) {
    const mt_chunks *second = &levels->level[1];
    mt_level_expect(second, mt_level_set(second, address), address);
}

bool mt_levels_cut(mt_levels *levels, uint64_t address, mt_chunk *chunk) {
    mt_chunks *first = &levels->level[0];
    place at = place_of(address);
    uint32_t set = mt_level_set(first, address);
    bool found = false, beyond = mt_level_is_beyond(levels, set);
    if (beyond) mt_levels_expect_beyond(levels, address);
    int32_t cell = mt_cell_find(first, set, at.fingerprint, address, chunk, &found);
    if (cell < 0) return beyond && !found && cut_on(levels, at, chunk);
    mt_cell_clear(mt_word_is_alone(), first, cell, at.fingerprint);
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
