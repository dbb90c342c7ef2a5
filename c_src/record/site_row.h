/* site_row: what one chunk does to a row of sites, without a call: for sites, and for exact,
 * where that is done at each malloc and free. See sites.h for the row, sites.c for why the
 * orderings suffice, word.h for `alone`. For hooks.
 */
#ifndef MT_RECORD_SITE_ROW_H
#define MT_RECORD_SITE_ROW_H

#include "chunks.h"
#include "sites.h"
#include "word.h"

enum { MT_ROW_FREE = 0, MT_ROW_WRITING = 1, MT_ROW_READY = 2, MT_ROW_STATE = 3 };

#define MT_ROW_REFERENCE  ((uint64_t)MT_SITES_REFERENCE)
#define MT_ROW_REFERENCES 0x00000000fffffffcull

/* Of a byte that stands for itself. */
#define MT_ROW_UNITS ((uint64_t)MT_WEIGHT_ONE / MT_SITES_BYTES)

/* How many references there are, if one more to a READY row with this hash could be taken; 0 if
 * it is something else, or if there are so many that the count could overflow. */
static inline uint32_t mt_row_hold(bool alone, mt_site *s, uint64_t k, uint64_t h32) {
    while ((k & MT_ROW_STATE) == MT_ROW_READY && k >> 32 == h32 &&
           (k & MT_ROW_REFERENCES) < MT_ROW_REFERENCES)
        if (mt_word_exchange(alone, &s->key, &k, k + MT_ROW_REFERENCE))
            return (uint32_t)((k & MT_ROW_REFERENCES) / MT_ROW_REFERENCE) + 1;
    return 0;
}

/* The largest of what those who come at the same moment found: each stores its own, unless
 * there is a larger. */
static inline void mt_row_raise_peak(mt_site *s, uint32_t count) {
    uint32_t peak = atomic_load_explicit(&s->peak_count, memory_order_relaxed);
    while (__builtin_expect(count > peak, 0) &&
           !atomic_compare_exchange_weak_explicit(&s->peak_count, &peak, count,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

/* Holds a row that the caller has held before, of which he noted mt_sites_age while he held it:
 * NULL if it may have another stack now. Who takes a row away makes the age grow before it is
 * READY again: so it is held first, then the age is asked. */
static inline mt_site *mt_row_hold_again(bool alone, mt_sites *sites, uint32_t row,
                                         uint64_t age) {
    mt_site *s = mt_sites_row(sites, row);
    uint64_t k = atomic_load_explicit(&s->key, memory_order_relaxed);
    uint32_t count = mt_row_hold(alone, s, k, k >> 32);
    if (!count) return NULL;
    if (__builtin_expect(mt_sites_age(sites) != age, 0)) {
        mt_sites_drop(sites, row);
        return NULL;
    }
    mt_row_raise_peak(s, count);
    return s;
}

static inline void mt_row_add_bytes(bool alone, mt_site *s, int64_t bytes) {
    int64_t now = (int64_t)mt_word_add(alone, &s->live_bytes, (uint64_t)bytes) + bytes;
    uint64_t peak = atomic_load_explicit(&s->peak_bytes, memory_order_relaxed);
    while (__builtin_expect(now > (int64_t)peak, 0) &&
           !mt_word_exchange(alone, &s->peak_bytes, &peak, (uint64_t)now))
        ;
}

/* Adds a chunk of weight one that was surely drawn. The row is held. */
static inline void mt_row_add(bool alone, mt_site *s, uint64_t size) {
    mt_word_increase(alone, &s->all, 1);
    mt_word_increase(alone, &s->all_bytes, size);
    mt_row_add_bytes(alone, s, (int64_t)(size * MT_ROW_UNITS));
}

/* Its end, with that of its reference. */
static inline void mt_row_end(bool alone, mt_site *s, uint64_t size) {
    mt_word_increase(alone, &s->live_bytes, -(size * MT_ROW_UNITS));
    mt_word_increase(alone, &s->key, -MT_ROW_REFERENCE);
}

#endif
