/* sampler: see the header. Runs inside malloc. */
#include "sampler.h"

#include "real.h"

enum { SLICE = 4 << 20 };

/* Longer than that a record takes only if the thread was preempted in it. */
#define CHARGE_MAX_NS 20000u
/* What a record costs the thread later: its chunk's free, which takes the allocator's slow path
 * too, and what both pushed out of the caches. Estimated, and rather too high. */
#define CHARGE_LATER_NS 300u
#define BURST_NS        5000000
/* An account shorter than the grace says nothing; one longer than the window is closed. */
#define GRACE_NS  50000u
#define WINDOW_NS 100000000u

void mt_sampler_configure(mt_sampler *s, uint64_t interval, uint32_t budget_ppm) {
    atomic_store(&s->fixed, interval != MT_ADAPTIVE);
    atomic_store(&s->budget_ppm, budget_ppm);
    atomic_store(&s->interval, interval != MT_ADAPTIVE ? interval : 0);
    atomic_store(&s->lowest, atomic_load(&s->interval));
    mt_sampler_reset(s);
}

void mt_sampler_reset(mt_sampler *s) {
    if (!atomic_load(&s->fixed)) {
        atomic_store(&s->interval, 0);
        atomic_store(&s->lowest, 0);
    }
    atomic_store(&s->burst_ns, BURST_NS);
    atomic_fetch_add(&s->epoch, 1);
}

/* xorshift64* (Marsaglia 2003, Vigna 2016). */
uint64_t mt_sampler_random(mt_credit *credit) {
    uint64_t x = credit->random ? credit->random : 0x9e3779b97f4a7c15ull;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    credit->random = x;
    return x * 0x2545f4914f6cdd1dull;
}

double mt_sampler_probability(uint64_t size, uint64_t interval) {
    if (interval == 0) return 1;
    return mt_real_share((double)mt_sampler_cost(size) / (double)interval);
}

/* Uniform in (0, 1]: 53 bits, none of them all zero. */
static double uniform(mt_credit *credit) {
    return ((double)(mt_sampler_random(credit) >> 11) + 1) / 9007199254740992.0;
}

static uint64_t exponential(mt_credit *credit, uint64_t mean) {
    return (uint64_t)(-mt_real_log(uniform(credit)) * (double)mean);
}

static void slice(mt_credit *credit, uint64_t total) {
    uint64_t now = total < SLICE ? total : SLICE;
    credit->reserve = total - now;
    atomic_store_explicit(&credit->left, now, memory_order_relaxed);
}

static uint64_t renew(mt_credit *credit, uint64_t interval) {
    credit->interval = interval;
    return interval ? exponential(credit, interval) : 0;
}

/* Having no memory, a credit may be thrown away and drawn anew, but not because it ran out: an
 * allocation that used it up is drawn as that credit had it. */
bool mt_sampler_draw(mt_sampler *s, mt_credit *credit, uint64_t size, double *p) {
    uint32_t epoch = atomic_load_explicit(&s->epoch, memory_order_relaxed);
    uint64_t interval = atomic_load_explicit(&s->interval, memory_order_relaxed);
    uint64_t cost = mt_sampler_cost(size);
    uint64_t total =
        atomic_load_explicit(&credit->left, memory_order_relaxed) + credit->reserve;
    if (credit->epoch != epoch) {
        credit->epoch = epoch;
        credit->spent_ns = credit->window_ns = 0;
        total = renew(credit, interval);
    } else if (total > cost && credit->interval != interval) {
        total = renew(credit, interval);
    }
    if (total > cost) {
        slice(credit, total - cost);
        return false;
    }
    *p = mt_sampler_probability(size, credit->interval);
    slice(credit, renew(credit, interval));
    return true;
}

