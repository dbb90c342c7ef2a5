/* The table of callers: a row is one thing's for good, whoever asks. */
#include "unit.h"

#include <pthread.h>
#include <string.h>

#include "hook/callers.h"

static void a_row_is_found_again_and_tells_what_it_stands_for(void **state) {
    (void)state;
    char module[] = "crypto", function[] = "hash_nif";
    assert_int_equal(mt_callers_find(MT_CALLER_NIF, module, function, 2), 0);
    uint32_t row = mt_callers_row(MT_CALLER_NIF, module, function, 2);
    assert_true(row > MT_CALLERS_THREAD);
    assert_int_equal(mt_callers_find(MT_CALLER_NIF, module, function, 2), row);
    memset(module, 'x', sizeof module - 1); /* it has a copy */
    assert_int_equal(mt_callers_row(MT_CALLER_NIF, "crypto", "hash_nif", 2), row);
    const mt_caller *caller = mt_callers_get(row);
    assert_string_equal(caller->module, "crypto");
    assert_string_equal(caller->function, "hash_nif");
    assert_int_equal(caller->arity, 2);
    assert_int_equal(caller->kind, MT_CALLER_NIF);
}

static void what_differs_in_anything_has_a_row_of_its_own(void **state) {
    (void)state;
    uint32_t rows[] = {
        mt_callers_row(MT_CALLER_NIF, "m", "f", 1),  mt_callers_row(MT_CALLER_NIF, "m", "f", 2),
        mt_callers_row(MT_CALLER_NIF, "m", "g", 1),  mt_callers_row(MT_CALLER_NIF, "n", "f", 1),
        mt_callers_row(MT_CALLER_LOAD, "m", "f", 1), mt_callers_row(MT_CALLER_NIF, "mf", "", 1),
        mt_callers_row(MT_CALLER_NIF, "", "mf", 1),  mt_callers_row(MT_CALLER_NIF, "m", "", 1),
    };
    enum { N = sizeof rows / sizeof *rows };
    for (int i = 0; i < N; i++)
        for (int k = 0; k < i; k++) assert_int_not_equal(rows[i], rows[k]);
}

static void rows_that_do_not_exist_are_nobody(void **state) {
    (void)state;
    assert_null(mt_callers_get(MT_CALLERS_NOBODY));
    assert_null(mt_callers_get(MT_CALLERS - 1));
    assert_null(mt_callers_get(UINT32_MAX));
    assert_int_equal(mt_callers_get(MT_CALLERS_THREAD)->kind, MT_CALLER_THREAD);
}

enum { THREADS = 4, EACH = 500 };

static void *add_some(void *rows) {
    char name[32];
    for (int i = 0; i < EACH; i++) {
        snprintf(name, sizeof name, "function_%d", i);
        ((uint32_t *)rows)[i] = mt_callers_row(MT_CALLER_NIF, "threads", name, (unsigned)i);
    }
    return NULL;
}

static void threads_that_add_the_same_get_the_same_rows(void **state) {
    (void)state;
    static uint32_t rows[THREADS][EACH];
    pthread_t thread[THREADS];
    for (int t = 0; t < THREADS; t++) pthread_create(&thread[t], NULL, add_some, rows[t]);
    for (int t = 0; t < THREADS; t++) pthread_join(thread[t], NULL);
    for (int i = 0; i < EACH; i++) {
        assert_true(rows[0][i] > 0);
        for (int t = 1; t < THREADS; t++) assert_int_equal(rows[t][i], rows[0][i]);
        assert_int_equal(mt_callers_get(rows[0][i])->arity, (unsigned)i);
    }
}

static void a_full_table_says_so_and_knows_what_it_had(void **state) {
    (void)state;
    char name[32];
    uint32_t first = mt_callers_row(MT_CALLER_NIF, "full", "0", 0), last = first;
    for (int i = 1; last; i++) {
        assert_true(i <= MT_CALLERS);
        assert_false(mt_callers_full());
        snprintf(name, sizeof name, "%d", i);
        last = mt_callers_row(MT_CALLER_NIF, "full", name, 0);
    }
    assert_true(mt_callers_full());
    assert_int_equal(mt_callers_row(MT_CALLER_NIF, "full", "0", 0), first);
    assert_int_equal(mt_callers_row(MT_CALLER_NIF, "full", "another", 0), 0);
    assert_non_null(mt_callers_get(MT_CALLERS - 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_is_found_again_and_tells_what_it_stands_for),
        cmocka_unit_test(what_differs_in_anything_has_a_row_of_its_own),
        cmocka_unit_test(rows_that_do_not_exist_are_nobody),
        cmocka_unit_test(threads_that_add_the_same_get_the_same_rows),
        cmocka_unit_test(a_full_table_says_so_and_knows_what_it_had),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
