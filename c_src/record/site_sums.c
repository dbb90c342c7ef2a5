/* site_sums: what a row of sites adds up; see sites.h. Runs inside malloc and free. */
#include <stddef.h>

#include "chunks.h"
#include "real.h"
#include "site_row.h"
#include "sites.h"
#include "word.h"

#define BYTE_UNITS 16.0

bool mt_sites_is_new(const mt_sites *sites, uint32_t row) {
    const mt_site *sums = mt_sites_row(sites, row);
    return (atomic_load_explicit(&sums->all, memory_order_relaxed) |
            atomic_load_explicit(&sums->allocated, memory_order_relaxed)) == 0;
}

/* A sum of doubles in a word. Other threads may add at the same time: the loop ends for each
 * as soon as it is the one that succeeds. */
static void add(_Atomic uint64_t *sum, double x) {
    uint64_t bits = atomic_load_explicit(sum, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(sum, &bits,
                                                  mt_real_bits(mt_real_of(bits) + x),
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

static void move_word(_Atomic uint64_t *from, _Atomic uint64_t *to) {
    uint64_t bits = atomic_exchange_explicit(from, 0, memory_order_relaxed);
    if (bits && to) add(to, mt_real_of(bits));
}

static void move_count(_Atomic uint64_t *from, _Atomic uint64_t *to) {
    uint64_t n = atomic_exchange_explicit(from, 0, memory_order_relaxed);
    if (n && to) atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

/* Empties the sums of a row, into the row of those evicted if there is one. */
static void move_sums(mt_site *from, mt_site *to) {
    move_count(&from->all, to ? &to->all : NULL);
    move_count(&from->all_bytes, to ? &to->all_bytes : NULL);
    move_word(&from->allocated, to ? &to->allocated : NULL);
    move_word(&from->allocated_bytes, to ? &to->allocated_bytes : NULL);
    move_word(&from->allocated_variance, to ? &to->allocated_variance : NULL);
    move_word(&from->allocated_bytes_variance, to ? &to->allocated_bytes_variance : NULL);
    atomic_store_explicit(&from->peak_bytes, 0, memory_order_relaxed);
}

static void empty(mt_sites *sites, uint32_t row, mt_site *into) {
    move_sums(mt_sites_row(sites, row), into);
    atomic_store_explicit(&mt_sites_row(sites, row)->peak_count, 0, memory_order_relaxed);
}

void mt_sites_move_sums(mt_sites *sites, uint32_t row, uint32_t to) {
    mt_real_environment saved = mt_real_enter();
    empty(sites, row, mt_sites_row(sites, to));
    mt_real_leave(saved);
}

void mt_sites_forget_sums(mt_sites *sites, uint32_t row) {
    empty(sites, row, NULL);
}

void mt_sites_allocated(mt_sites *sites, uint32_t row, double p, uint64_t size) {
    mt_site *sums = mt_sites_row(sites, row);
    if (mt_real_bits(p) == MT_REAL_ONE) {
        mt_word_increase(mt_word_is_alone(), &sums->all, 1);
        mt_word_increase(mt_word_is_alone(), &sums->all_bytes, size);
        return;
    }
    mt_real_environment saved = mt_real_enter();
    double w = 1 / p, x = (double)size;
    add(&sums->allocated, w);
    add(&sums->allocated_bytes, w * x);
    add(&sums->allocated_variance, w * (w - 1));
    add(&sums->allocated_bytes_variance, w * (w - 1) * x * x);
    mt_real_leave(saved);
}

void mt_sites_live(mt_sites *sites, uint32_t row, int sign, uint64_t weight, uint64_t size) {
    unsigned __int128 product = (unsigned __int128)weight * size;
    mt_row_add_bytes(mt_word_is_alone(), mt_sites_row(sites, row),
                     sign * (int64_t)(product / MT_SITES_BYTES));
}

static double real(const _Atomic uint64_t *sum) {
    return mt_real_of(atomic_load_explicit(sum, memory_order_relaxed));
}

static double signed_real(const _Atomic uint64_t *n) {
    return (double)(int64_t)atomic_load_explicit(n, memory_order_relaxed);
}

static double count(const _Atomic uint64_t *n) {
    return (double)atomic_load_explicit(n, memory_order_relaxed);
}

mt_site_totals mt_sites_totals(const mt_sites *sites, uint32_t row) {
    const mt_site *s = mt_sites_row(sites, row);
    return (mt_site_totals){
        .live = row < sites->rows ? mt_sites_references(sites, row) : 0,
        .peak_count = atomic_load_explicit(&s->peak_count, memory_order_relaxed),
        .live_bytes = signed_real(&s->live_bytes) / BYTE_UNITS,
        .peak_bytes =
            (double)atomic_load_explicit(&s->peak_bytes, memory_order_relaxed) / BYTE_UNITS,
        .allocated = real(&s->allocated) + count(&s->all),
        .allocated_bytes = real(&s->allocated_bytes) + count(&s->all_bytes),
        .allocated_variance = real(&s->allocated_variance),
        .allocated_bytes_variance = real(&s->allocated_bytes_variance),
    };
}