bool mt_sampler_double(mt_sampler *s, uint64_t from) {
    if (atomic_load_explicit(&s->fixed, memory_order_relaxed) || from >= MT_INTERVAL_MAX)
        return false;
    uint64_t to = mt_sampler_next(from);
    return atomic_compare_exchange_strong_explicit(&s->interval, &from, to,
                                                   memory_order_relaxed, memory_order_relaxed);
}

/* Where the thinner stores what it has thinned to at the same moment, it may thin by more than
 * a step one day. */
static bool lower(mt_sampler *s, uint64_t from, uint64_t to) {
    if (!atomic_compare_exchange_strong_explicit(&s->interval, &from, to, memory_order_relaxed,
                                                 memory_order_relaxed))
        return false;
    if (to < atomic_load_explicit(&s->lowest, memory_order_relaxed))
        atomic_store_explicit(&s->lowest, to, memory_order_relaxed);
    return true;
}

/* Threads that are idle must not undo what a busy one needs: one step down in a window. */
void mt_sampler_halve(mt_sampler *s, uint64_t now_ns) {
    uint64_t last = atomic_load_explicit(&s->halved_ns, memory_order_relaxed);
    uint64_t from = atomic_load_explicit(&s->interval, memory_order_relaxed);
    if (from == 0 || now_ns - last < WINDOW_NS ||
        atomic_load_explicit(&s->fixed, memory_order_relaxed))
        return;
    if (!atomic_compare_exchange_strong_explicit(&s->halved_ns, &last, now_ns,
                                                 memory_order_relaxed, memory_order_relaxed))
        return;
    lower(s, from, from > MT_COST_BASE ? from / 2 : 0);
}

/* A new epoch, too: a credit that is taken away must not look like one that was used up. */
bool mt_sampler_lower(mt_sampler *s, uint64_t by) {
    uint64_t from = atomic_load_explicit(&s->interval, memory_order_relaxed);
    uint64_t to = from / by < MT_COST_BASE ? 0 : from / by;
    if (from == to || atomic_load_explicit(&s->fixed, memory_order_relaxed)) return false;
    if (!lower(s, from, to)) return false;
    atomic_fetch_add(&s->epoch, 1);
    return true;
}

/* What the account lacks may come out of the burst that a start and a reset allow. */
static bool burst_covers(mt_sampler *s, uint64_t missing_ns) {
    if (atomic_load_explicit(&s->burst_ns, memory_order_relaxed) <= 0) return false;
    return atomic_fetch_sub_explicit(&s->burst_ns, (int64_t)missing_ns, memory_order_relaxed) >
           0;
}

bool mt_sampler_charge(mt_sampler *s, mt_credit *credit, uint64_t begin_ns, uint64_t end_ns) {
    uint64_t budget = atomic_load_explicit(&s->budget_ppm, memory_order_relaxed);
    uint64_t took = end_ns - begin_ns;
    if (credit->window_ns == 0) credit->window_ns = begin_ns;
    credit->spent_ns += (took < CHARGE_MAX_NS ? took : CHARGE_MAX_NS) + CHARGE_LATER_NS;
    uint64_t elapsed = end_ns - credit->window_ns, spent = credit->spent_ns;
    uint64_t allowed = budget ? (elapsed / 1000) * budget / 1000 : UINT64_MAX / 2;
    bool closed = elapsed > WINDOW_NS;
    if (spent > allowed + credit->saved_ns + (closed ? 0 : GRACE_NS)) {
        if (burst_covers(s, spent - allowed)) {
            credit->spent_ns = allowed;
            return false;
        }
        mt_sampler_double(s, credit->interval);
        credit->saved_ns = 0;
    } else if (!closed) {
        return false;
    } else {
        uint64_t saved = credit->saved_ns + allowed - spent;
        uint64_t most = (uint64_t)WINDOW_NS / 1000 * budget / 1000;
        credit->saved_ns = saved < most ? saved : most;
    }
    credit->window_ns = end_ns;
    credit->spent_ns = 0;
    return spent < allowed / 5 * 2;
}
