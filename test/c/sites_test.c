/* The table of sites: one row a stack, pinned by references, evicted without them. */
#include "unit.h"

#include <pthread.h>
#include <string.h>

#include "record/site_row.h"
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

static void totals_and_peaks_of_whole_chunks_are_exact(void **state) {
    (void)state;
    enum { STEPS = 100000, SITES = 20, LIVE = 50 };
    static struct {
        uint64_t size[LIVE], n, live, bytes, peak, peak_bytes, all, all_bytes;
    } model[SITES];
    uint64_t seed = unit_seed();
    int32_t row[SITES];
    memset(model, 0, sizeof model);
    for (int i = 0; i < STEPS; i++) {
        uint64_t r = unit_random(&seed), k = r % SITES, size = r >> 20 & 0xfffff;
        if (model[k].n < LIVE && r >> 50 & 1) {
            row[k] = hold(k);
            assert_true(row[k] >= 0);
            mt_row_add(mt_word_is_alone(), mt_sites_row(&sites, (uint32_t)row[k]), size);
            model[k].size[model[k].n++] = size;
            model[k].bytes += size, model[k].all_bytes += size, model[k].all++;
            if (model[k].n > model[k].peak) model[k].peak = model[k].n;
            if (model[k].bytes > model[k].peak_bytes) model[k].peak_bytes = model[k].bytes;
        } else if (model[k].n) {
            size = model[k].size[--model[k].n];
            model[k].bytes -= size;
            mt_row_end(mt_word_is_alone(), mt_sites_row(&sites, (uint32_t)row[k]), size);
        }
    }
    for (int k = 0; k < SITES; k++) {
        mt_site_totals t = mt_sites_totals(&sites, (uint32_t)row[k]);
        assert_int_equal(t.live, model[k].n);
        assert_int_equal(t.peak_count, model[k].peak);
        assert_true(t.live_bytes == (double)model[k].bytes);
        assert_true(t.peak_bytes == (double)model[k].peak_bytes);
        assert_true(t.allocated == (double)model[k].all);
        assert_true(t.allocated_bytes == (double)model[k].all_bytes);
    }
    assert_int_equal(mt_sites_evicted(&sites), 0);
}

static void what_is_evicted_is_counted_and_added_up(void **state) {
    (void)state;
    enum { STACKS = ROWS * 4 };
    for (uint64_t n = 0; n < STACKS; n++) {
        int32_t row = hold(n);
        mt_row_add(mt_word_is_alone(), mt_sites_row(&sites, (uint32_t)row), 100);
        mt_row_end(mt_word_is_alone(), mt_sites_row(&sites, (uint32_t)row), 100);
    }
    uint64_t used = 0;
    for (uint32_t row = 0; row < ROWS; row++)
        used += (uint64_t)mt_sites_totals(&sites, row).allocated;
    assert_int_equal(mt_sites_evicted(&sites), STACKS - used);
    assert_true(mt_sites_totals(&sites, ROWS).allocated == (double)(STACKS - used));
    mt_sites_reset(&sites);
    assert_int_equal(mt_sites_evicted(&sites), 0);
    assert_int_equal(hold(1) >= 0, 1);
    assert_int_equal(mt_sites_evicted(&sites), 0); /* the row was free */
}

/* More stacks than are looked for among the first rows: each is found again, none is lost. */
static void a_large_table_loses_no_totals(void **state) {
    (void)state;
    enum { LARGE = MT_SITES_FIRST * 64, STACKS = MT_SITES_FIRST * 8 };
    static int32_t row[STACKS];
    mt_sites_fini(&sites);
    assert_int_equal(mt_sites_init(&sites, LARGE, DEPTH), 0);
    for (int round = 0; round < 3; round++)
        for (uint64_t n = 0; n < STACKS; n++) {
            int32_t at = hold(n);
            assert_true(at >= 0);
            if (round == 0) row[n] = at;
            assert_int_equal(at, row[n]);
            assert_true(row_is(at, n));
            mt_row_add(mt_word_is_alone(), mt_sites_row(&sites, (uint32_t)at), n);
            mt_row_end(mt_word_is_alone(), mt_sites_row(&sites, (uint32_t)at), n);
        }
    uint32_t beyond = 0;
    for (uint64_t n = 0; n < STACKS; n++) {
        assert_true(mt_sites_totals(&sites, (uint32_t)row[n]).allocated == 3);
        beyond += row[n] >= MT_SITES_FIRST * 16;
    }
    assert_int_equal(mt_sites_evicted(&sites), 0);
    assert_true(beyond < STACKS / 16); /* what is used lies together */
}

