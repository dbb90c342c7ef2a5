/* The sampler: how often it draws, how it adapts, and what its budget allows. */
#include "unit.h"

#include <math.h>
#include <string.h>

#include "record/sampler.h"

static mt_sampler sampler;
static mt_credit credit;

static int start(void **state) {
    (void)state;
    memset(&sampler, 0, sizeof sampler);
    memset(&credit, 0, sizeof credit);
    mt_sampler_configure(&sampler, MT_ADAPTIVE, 10000);
    return 0;
}

static bool drawn(uint64_t size, double *p) {
    return !mt_sampler_passes(&credit, size) && mt_sampler_draw(&sampler, &credit, size, p);
}

/* As the tracer does it, with a table that has room or not. */
static void charge(uint64_t begin_ns, uint64_t end_ns, bool room) {
    if (mt_sampler_charge(&sampler, &credit, begin_ns, end_ns) && room)
        mt_sampler_halve(&sampler, end_ns);
}

static void everything_is_drawn_at_interval_0(void **state) {
    (void)state;
    for (int i = 0; i < 1000; i++) {
        double p = 0;
        assert_true(drawn((uint64_t)i * 100, &p));
        assert_true(p == 1);
    }
}

static void chunks_are_drawn_as_often_as_their_probability_says(void **state) {
    (void)state;
    static const uint64_t sizes[] = {1, 100, 5000, 100000, 3000000};
    credit.random = unit_seed();
    for (uint64_t interval = 1024; interval <= 1 << 22; interval *= 8) {
        mt_sampler_configure(&sampler, interval, 10000);
        double expected[5] = {0}, n[5] = {0};
        for (int i = 0; i < 400000; i++) {
            int k = i % 7 < 5 ? i % 7 : 0;
            double p = mt_sampler_probability(sizes[k], interval), drawn_with;
            expected[k] += p;
            if (!drawn(sizes[k], &drawn_with)) continue;
            n[k]++;
            assert_true(fabs(drawn_with - p) < 1e-12);
        }
        for (int k = 0; k < 5; k++)
            assert_true(fabs(n[k] - expected[k]) < 5 * sqrt(expected[k]) + 1);
    }
}

static void the_slices_do_not_change_how_often_chunks_are_drawn(void **state) {
    (void)state;
    uint64_t interval = 1 << 24; /* 64 slices in the mean */
    credit.random = unit_seed();
    mt_sampler_configure(&sampler, interval, 10000);
    double n = 0, p, allocations = 4000000;
    for (int i = 0; i < allocations; i++) n += drawn(1000, &p);
    double expected = allocations * mt_sampler_probability(1000, interval);
    assert_true(fabs(n - expected) < 5 * sqrt(expected));
}

static void absurd_sizes_are_drawn_and_never_wrap(void **state) {
    (void)state;
    mt_sampler_configure(&sampler, 1 << 20, 10000);
    double p;
    for (int i = 0; i < 100; i++) {
        drawn(100, &p);
        assert_true(drawn(UINT64_MAX / 2, &p));
        assert_true(p == 1);
    }
    assert_int_equal(mt_sampler_cost(UINT64_MAX), UINT64_MAX);
    assert_int_equal(mt_sampler_cost(UINT64_MAX - 5), UINT64_MAX);
}

static void the_interval_doubles_from_1024_and_no_further_than_its_bound(void **state) {
    (void)state;
    assert_true(mt_sampler_double(&sampler, 0));
    assert_int_equal(sampler.interval, 1024);
    assert_false(mt_sampler_double(&sampler, 0)); /* somebody was faster */
    assert_true(mt_sampler_double(&sampler, 1024));
    assert_int_equal(sampler.interval, 2048);
    sampler.interval = MT_INTERVAL_MAX;
    assert_false(mt_sampler_double(&sampler, MT_INTERVAL_MAX));
}

static void a_fixed_interval_stays(void **state) {
    (void)state;
    mt_sampler_configure(&sampler, 5000, 10000);
    assert_false(mt_sampler_double(&sampler, 5000));
    for (int i = 0; i < 1000; i++) charge((uint64_t)i * 1000, (uint64_t)i * 1000 + 900, true);
    assert_int_equal(sampler.interval, 5000);
    mt_sampler_reset(&sampler);
    assert_int_equal(sampler.interval, 5000);
}

/* A thread that allocates without end, with a clock of its own: what part of its time is spent
 * on records once the interval has settled. Each record takes 700 ns. */
static double busy_share(uint32_t ppm, double allocation_ns) {
    mt_sampler_configure(&sampler, MT_ADAPTIVE, ppm);
    memset(&credit, 0, sizeof credit);
    credit.random = 42;
    double now = 1e9, spent = 0, begin = 0;
    for (uint64_t i = 0; i < 30000000; i++) {
        double p;
        if (i == 10000000) begin = now, spent = 0;
        now += allocation_ns;
        if (!drawn(64, &p)) continue;
        charge((uint64_t)now, (uint64_t)now + 700, true);
        now += 700;
        spent += 700;
    }
    return spent / (now - begin);
}

static void recording_takes_no_more_than_its_budget(void **state) {
    (void)state;
    static const uint32_t budgets[] = {1000, 10000, 100000};
    for (int b = 0; b < 3; b++)
        for (double ns = 10; ns <= 1000; ns *= 10) {
            double share = busy_share(budgets[b], ns);
            printf("   budget %5.1f %%, an allocation each %4.0f ns: %6.3f %%, interval %llu\n",
                   budgets[b] / 10000.0, ns, share * 100, (unsigned long long)sampler.interval);
            assert_true(share <= budgets[b] / 1e6 * 1.1);
        }
}

