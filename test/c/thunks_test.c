/* Thunks: what is called through one reaches its target, and nobody else's. */
#include "unit.h"

#include <pthread.h>

#include "hook/thunks.h"

enum { FEW = 64 };

uintptr_t pass_on(uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t unused,
                  uint32_t i);
uintptr_t pass_on_many(uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uint32_t);
MT_THUNKS(few, 64, pass_on);
MT_THUNKS(many, 4096, pass_on_many);

static uint32_t last_row;
static uintptr_t return_address;

typedef uintptr_t function(uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d);

MT_THUNKS_FUNCTION uintptr_t pass_on(uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d,
                                     uintptr_t unused, uint32_t i) {
    (void)unused;
    last_row = few.thunk[i].row;
    return ((function *)few.thunk[i].target)(a, b, c, d) + 1;
}

MT_THUNKS_FUNCTION uintptr_t pass_on_many(uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d,
                                          uintptr_t unused, uint32_t i) {
    (void)unused;
    return ((function *)many.thunk[i].target)(a, b, c, d);
}

static uintptr_t digits(uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d) {
    return_address = (uintptr_t)__builtin_return_address(0);
    return a * 1000 + b * 100 + c * 10 + d;
}

static uintptr_t others(uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d) {
    return a + b + c + d;
}

static bool no_thunks(void) {
    if (few.code) return false;
    print_message("   no thunks for this processor: nothing to try\n");
    return true;
}

static void arguments_and_result_pass(void **state) {
    (void)state;
    if (no_thunks()) return;
    function *thunk = (function *)mt_thunks_get(&few, (void *)digits, 7);
    assert_non_null(thunk);
    assert_int_equal(thunk(1, 2, 3, 4), 1235);
    assert_int_equal(last_row, 7);
    assert_true(mt_thunks_is_frame(return_address));
    assert_false(mt_thunks_is_frame((uintptr_t)digits));
}

static void a_thunk_is_one_of_target_and_row(void **state) {
    (void)state;
    if (no_thunks()) return;
    void *thunk = mt_thunks_get(&few, (void *)digits, 7);
    assert_ptr_equal(mt_thunks_get(&few, (void *)digits, 7), thunk);
    assert_ptr_equal(mt_thunks_get(&few, thunk, 9), thunk); /* its own */
    void *row = mt_thunks_get(&few, (void *)digits, 8);
    void *target = mt_thunks_get(&few, (void *)others, 7);
    assert_ptr_not_equal(row, thunk);
    assert_ptr_not_equal(target, thunk);
    assert_int_equal(((function *)row)(0, 0, 0, 1), 2);
    assert_int_equal(last_row, 8);
    assert_int_equal(((function *)target)(2, 2, 2, 2), 9);
    assert_int_equal(last_row, 7);
    assert_true(mt_thunks_is_thunk(&few, thunk));
    assert_false(mt_thunks_is_thunk(&few, (void *)digits));
    assert_false(mt_thunks_is_thunk(&few, few.code + FEW * MT_THUNK_BYTES));
}

/* Addresses that lie in no object are those of libraries that are gone. */
static void thunks_of_libraries_that_are_gone_are_used_anew(void **state) {
    (void)state;
    if (no_thunks()) return;
    static char nowhere[FEW];
    void *kept = mt_thunks_get(&few, (void *)digits, 7);
    char *gone = malloc(1000);
    for (uint32_t i = 0; i < 1000; i++) {
        void *thunk = mt_thunks_get(&few, gone + i, i);
        assert_true(mt_thunks_is_thunk(&few, thunk));
        assert_ptr_not_equal(thunk, kept);
    }
    free(gone);
    assert_ptr_equal(mt_thunks_get(&few, (void *)digits, 7), kept);
    assert_int_equal(((function *)kept)(1, 1, 1, 1), 1112);
    uint32_t given = 0;
    for (uint32_t i = 0; i < FEW; i++)
        if (mt_thunks_get(&few, &nowhere[i], 0)) given++;
    assert_int_equal(given, FEW - 3); /* what the tests before hold stays */
    assert_true(few.full);
    assert_ptr_equal(mt_thunks_get(&few, (void *)digits, 7), kept);
}

enum { THREADS = 4, TARGETS = 1000 };

static void *get_all(void *thunks) {
    for (uint32_t i = 0; i < TARGETS; i++)
        ((void **)thunks)[i] = mt_thunks_get(&many, (void *)digits, i);
    return NULL;
}

static void threads_that_want_the_same_get_the_same(void **state) {
    (void)state;
    static void *thunks[THREADS][TARGETS];
    pthread_t thread[THREADS];
    if (no_thunks()) return;
    for (int t = 0; t < THREADS; t++) pthread_create(&thread[t], NULL, get_all, thunks[t]);
    for (int t = 0; t < THREADS; t++) pthread_join(thread[t], NULL);
    for (int i = 0; i < TARGETS; i++) {
        assert_non_null(thunks[0][i]);
        assert_int_equal(((function *)thunks[0][i])(4, 3, 2, 1), 4321);
        for (int t = 1; t < THREADS; t++) assert_ptr_equal(thunks[t][i], thunks[0][i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_and_result_pass),
        cmocka_unit_test(a_thunk_is_one_of_target_and_row),
        cmocka_unit_test(thunks_of_libraries_that_are_gone_are_used_anew),
        cmocka_unit_test(threads_that_want_the_same_get_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