static void few_sites_lie_in_few_pages(void **state) {
    (void)state;
    mt_sites_fini(&sites);
    assert_int_equal(mt_sites_init(&sites, MT_SITES_EXACT, DEPTH), 0);
    for (uint64_t n = 0; n < 1000; n++) assert_true(hold(n) < MT_SITES_FIRST);
}

static void a_row_held_of_late_is_only_a_guess(void **state) {
    (void)state;
    uint32_t near[MT_SITES_NEAR] = {0};
    uint64_t seed = unit_seed();
    for (int i = 0; i < 20000; i++) {
        void *stack[DEPTH];
        uint64_t n = unit_random(&seed) % (ROWS * 2);
        if (i % 10 == 0) near[n % MT_SITES_NEAR] = (uint32_t)unit_random(&seed) % ROWS;
        int32_t row = mt_sites_hold_near(&sites, stack, stack_of(n, stack), near);
        assert_true(row >= 0);
        assert_true(row_is(row, n));
        assert_int_equal(mt_sites_references(&sites, (uint32_t)row), 1);
        mt_sites_drop(&sites, (uint32_t)row);
    }
    assert_int_equal(mt_sites_held(&sites), 0);
}

static bool hold_again(int32_t row, uint64_t age) {
    return mt_row_hold_again(mt_word_is_alone(), &sites, (uint32_t)row, age) != NULL;
}

static void a_noted_row_is_held_again_while_it_has_its_stack(void **state) {
    (void)state;
    int32_t row = hold(1);
    uint64_t age = mt_sites_age(&sites);
    mt_sites_drop(&sites, (uint32_t)row);
    assert_true(hold_again(row, age));
    assert_int_equal(mt_sites_references(&sites, (uint32_t)row), 1);
    mt_sites_drop(&sites, (uint32_t)row);
    /* until it is needed for another */
    uint64_t n = 2;
    while (row_is(row, 1)) {
        int32_t other = hold(n++);
        assert_true(other >= 0);
        mt_sites_drop(&sites, (uint32_t)other);
    }
    assert_false(hold_again(row, age));
    assert_int_equal(mt_sites_held(&sites), 0);
}

static void a_reset_makes_notes_void(void **state) {
    (void)state;
    int32_t row = hold(1), other = hold(2);
    uint64_t age = mt_sites_age(&sites);
    mt_sites_drop(&sites, (uint32_t)row);
    mt_sites_reset(&sites);
    assert_false(hold_again(row, age));
    assert_false(hold_again(other, age)); /* no proof; it is still there */
    assert_true(row_is(other, 2));
    assert_true(hold_again(other, mt_sites_age(&sites)));
    int32_t again = hold(3);
    for (uint64_t n = 4; again != row && n < 4000; n++) again = hold(n); /* its place is free */
    assert_int_equal(again, row);
    assert_false(hold_again(row, age));
}

/* Who reads the table from outside gets the memory and two numbers. */
static void a_reader_finds_the_same_rows_in_the_memory_alone(void **state) {
    (void)state;
    mt_sites other;
    int32_t row = hold(7);
    mt_row_add(mt_word_is_alone(), mt_sites_row(&sites, (uint32_t)row), 33);
    assert_int_equal(mt_sites_at(&other, sites.row, ROWS, DEPTH), 0);
    assert_int_equal(other.bytes, sites.bytes);
    uintptr_t copy[DEPTH];
    void *stack[DEPTH];
    uint32_t frames = stack_of(7, stack);
    assert_int_equal(mt_sites_copy(&other, (uint32_t)row, copy, DEPTH), frames);
    assert_memory_equal(copy, stack, frames * sizeof *copy);
    assert_true(mt_sites_totals(&other, (uint32_t)row).allocated_bytes == 33);
}

