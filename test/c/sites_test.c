/* The table of sites: one row a stack, pinned by references, evicted without them. */
#include "unit.h"

#include <pthread.h>
#include <string.h>

#include "record/sites.h"

enum { ROWS = 256, DEPTH = 8 };

static mt_sites sites;

static int map(void **state) {
    (void)state;
    return mt_sites_init(&sites, ROWS, DEPTH);
}

static int unmap(void **state) {
    (void)state;
    mt_sites_fini(&sites);
    return 0;
}

/* A stack that follows from its number. */
static uint32_t stack_of(uint64_t n, void **stack) {
    uint32_t frames = 1 + n % DEPTH;
    for (uint32_t i = 0; i < frames; i++) stack[i] = (void *)(uintptr_t)(n * 1000 + i);
    return frames;
}

static int32_t hold(uint64_t n) {
    void *stack[DEPTH];
    return mt_sites_hold(&sites, stack, stack_of(n, stack));
}

static bool row_is(int32_t row, uint64_t n) {
    void *stack[DEPTH];
    uintptr_t copy[DEPTH];
    uint32_t frames = stack_of(n, stack);
    return mt_sites_copy(&sites, (uint32_t)row, copy, DEPTH) == frames &&
           memcmp(stack, copy, frames * sizeof *copy) == 0;
}

static void the_same_stack_has_one_row(void **state) {
    (void)state;
    int32_t a = hold(1), b = hold(1), c = hold(2);
    assert_true(a >= 0);
    assert_int_equal(a, b);
    assert_int_not_equal(a, c);
    assert_true(row_is(a, 1));
    assert_true(row_is(c, 2));
    assert_int_equal(mt_sites_held(&sites), 2);
}

static void a_row_without_references_is_found_again(void **state) {
    (void)state;
    int32_t a = hold(1);
    mt_sites_drop(&sites, (uint32_t)a);
    assert_int_equal(mt_sites_held(&sites), 0);
    assert_int_equal(hold(1), a);
}

static void a_deeper_stack_is_cut_at_the_table_s_depth(void **state) {
    (void)state;
    void *deep[DEPTH + 4];
    uintptr_t copy[DEPTH + 4];
    for (int i = 0; i < DEPTH + 4; i++) deep[i] = (void *)(uintptr_t)(i + 1);
    int32_t a = mt_sites_hold(&sites, deep, DEPTH + 4);
    assert_int_equal(mt_sites_copy(&sites, (uint32_t)a, copy, DEPTH + 4), DEPTH);
    assert_int_equal(mt_sites_copy(&sites, (uint32_t)a, copy, 2), 2);
    assert_int_equal(mt_sites_copy(&sites, ROWS, copy, 2), 0);
}

static void rows_in_use_are_never_given_away(void **state) {
    (void)state;
    int32_t row[ROWS * 4];
    int refused = 0;
    for (uint64_t n = 0; n < ROWS * 4; n++)
        if ((row[n] = hold(n)) < 0) refused++;
    assert_true(refused >= ROWS * 3);
    for (uint64_t n = 0; n < ROWS * 4; n++)
        if (row[n] >= 0) assert_true(row_is(row[n], n));
}

static void rows_without_references_make_room(void **state) {
    (void)state;
    for (uint64_t n = 0; n < ROWS * 10; n++) {
        int32_t row = hold(n);
        assert_true(row >= 0);
        assert_true(row_is(row, n));
        mt_sites_drop(&sites, (uint32_t)row);
    }
}

/* Threads hold rows for a while and check that they stay what they asked for. */
enum { THREADS = 8, ROUNDS = 30000, STACKS = 600, HELD = 20 };

static _Atomic int wrong;

static void *worker(void *argument) {
    uint64_t seed = (uint64_t)(uintptr_t)argument, number[HELD] = {0};
    int32_t row[HELD];
    memset(row, -1, sizeof row);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t r = unit_random(&seed);
        int k = (int)(r % HELD);
        if (row[k] >= 0) {
            if (!row_is(row[k], number[k])) wrong++;
            mt_sites_drop(&sites, (uint32_t)row[k]);
            row[k] = -1;
        } else {
            number[k] = r >> 32 & 1 ? r >> 40 % STACKS : r % 7;
            row[k] = hold(number[k]);
            if (row[k] >= 0 && !row_is(row[k], number[k])) wrong++;
        }
    }
    for (int k = 0; k < HELD; k++)
        if (row[k] >= 0) mt_sites_drop(&sites, (uint32_t)row[k]);
    return NULL;
}

static void threads_never_see_a_row_change_that_they_hold(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    pthread_t thread[THREADS];
    wrong = 0;
    for (int i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, worker, (void *)(uintptr_t)(unit_random(&seed) | 1));
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    assert_int_equal(wrong, 0);
    assert_int_equal(mt_sites_held(&sites), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, map, unmap)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_same_stack_has_one_row),
        TEST(a_row_without_references_is_found_again),
        TEST(a_deeper_stack_is_cut_at_the_table_s_depth),
        TEST(rows_in_use_are_never_given_away),
        TEST(rows_without_references_make_room),
        TEST(threads_never_see_a_row_change_that_they_hold),
    };
    return cmocka_run_group_tests_name("sites", tests, NULL, NULL);
}
