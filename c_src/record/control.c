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
 */
int mt_tracer_start(const mt_options *options) {
    tracer->options = *options;
    atomic_store(&tracer->depth, (uint32_t)options->depth);
    atomic_store(&tracer->erlang_depth, (uint32_t)options->erlang_depth);
    if (mt_chunks_init(&tracer->chunks, (uint32_t)options->slots) != 0) return -1;
    if (mt_sites_init(&tracer->sites, (uint32_t)options->slots, MT_KEY_MAX) != 0) {
        mt_chunks_fini(&tracer->chunks);
        return -1;
    }
    atomic_bool *on = switch_page();
    if (!on) return -1;
    mt_sampler_configure(&tracer->sampler, options->interval, (uint32_t)options->budget_ppm);
    if (options->interval == 0) look_always();
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

void mt_tracer_resume(void) {
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
    if (mt_chunks_crowded(&tracer->chunks)) return;
    uint32_t slots = (uint32_t)mt_chunks_slots(&tracer->chunks);
    uint32_t by = mt_chunks_taken(&tracer->chunks) < slots / 2 ? 16 : 4;
    if (mt_sampler_lower(&tracer->sampler, by)) take_slices();
}

void mt_tracer_watch(void) {
    mt_thin_for_watch();
    mt_tracer_sharpen();
}

void mt_tracer_configure(uint64_t interval, uint32_t budget_ppm, uint32_t depth,
                         uint32_t erlang_depth) {
    bool same = interval == tracer->options.interval;
    tracer->options.interval = interval;
    tracer->options.budget_ppm = budget_ppm;
    tracer->options.depth = depth;
    tracer->options.erlang_depth = erlang_depth;
    atomic_store(&tracer->depth, depth);
    atomic_store(&tracer->erlang_depth, erlang_depth);
    atomic_store(&tracer->sampler.budget_ppm, budget_ppm);
    if (same) return;
    if (interval == 0) look_always();
    mt_sampler_configure(&tracer->sampler, interval, budget_ppm);
    take_slices();
}