/* Threads hold rows for a while and check that they stay what they asked for. */
enum { THREADS = 8, ROUNDS = 30000, STACKS = 600, HELD = 20 };

static _Atomic int wrong, again;

static void *worker(void *argument) {
    uint32_t near[MT_SITES_NEAR] = {0};
    uint64_t seed = (uint64_t)(uintptr_t)argument, number[HELD] = {0};
    int32_t row[HELD];
    memset(row, -1, sizeof row);
    struct {
        uint64_t number, age;
        int32_t row;
    } note[HELD] = {{.row = 0}};
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t r = unit_random(&seed);
        int k = (int)(r % HELD), noted = (int)((r >> 20) % HELD);
        if (row[k] >= 0) {
            if (!row_is(row[k], number[k])) wrong++;
            note[k].age = mt_sites_age(&sites);
            note[k].number = number[k], note[k].row = row[k];
            mt_sites_drop(&sites, (uint32_t)row[k]);
            row[k] = -1;
        } else if (r >> 60 < 8 && note[noted].number &&
                   hold_again(note[noted].row, note[noted].age)) {
            row[k] = note[noted].row, number[k] = note[noted].number;
            if (!row_is(row[k], number[k])) wrong++;
            again++;
        } else {
            number[k] = r >> 32 & 1 ? r >> 40 % STACKS : r % 7;
            void *stack[DEPTH];
            row[k] = mt_sites_hold_near(&sites, stack, stack_of(number[k], stack), near);
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
    assert_true(again > 0);
    assert_int_equal(mt_sites_held(&sites), 0);
}

/* All wait until all have begun, so the peak is what they hold together. */
static pthread_barrier_t all_hold;

static void *holds_some(void *argument) {
    int32_t row = -1;
    for (int i = 0; i < 1000; i++) {
        row = hold(3);
        mt_row_add(mt_word_is_alone(), mt_sites_row(&sites, (uint32_t)row), 10);
        if (i % 2) mt_row_end(mt_word_is_alone(), mt_sites_row(&sites, (uint32_t)row), 10);
    }
    pthread_barrier_wait(&all_hold);
    for (int i = 0; i < 500; i++)
        mt_row_end(mt_word_is_alone(), mt_sites_row(&sites, (uint32_t)row), 10);
    return argument;
}

static void peaks_that_threads_raise_together_are_exact(void **state) {
    (void)state;
    pthread_t thread[THREADS];
    int32_t row = hold(3); /* so that they do not make two rows of it */
    pthread_barrier_init(&all_hold, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) pthread_create(&thread[i], NULL, holds_some, NULL);
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    mt_site_totals t = mt_sites_totals(&sites, (uint32_t)row);
    assert_int_equal(t.live, 1);
    assert_true(t.live_bytes == 0);
    assert_true(t.allocated == THREADS * 1000);
    assert_true(t.peak_count >= THREADS * 500 + 1); /* and a few of those that came and went */
    assert_true(t.peak_count <= THREADS * 501 + 1);
    assert_true(t.peak_bytes >= THREADS * 500 * 10);
    assert_true(t.peak_bytes <= THREADS * 501 * 10);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, map, unmap)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_same_stack_has_one_row),
        TEST(a_row_without_references_is_found_again),
        TEST(a_deeper_stack_is_cut_at_the_table_s_depth),
        TEST(rows_in_use_are_never_given_away),
        TEST(rows_without_references_make_room),
        TEST(totals_and_peaks_of_whole_chunks_are_exact),
        TEST(what_is_evicted_is_counted_and_added_up),
        TEST(a_large_table_loses_no_totals),
        TEST(few_sites_lie_in_few_pages),
        TEST(a_row_held_of_late_is_only_a_guess),
        TEST(a_noted_row_is_held_again_while_it_has_its_stack),
        TEST(a_reset_makes_notes_void),
        TEST(a_reader_finds_the_same_rows_in_the_memory_alone),
        TEST(peaks_that_threads_raise_together_are_exact),
        TEST(threads_never_see_a_row_change_that_they_hold),
    };
    return cmocka_run_group_tests_name("sites", tests, NULL, NULL);
}
