/* thin: see the header. Runs inside malloc. */
#include "thin.h"

#include <sys/mman.h>

#include "real.h"
#include "tracer.h"

#define tracer (&mt_tracer_state)

/* The only level of a table that is thinned. */
#define table (&mt_tracer_state.chunks.level[0])

enum { SHARES = 80, SHARE_LEAST = 8, FEW = 4, LEVEL_MAX = 40, DRAWS = 1024 };

/* The chunks of a site: how many, and how many they stand for. */
typedef struct {
    uint32_t cells;
    double weight;
} amount;

typedef struct {
    mt_credit *credit; /* for random numbers */
    uint64_t interval; /* what chunks are thinned to, by their sites' levels; or, */
    amount *site;      /* if there is this, what each site has, */
    uint32_t each;     /* and how many cells it keeps */
    uint64_t thinned;
} thinning;

static uint32_t share(void) {
    uint32_t n = (uint32_t)mt_chunks_slots(table) / SHARES;
    return n > SHARE_LEAST
               ? n
               : SHARE_LEAST; /* in a table of a few slots, too, levels fall again */
}

/* True with probability r. */
static bool happens(mt_credit *credit, double r) {
    return (double)(mt_sampler_random(credit) >> 11) < r * 9007199254740992.0;
}

static double of_level(uint32_t level) {
    return 1 / (double)(1ull << level);
}

/* Where sites keep so many cells, all that stay get the same weight, or keep a larger: a chunk
 * that stands for many is not given up for one that stands for few. */
static double stays(const mt_chunk *chunk, const thinning *t) {
    if (t->site) {
        const amount *a = &t->site[chunk->site];
        return a->cells > t->each ? (double)chunk->weight * t->each / a->weight : 1;
    }
    return mt_sampler_probability(chunk->size, t->interval) *
           of_level(mt_sites_level(&tracer->sites, chunk->site)) / chunk->p;
}

static bool keep(mt_chunk *chunk, void *context) {
    thinning *t = context;
    double r = stays(chunk, t);
    if (r >= 1) return true;
    if (!happens(t->credit, r)) {
        t->thinned++;
        return false;
    }
    mt_sites_live(&tracer->sites, chunk->site, -1, chunk->weight, chunk->size);
    chunk->p *= r;
    chunk->weight = (uint64_t)((double)chunk->weight / r + 0.5);
    mt_sites_live(&tracer->sites, chunk->site, 1, chunk->weight, chunk->size);
    return true;
}

static void gone(const mt_chunk *chunk, void *context) {
    (void)context;
    mt_tracer_ended(chunk);
}

static void run(thinning *t, _Atomic uint64_t *counter) {
    mt_real_environment saved = mt_real_enter();
    mt_chunks_thin(table, keep, gone, t);
    mt_real_leave(saved);
    uint64_t n = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, n + t->thinned, memory_order_relaxed);
}

static void thin(mt_thread *block) {
    thinning t = {.credit = &block->credit};
    t.interval = atomic_load_explicit(&tracer->sampler.lowest, memory_order_relaxed);
    run(&t, &block->count[MT_COUNT_thinned]);
}

/* One level for those that have more than half of what the largest has; false if that is no
 * more than the share. */
static bool raise_levels(void) {
    uint32_t most = 0;
    for (uint32_t row = 0; row < tracer->sites.rows; row++) {
        uint32_t cells = mt_sites_references(&tracer->sites, row);
        if (cells > most) most = cells;
    }
    if (most <= share()) return false;
    for (uint32_t row = 0; row < tracer->sites.rows; row++) {
        uint32_t cells = mt_sites_references(&tracer->sites, row);
        uint32_t level = mt_sites_level(&tracer->sites, row);
        if (cells > most / 2 && cells > share() && level < LEVEL_MAX)
            mt_sites_set_level(&tracer->sites, row, level + 1);
    }
    return true;
}

/* One step: towards an interval that has doubled several times since, or to higher levels, or
 * to twice the interval. False: there is none. */
static bool lower_probabilities(void) {
    mt_sampler *sampler = &tracer->sampler;
    uint64_t now = atomic_load_explicit(&sampler->interval, memory_order_relaxed), to = now;
    uint64_t lowest = atomic_load_explicit(&sampler->lowest, memory_order_relaxed);
    uint64_t above = mt_sampler_next(lowest);
    if (lowest < now) to = above < now ? above : now;
    else if (raise_levels()) to = now;
    else if (mt_sampler_double(sampler, now)) to = mt_sampler_next(now);
    else return false;
    atomic_store_explicit(&sampler->lowest, to, memory_order_relaxed);
    return true;
}

