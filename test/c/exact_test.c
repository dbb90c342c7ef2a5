/* Exact mode as the hooks call it, where the same stack has several contexts. */
#include "unit.h"

#include "record/control.h"
#include "record/exact.h"
#include "record/tracer.h"
#include "record/unwind.h"

enum { CHUNKS = 10 };

static char heap[CHUNKS][64] __attribute__((aligned(64)));

/* The Erlang function that is said to call. */
static uintptr_t caller;

static void read_context(mt_context *context, uint32_t depth) {
    (void)depth;
    context->pid = 7;
    context->caller = 2;
    context->thread = MT_THREAD_NORMAL;
    context->erlang_frames = 1;
    context->erlang[0] = caller;
}

static __attribute__((noinline)) void hook(void *p, size_t size) {
    mt_thread_mine();
    assert_true(mt_exact_draws(MT_COUNT_malloc));
    mt_exact_record(p, size, (void *)(uintptr_t)hook, MT_WALK_FROM_CALLER);
}

static __attribute__((noinline)) void allocates(void *p) {
    hook(p, 16);
    __asm__ volatile("" ::: "memory");
}

static int rows(uint32_t live, uint32_t peak) {
    int n = 0;
    for (uint32_t row = 0; row < mt_tracer_state.sites.rows; row++) {
        if (!mt_sites_references(&mt_tracer_state.sites, row)) continue;
        mt_site_totals t = mt_sites_totals(&mt_tracer_state.sites, row);
        assert_int_equal(t.live, live);
        assert_int_equal(t.peak_count, peak);
        n++;
    }
    return n;
}

/* A row that was held to see whether it was the right one had a peak of one more. */
static void callers_in_turn_have_their_own_counts_and_peaks(void **state) {
    (void)state;
    mt_options options = {.depth = 8, .slots = 1 << 16, .interval = 0, .erlang_depth = 4};
    assert_int_equal(mt_tracer_start(&options), 0);
    assert_true(mt_tracer_is_exact());
    atomic_store(&mt_context_read, read_context);
    for (volatile int i = 0; i < CHUNKS; i++) {
        caller = i % 2 ? 0x1000 : 0x2000;
        allocates(heap[i]);
    }
    assert_int_equal(rows(CHUNKS / 2, CHUNKS / 2), 2);
    for (volatile int i = 0; i < CHUNKS; i++) assert_true(mt_exact_forget(heap[i]));
    assert_int_equal(rows(0, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(callers_in_turn_have_their_own_counts_and_peaks),
    };
    mt_unwind_start(true, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
