/* What slots held, against a naive model: looks that meet some and miss others. */
#include "unit.h"

#include "hook/stubs.h"

enum { SLOTS = 2000, ROUNDS = 300 };

static void *word[SLOTS];
static void *model[SLOTS]; /* NULL: not remembered */

static void what_a_look_does_not_meet_is_forgotten(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    for (int round = 0; round < ROUNDS; round++) {
        bool met[SLOTS] = {false};
        mt_stubs_begin();
        for (int k = 0; k < 200; k++) {
            size_t i = unit_random(&seed) % SLOTS;
            void *stub = (void *)(uintptr_t)(unit_random(&seed) | 1);
            met[i] = true;
            if (unit_random(&seed) % 2) {
                assert_true(mt_stubs_put(&word[i], stub));
                model[i] = stub;
            } else {
                assert_ptr_equal(mt_stubs_get(&word[i]), model[i]);
            }
        }
        mt_stubs_end();
        for (size_t i = 0; i < SLOTS; i++)
            if (!met[i]) model[i] = NULL;
    }
}

static void a_thousand_are_remembered_at_once(void **state) {
    (void)state;
    mt_stubs_begin();
    for (size_t i = 0; i < SLOTS; i++) assert_true(mt_stubs_put(&word[i], &model[i]));
    mt_stubs_end();
    mt_stubs_begin();
    for (size_t i = 0; i < SLOTS; i++) assert_ptr_equal(mt_stubs_get(&word[i]), &model[i]);
    mt_stubs_end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_look_does_not_meet_is_forgotten),
        cmocka_unit_test(a_thousand_are_remembered_at_once),
    };
    return cmocka_run_group_tests_name("stubs", tests, NULL, NULL);
}