/* So many records at once, once a second, after a minute of it. */
static uint64_t interval_after_bursts_of(int records) {
    memset(&credit, 0, sizeof credit);
    mt_sampler_configure(&sampler, MT_ADAPTIVE, 10000);
    sampler.burst_ns = 0;
    uint64_t most = 0, now = 1000000000;
    for (int second = 0; second < 60; second++, now += 1000000000)
        for (int i = 0; i < records; i++) {
            charge(now + 700 * (uint64_t)i, now + 700 * (uint64_t)i + 700, true);
            if (second > 1 && sampler.interval > most) most = sampler.interval;
        }
    return most;
}

/* 1 % of 100 ms is 1000 us, of which a record takes one: 0.7, and 0.3 later. */
static void a_thread_that_was_idle_may_record_some_hundreds_at_once(void **state) {
    (void)state;
    assert_int_equal(interval_after_bursts_of(50), 0);
    assert_int_equal(interval_after_bursts_of(900), 0);
    assert_true(interval_after_bursts_of(3000) > 0);
}

static void the_interval_falls_again_when_there_is_room_and_time(void **state) {
    (void)state;
    sampler.interval = 1 << 20;
    uint64_t now = 1000000000;
    for (int i = 0; i < 1000 && sampler.interval; i++, now += 20000000)
        charge(now, now + 500, true);
    assert_int_equal(sampler.interval, 0);
}

static void it_does_not_fall_where_the_table_is_fuller(void **state) {
    (void)state;
    sampler.interval = 1 << 20;
    uint64_t now = 1000000000;
    for (int i = 0; i < 1000; i++, now += 20000000) charge(now, now + 500, false);
    assert_int_equal(sampler.interval, 1 << 20);
}

static void who_watches_lowers_it_and_at_last_to_0(void **state) {
    (void)state;
    sampler.interval = 1 << 20;
    mt_sampler_lower(&sampler, 16);
    assert_int_equal(sampler.interval, 1 << 16);
    mt_sampler_lower(&sampler, 4);
    assert_int_equal(sampler.interval, 1 << 14);
    mt_sampler_lower(&sampler, 16);
    assert_int_equal(sampler.interval, 1 << 10);
    mt_sampler_lower(&sampler, 4);
    assert_int_equal(sampler.interval, 0);
    mt_sampler_lower(&sampler, 4);
    assert_int_equal(sampler.interval, 0);
    mt_sampler_configure(&sampler, 1 << 20, 10000);
    mt_sampler_lower(&sampler, 4);
    assert_int_equal(sampler.interval, 1 << 20);
}

/* As the tracer lowers it: credits are drawn anew. */
static void credits_that_are_taken_away_are_no_draws(void **state) {
    (void)state;
    credit.random = unit_seed();
    double p, expected = 0, n = 0;
    for (int i = 0; i < 20000; i++) {
        sampler.interval = 1 << 20;
        sampler.epoch++;
        credit.left = 0;
        for (int k = 0; k < 10; k++) n += drawn(64, &p);
        expected += 10 * mt_sampler_probability(64, 1 << 20);
        mt_sampler_lower(&sampler, 4);
        credit.left = 0;
        for (int k = 0; k < 10; k++) n += drawn(64, &p);
        expected += 10 * mt_sampler_probability(64, 1 << 18);
    }
    assert_true(fabs(n - expected) < 5 * sqrt(expected));
}

static void a_start_and_a_reset_allow_a_burst_of_5_ms(void **state) {
    (void)state;
    for (int round = 0; round < 2; round++) {
        uint64_t now = 1000000000;
        int records = 0;
        double p;
        while (drawn(64, &p) && sampler.interval == 0) { /* nothing but records */
            charge(now, now + 1000, true);
            now += 1000;
            records++;
        }
        unit_in_range(records, 3700, 4200); /* 1300 ns each: later costs are charged too */
        mt_sampler_reset(&sampler);
        credit.left = 0; /* as the tracer does */
    }
}

static void preemption_is_charged_as_20_us(void **state) {
    (void)state;
    sampler.burst_ns = 0;
    charge(1000000000, 9000000000, true);
    assert_int_equal(sampler.interval, 0);
}

#define TEST(f) cmocka_unit_test_setup(f, start)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(everything_is_drawn_at_interval_0),
        TEST(chunks_are_drawn_as_often_as_their_probability_says),
        TEST(the_slices_do_not_change_how_often_chunks_are_drawn),
        TEST(absurd_sizes_are_drawn_and_never_wrap),
        TEST(the_interval_doubles_from_1024_and_no_further_than_its_bound),
        TEST(a_fixed_interval_stays),
        TEST(recording_takes_no_more_than_its_budget),
        TEST(a_thread_that_was_idle_may_record_some_hundreds_at_once),
        TEST(the_interval_falls_again_when_there_is_room_and_time),
        TEST(it_does_not_fall_where_the_table_is_fuller),
        TEST(who_watches_lowers_it_and_at_last_to_0),
        TEST(credits_that_are_taken_away_are_no_draws),
        TEST(a_start_and_a_reset_allow_a_burst_of_5_ms),
        TEST(preemption_is_charged_as_20_us),
    };
    return cmocka_run_group_tests_name("sampler", tests, NULL, NULL);
}
