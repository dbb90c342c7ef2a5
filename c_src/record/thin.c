/* thin: see the header. Runs inside malloc. */
#include "thin.h"

#include "real.h"
#include "tracer.h"

#define tracer (&mt_tracer_state)

enum { SHARES = 16, FEW = 4, LEVEL_MAX = 40 };

typedef struct {
    mt_credit *credit; /* for random numbers */
    uint64_t interval; /* what chunks are thinned to */
    uint64_t thinned;
} thinning;

static uint32_t share(void) {
    return (uint32_t)mt_chunks_slots(&tracer->chunks) / SHARES;
}

/* True with probability r. */
static bool happens(mt_credit *credit, double r) {
    return (double)(mt_sampler_random(credit) >> 11) < r * 9007199254740992.0;
}

static double of_level(uint32_t level) {
    return 1 / (double)(1ull << level);
}

static bool keep(mt_chunk *chunk, void *context) {
    thinning *t = context;
    double p = mt_sampler_probability(chunk->size, t->interval) *
               of_level(mt_sites_level(&tracer->sites, chunk->site));
    if (p >= chunk->p) return true;
    double r = p / chunk->p;
    if (!happens(t->credit, r)) {
        t->thinned++;
        return false;
    }
    mt_sites_live(&tracer->sites, chunk->site, -1, chunk->weight, chunk->size);
    chunk->p = p;
    chunk->weight = (uint64_t)((double)chunk->weight / r + 0.5);
    mt_sites_live(&tracer->sites, chunk->site, 1, chunk->weight, chunk->size);
    return true;
}

static void gone(const mt_chunk *chunk, void *context) {
    (void)context;
    mt_tracer_ended(chunk);
}

static void thin(mt_thread *block) {
    thinning t = {.credit = &block->credit};
    t.interval = atomic_load_explicit(&tracer->sampler.interval, memory_order_relaxed);
    mt_real_environment saved = mt_real_enter();
    mt_chunks_thin(&tracer->chunks, keep, gone, &t);
    mt_real_leave(saved);
    uint64_t n = atomic_load_explicit(&block->count[MT_COUNT_thinned], memory_order_relaxed);
    atomic_store_explicit(&block->count[MT_COUNT_thinned], n + t.thinned, memory_order_relaxed);
}

/* True if a site went up. */
static bool raise_levels(void) {
    bool raised = false;
    for (uint32_t row = 0; row < tracer->sites.rows; row++) {
        uint32_t cells = mt_sites_references(&tracer->sites, row);
        uint32_t level = mt_sites_level(&tracer->sites, row), to = level;
        for (; cells > share() && to < LEVEL_MAX; cells /= 2) to++;
        if (to == level) continue;
        mt_sites_set_level(&tracer->sites, row, to);
        raised = true;
    }
    return raised;
}

static bool fixed(void) {
    return atomic_load_explicit(&tracer->sampler.fixed, memory_order_relaxed);
}

/* One thread at a time; who comes second goes on with its own work. */
void mt_thin_make_room(mt_thread *block) {
    if (fixed()) return;
    if (atomic_flag_test_and_set_explicit(&tracer->thinning, memory_order_acquire)) return;
    if (raise_levels()) thin(block);
    if (mt_chunks_full(&tracer->chunks) > tracer->chunks.sets / 8) {
        uint64_t from = atomic_load_explicit(&tracer->sampler.interval, memory_order_relaxed);
        if (mt_sampler_double(&tracer->sampler, from)) thin(block);
    }
    atomic_flag_clear_explicit(&tracer->thinning, memory_order_release);
}

bool mt_thin_takes(mt_thread *block, uint32_t site, mt_chunk *chunk) {
    uint32_t level = mt_sites_level(&tracer->sites, site);
    if (level == 0 || fixed()) return true;
    if (mt_sites_references(&tracer->sites, site) < share() / FEW)
        mt_sites_set_level(&tracer->sites, site, level - 1);
    mt_real_environment saved = mt_real_enter();
    double r = of_level(level);
    bool takes = happens(&block->credit, r);
    chunk->p *= r;
    mt_real_leave(saved);
    return takes;
}