static bool fixed(void) {
    return atomic_load_explicit(&tracer->sampler.fixed, memory_order_relaxed);
}

/* One thread at a time; who comes second goes on with its own work. */
void mt_thin_make_room(mt_thread *block) {
    uint64_t from = atomic_load_explicit(&tracer->sampler.interval, memory_order_relaxed);
    if (fixed()) return;
    if (mt_levels_several(&tracer->chunks)) {
        mt_sampler_double(&tracer->sampler, from);
        return;
    }
    if (atomic_flag_test_and_set_explicit(&tracer->thinning, memory_order_acquire)) return;
    if (lower_probabilities()) thin(block);
    atomic_flag_clear_explicit(&tracer->thinning, memory_order_release);
}

/* Three draws of four in vain: fewer do, and cost less, but not while somebody watches. Two
 * threads may both begin a count anew; it is a share of many all the same. */
static void count_draw(uint64_t now_ns, bool in_vain) {
    uint64_t one = 1 | (uint64_t)in_vain << 32;
    uint64_t n = atomic_fetch_add_explicit(&tracer->draws, one, memory_order_relaxed) + one;
    if ((uint32_t)n < DRAWS) return;
    atomic_store_explicit(&tracer->draws, 0, memory_order_relaxed);
    if (n >> 32 <= DRAWS / 4 * 3 ||
        now_ns < atomic_load_explicit(&tracer->watched_ns, memory_order_relaxed))
        return;
    uint64_t from = atomic_load_explicit(&tracer->sampler.interval, memory_order_relaxed);
    mt_sampler_double(&tracer->sampler, from);
}

bool mt_thin_takes(mt_thread *block, uint32_t site, mt_chunk *chunk) {
    if (fixed() || mt_levels_several(&tracer->chunks)) return true;
    uint32_t level = mt_sites_level(&tracer->sites, site);
    bool takes = true;
    if (level) {
        /* Beside this one: in a small table a quarter of a share is less than a chunk. */
        if (mt_sites_references(&tracer->sites, site) - 1 <= share() / FEW)
            mt_sites_set_level(&tracer->sites, site, level - 1);
        mt_real_environment saved = mt_real_enter();
        double r = of_level(level);
        takes = happens(&block->credit, r);
        chunk->p *= r;
        mt_real_leave(saved);
    }
    count_draw(chunk->born_ns, !takes);
    return takes;
}

/* How many cells each site may keep, so that all of them have no more than `room` together. */
static uint32_t fair(const amount *site, uint32_t room) {
    uint32_t each = (uint32_t)mt_chunks_slots(table), sum = UINT32_MAX;
    while (sum > room && each > 1) {
        each -= each / 8 + 1;
        sum = 0;
        for (uint32_t row = 0; row < tracer->sites.rows; row++)
            sum += site[row].cells < each ? site[row].cells : each;
    }
    return each ? each : 1;
}

/* The rows are believed only where the chunk was whole; what comes meanwhile is not counted,
 * and stays. */
static void add_up(amount *site) {
    for (int32_t i = 0; i < mt_chunks_slots(table); i++) {
        mt_chunk chunk;
        uint64_t tag = mt_chunks_peek(table, i, &chunk);
        if (!tag || !mt_chunks_unchanged(table, i, tag)) continue;
        site[chunk.site].cells++;
        site[chunk.site].weight += (double)chunk.weight;
    }
}

/* The counter is the tracer's own: the caller may be a thread without a block. */
static void leave(uint32_t room) {
    size_t bytes = tracer->sites.rows * sizeof(amount);
    amount *site =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (site == MAP_FAILED) return;
    add_up(site);
    mt_credit credit = {.random = mt_tracer_now() | 1};
    thinning t = {.credit = &credit, .site = site, .each = fair(site, room)};
    run(&t, &tracer->watch_thinned);
    munmap(site, bytes);
}

void mt_thin_for_watch(void) {
    if (fixed() || mt_levels_several(&tracer->chunks)) return;
    if (atomic_flag_test_and_set_explicit(&tracer->thinning, memory_order_acquire)) return;
    uint32_t quarter = (uint32_t)mt_chunks_slots(table) / 4;
    if (mt_chunks_taken(table) > quarter) leave(quarter);
    for (uint32_t row = 0; row < tracer->sites.rows; row++)
        mt_sites_set_level(&tracer->sites, row, 0);
    atomic_flag_clear_explicit(&tracer->thinning, memory_order_release);
}
