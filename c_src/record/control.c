/* control: see the header. */
#include "control.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "thin.h"
#include "tracer.h"
#include "unwind.h"

#define tracer (&mt_tracer_state)

/* Who watches says so once a second or more often. */
#define WATCH_NS 5000000000u

/* Set before any chunk is recorded without a boundary for that reason, and never taken back:
 * odd chunks from that time are not counted. */
static void look_always(void) {
    atomic_store(&tracer->looks_always, true);
    atomic_store(&tracer->odd.word, 1ull << 63); /* a number that never comes down to 0 */
}

/* Before the interval: what is charged is told by the precise clock. */
static void choose_way(uint64_t interval) {
    bool exact = interval == 0 && mt_levels_several(&tracer->chunks) && !mt_log_on();
    atomic_store(&tracer->exact, exact);
}

static atomic_bool *switch_page(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
#ifdef MADV_WIPEONFORK
    int saved = errno;
    madvise(p, page, MADV_WIPEONFORK);
    errno = saved;
#endif
    return p;
}

/* Rows hold the largest depths, so that they can be changed; what is not used is not touched.
 * Where each of many sites has one and keeps it, they are no wider than need be: what is
 * between them is touched with them. */
static int start_sites(const mt_options *options) {
    uint32_t rows = (uint32_t)options->slots, depth = MT_KEY_MAX;
    if (mt_levels_several(&tracer->chunks)) {
        depth = (uint32_t)(options->depth + options->erlang_depth) + 1;
        uint32_t wanted = rows < MT_SITES_EXACT  ? MT_SITES_EXACT
                          : rows > MT_SITES_MOST ? MT_SITES_MOST
                                                 : rows;
        if (mt_sites_init(&tracer->sites, wanted, depth) == 0) return 0;
        rows = wanted < rows ? wanted : rows;
    }
    return mt_sites_init(&tracer->sites, rows, depth);
}

int mt_tracer_start(const mt_options *options) {
    tracer->options = *options;
    atomic_store(&tracer->depth, (uint32_t)options->depth);
    atomic_store(&tracer->erlang_depth, (uint32_t)options->erlang_depth);
    if (mt_levels_init(&tracer->chunks, (uint32_t)options->slots, options->interval == 0) != 0)
        return -1;
    if (start_sites(options) != 0) {
        mt_levels_fini(&tracer->chunks);
        return -1;
    }
    atomic_bool *on = switch_page();
    if (!on) return -1;
    mt_sampler_configure(&tracer->sampler, options->interval, (uint32_t)options->budget_ppm);
    if (options->interval == 0) look_always();
    choose_way(options->interval);
    bool keys = mt_thread_start() == 0; /* libunwind would take the program's own without one */
    mt_unwind_start(true, keys);
    atomic_store(on, true);
    atomic_store(&tracer->on, on);
    return 0;
}

void mt_tracer_never_align(void) {
    atomic_store(&tracer->never_aligns, true);
}

void mt_tracer_pause(void) {
    atomic_store(atomic_load(&tracer->on), false);
}

/* There may be a log now, or none any more. */
void mt_tracer_resume(void) {
    choose_way(tracer->options.interval);
    mt_tracer_reset();
    atomic_store(atomic_load(&tracer->on), true);
}

/* The only thread there is takes its slow path from now on, which passes through. */
void mt_tracer_stop(void) {
    if (mt_tracer_on()) atomic_store(atomic_load(&tracer->on), false);
    mt_tls_mine.block = NULL;
}

static void take_slice(mt_thread *block) {
    atomic_store_explicit(&block->credit.left, 0, memory_order_relaxed);
}

/* Twice: a thread that was just subtracting from its slice may have stored what was left. */
static void take_slices(void) {
    mt_thread_each(take_slice);
    mt_thread_each(take_slice);
}

void mt_tracer_reset(void) {
    uint64_t total[MT_COUNT_N];
    atomic_fetch_add(&tracer->epoch, 1);
    mt_sampler_reset(&tracer->sampler);
    take_slices();
    mt_tracer_end_all();
    mt_sites_reset(&tracer->sites);
    mt_thread_sum(total);
    atomic_store(&tracer->ignored_before, total[MT_COUNT_ignored]);
    atomic_store(&tracer->thinned_before, total[MT_COUNT_thinned]);
    atomic_store(&tracer->watch_thinned, 0);
}

void mt_tracer_sharpen(void) {
    atomic_store(&tracer->watched_ns, mt_tracer_now() + WATCH_NS);
    const mt_levels *chunks = &tracer->chunks;
    if (!mt_levels_several(chunks) && mt_chunks_crowded(&chunks->level[0])) return;
    uint32_t by = mt_levels_taken(chunks) < mt_levels_slots(chunks) / 2 ? 16 : 4;
    if (mt_sampler_lower(&tracer->sampler, by)) take_slices();
}

void mt_tracer_watch(void) {
    mt_thin_for_watch();
    mt_tracer_sharpen();
}

void mt_tracer_configure(uint64_t interval, uint32_t budget_ppm, uint32_t depth,
                         uint32_t erlang_depth) {
    bool same = interval == tracer->options.interval;
    uint32_t most = tracer->sites.depth - 1; /* the last word of a key is its context */
    if (depth > most) depth = most;
    if (erlang_depth > most - depth) erlang_depth = most - depth;
    tracer->options.interval = interval;
    tracer->options.budget_ppm = budget_ppm;
    tracer->options.depth = depth;
    tracer->options.erlang_depth = erlang_depth;
    atomic_store(&tracer->depth, depth);
    atomic_store(&tracer->erlang_depth, erlang_depth);
    atomic_store(&tracer->sampler.budget_ppm, budget_ppm);
    if (same) return;
    choose_way(interval);
    if (interval == 0) look_always();
    mt_sampler_configure(&tracer->sampler, interval, budget_ppm);
    take_slices();
}
