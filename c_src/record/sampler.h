/* sampler: which allocations are drawn, how likely each was, and how that adapts.
 *
 *   cost(size) = size + 1024
 *
 * Each thread has a credit, drawn from an exponential distribution with mean `interval`, and
 * subtracts the cost of each allocation. The one that uses it up is drawn: its probability was
 * p = 1 - exp(-cost / interval), whatever came before, because the distribution has no memory
 * (Poisson sampling; as in tcmalloc's heap profiler). Interval 0 draws everything. Every
 * recorded chunk stands for 1 / p of its kind (Horvitz and Thompson, JASA 47, 1952).
 *
 * The interval doubles when thin.h asks for it, and when recording took a thread more than
 * its budget; it halves when the table is less than 1/4 full and the budget allows. It starts
 * at 0, and again at every reset; the first step from 0 is 1024, the last one to 0 too.
 *
 * A thread gets its credit in slices of 4 MiB, so that it looks at interval and epoch every few
 * thousand allocations; a reset also takes the slices of all threads away.
 *
 * For hooks: no lock, no system call but reading the clock. Floating point: between
 * mt_real_enter and mt_real_leave.
 */
#ifndef MT_RECORD_SAMPLER_H
#define MT_RECORD_SAMPLER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "options.h"

enum { MT_COST_BASE = 1024 };

/* A thread's own. Only `left` is written by others, and only to 0. */
typedef struct mt_credit {
    _Atomic uint64_t left; /* of the slice */
    uint64_t reserve;      /* of the credit, behind the slice */
    uint64_t interval;     /* that the credit was drawn with */
    uint64_t random;
    uint64_t window_ns, spent_ns; /* when this account of recording time began, and its sum */
    uint64_t saved_ns;            /* what former accounts left: at most one window's budget */
    uint32_t epoch;
} mt_credit;

typedef struct mt_sampler {
    _Atomic uint64_t interval;
    _Atomic uint64_t lowest;    /* that it has been since the table was last thinned to it */
    _Atomic uint64_t halved_ns; /* when the interval last went down */
    _Atomic int64_t burst_ns;   /* recording time that no budget is asked for */
    _Atomic uint32_t budget_ppm;
    _Atomic uint32_t epoch;
    atomic_bool fixed; /* the interval does not adapt */
} mt_sampler;

/* `interval`: fixed, or MT_ADAPTIVE. `budget_ppm`: millionths of a thread's time, 0: no limit.
 */
void mt_sampler_configure(mt_sampler *sampler, uint64_t interval, uint32_t budget_ppm);

/* A new epoch: threads drop their credit, an adaptive interval is 0 again, the burst is back.
 */
void mt_sampler_reset(mt_sampler *sampler);

/* A chunk's cost; never wraps. */
static inline uint64_t mt_sampler_cost(uint64_t size) {
    return size > UINT64_MAX - MT_COST_BASE ? UINT64_MAX : size + MT_COST_BASE;
}

/* The fast path: true if the allocation is not drawn, and its cost is taken. The sum may wrap
 * only for sizes that no allocator has. */
static inline bool mt_sampler_passes(mt_credit *credit, uint64_t size) {
    uint64_t left = atomic_load_explicit(&credit->left, memory_order_relaxed);
    uint64_t cost = size + MT_COST_BASE;
    if (__builtin_expect(left <= cost, 0)) return false;
    atomic_store_explicit(&credit->left, left - cost, memory_order_relaxed);
    return true;
}

/* What passes did not decide: true if the allocation is drawn, and how likely that was; false
 * if it was only the end of a slice. */
bool mt_sampler_draw(mt_sampler *sampler, mt_credit *credit, uint64_t size, double *p);

/* True, and p = 1, where everything is drawn and this thread knows it already; without any
 * arithmetic. Else ask mt_sampler_draw. */
static inline bool mt_sampler_draws_all(mt_sampler *sampler, mt_credit *credit, double *p) {
    *p = 1;
    return credit->interval == 0 &&
           atomic_load_explicit(&sampler->interval, memory_order_relaxed) == 0 &&
           credit->epoch == atomic_load_explicit(&sampler->epoch, memory_order_relaxed) &&
           atomic_load_explicit(&credit->left, memory_order_relaxed) + credit->reserve == 0;
}

/* How likely a chunk of this size is drawn at this interval. */
double mt_sampler_probability(uint64_t size, uint64_t interval);

/* Charges recording time to the thread. Beyond its budget the interval doubles; a thread that
 * was idle has saved some, so that a few hundred allocations at once are within it. True if it
 * was well within it for a while: then mt_sampler_halve, if the table has room. */
bool mt_sampler_charge(mt_sampler *sampler, mt_credit *credit, uint64_t begin_ns,
                       uint64_t end_ns);

/* Halves the interval, unless that was done a moment ago by another thread, or it is fixed. */
void mt_sampler_halve(mt_sampler *sampler, uint64_t now_ns);

/* Divides the interval by `by`; below MT_COST_BASE it becomes 0. True: a new epoch, without
 * burst, and the caller takes the slices away. False: the interval is as it was, or fixed, and
 * the slices must stay: one that is taken away in the same epoch looks like one that was used
 * up. Where a thread is busy it soon doubles again. */
bool mt_sampler_lower(mt_sampler *sampler, uint64_t by);

/* The interval that comes after this one. */
static inline uint64_t mt_sampler_next(uint64_t interval) {
    return interval ? interval * 2 : MT_COST_BASE;
}

/* Doubles the interval if it still is `from`; false if it is not, or is fixed. */
bool mt_sampler_double(mt_sampler *sampler, uint64_t from);

/* Uniform, 64 bits; never 0. */
uint64_t mt_sampler_random(mt_credit *credit);

#endif
