/* The arithmetic of recording against the C library's. */
#include "unit.h"

#include <fenv.h>
#include <math.h>

#include "record/real.h"

static bool close_to(double a, double b) {
    return fabs(a - b) <= 1e-13 * fabs(b);
}

static void logarithms_are_right_to_13_digits(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    for (int i = 0; i < 200000; i++) {
        double x = ((double)(unit_random(&seed) >> 11) + 1) / 9007199254740992.0;
        double mine = mt_real_log(x), theirs = log(x);
        assert_true(close_to(mine, theirs) || fabs(mine - theirs) < 1e-15);
    }
    assert_true(mt_real_log(1) == 0);
    assert_true(close_to(mt_real_log(1e300), log(1e300)));
}

static void shares_are_right_for_small_and_large_arguments(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    for (int i = 0; i < 200000; i++) {
        double x = exp(-30 + 35 * ((double)(unit_random(&seed) >> 11) / 9007199254740992.0));
        assert_true(close_to(mt_real_share(x), -expm1(-x)));
    }
    assert_true(mt_real_share(0) == 0);
    assert_true(mt_real_share(1000) == 1);
}

/* A program that traps on inexact results must not trap in a malloc of ours. */
static void the_program_s_floating_point_environment_is_kept(void **state) {
    (void)state;
#if defined __x86_64__ || defined __aarch64__
    fesetround(FE_UPWARD);
    feclearexcept(FE_ALL_EXCEPT);
    mt_real_environment saved = mt_real_enter();
    assert_true(close_to(mt_real_log(0.3), log(0.3)));
    volatile double third = 1.0 / 3.0 * mt_real_share(0.7);
    (void)third;
    mt_real_leave(saved);
    assert_int_equal(fegetround(), FE_UPWARD);
    assert_int_equal(fetestexcept(FE_ALL_EXCEPT), 0);
    fesetround(FE_TONEAREST);
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logarithms_are_right_to_13_digits),
        cmocka_unit_test(shares_are_right_for_small_and_large_arguments),
        cmocka_unit_test(the_program_s_floating_point_environment_is_kept),
    };
    return cmocka_run_group_tests_name("real", tests, NULL, NULL);
}
