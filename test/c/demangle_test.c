/* Names as programmers wrote them, and names that were made to hurt. */
#include "unit.h"

#include <string.h>

#include "name/demangle.h"

static char out[4096];

static void names_of_cxx_and_rust_are_plain(void **state) {
    static const char *const name[][2] = {
        {"_Znwm", "operator new(unsigned long)"},
        {"_ZN3foo3barEi", "foo::bar(int)"},
        {"_ZNSt6vectorIiSaIiEE9push_backERKi",
         "std::vector<int, std::allocator<int> >::push_back(int const&)"},
        {"_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE", "core::fmt::Write::write_fmt"},
        {"_RNvCs1234_7mycrate3foo", "mycrate::foo"},
        {"_RNvNtCs1234_7mycrate3foo3bar", "mycrate::foo::bar"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        assert_int_equal(mt_demangle(name[i][0], out, sizeof out), strlen(name[i][1]));
        assert_string_equal(out, name[i][1]);
    }
}

static void other_names_are_left_alone(void **state) {
    static const char *const name[] = {"malloc", "",     "_",      "_Z",
                                       "_R",     "_Zzz", "Z3foov", "_RNvC"};
    (void)state;
    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
        assert_int_equal(mt_demangle(name[i], out, sizeof out), 0);
}

static void a_name_too_long_for_the_room_is_refused_without_writing_past_it(void **state) {
    (void)state;
    char small[16];
    memset(small, 'x', sizeof small);
    assert_int_equal(mt_demangle("_ZN3foo3barEi", small, 13), 0); /* one too few */
    assert_int_equal(small[13], 'x');
    assert_int_equal(mt_demangle("_ZN3foo3barEi", small, 14), 13);
    assert_int_equal(mt_demangle("_ZN3foo3barEi", small, 1), 0);
    assert_int_equal(mt_demangle("_ZN3foo3barEi", small, 0), 0);
}

/* Each level names the one before it twice: the output doubles with four more letters. */
static void a_name_that_would_print_gigabytes_is_refused_soon(void **state) {
    (void)state;
    char name[1200] = "_Z1f";
    strcat(name, "1aIiiE");
    const char *digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (int i = 0; i < 34; i++) {
        char level[32];
        snprintf(level, sizeof level, "S_IS%c_S%c_E", digits[i], digits[i]);
        strcat(name, level);
    }
    mt_demangle(name, out, sizeof out);
    char nested[8000] = "_Z1fI";
    for (int i = 0; i < 1500; i++) strcat(nested, "1aI");
    mt_demangle(nested, out, sizeof out);
}

/* Each level names the one before it twice. With 45 of them it ran for hours. */
static void a_pack_expansion_over_many_substitutions_is_refused(void **state) {
    (void)state;
    char body[600] = "1a", name[700];
    for (int level = 1; level <= 45; level++) {
        char inner[600], sub[4] = "S0_";
        sub[1] = (char)(level < 10 ? '0' + level : 'A' + level - 10);
        memcpy(inner, body, sizeof inner);
        snprintf(body, sizeof body, "F%.560s%sE", inner, level < 36 ? sub : "S0_");
    }
    snprintf(name, sizeof name, "_Z1fIiEvDp%s", body);
    assert_int_equal(mt_demangle(name, out, sizeof out), 0);
    assert_true(mt_demangle("_Z1fIJiiEEvDpT_", out, sizeof out) > 0); /* an ordinary one */
}

static void rust_binders_for_millions_of_lifetimes_are_refused(void **state) {
    (void)state;
    assert_int_equal(mt_demangle("_RNvXINvC1a1bFGzzzzzzzzz_EuEuC1c1d", out, sizeof out), 0);
    assert_int_equal(mt_demangle("_RINvC1a1bDGzzz_EuE", out, sizeof out), 0);
}

static void garbage_never_crashes(void **state) {
    (void)state;
    static const char letters[] = "NSILTJEFGDKRvCsXYMnipPzZ_0123456789abdefghijklmotuwxyOQA";
    uint64_t seed = unit_seed();
    for (int i = 0; i < 60000; i++) {
        char name[120] = "_Z";
        name[1] = i % 2 ? 'Z' : 'R';
        size_t n = 3 + unit_random(&seed) % 110;
        for (size_t k = 2; k < n; k++)
            name[k] = letters[unit_random(&seed) % (sizeof letters - 1)];
        size_t length = mt_demangle(name, out, sizeof out);
        assert_true(length < sizeof out);
        if (length) assert_int_equal(strlen(out), length);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_cxx_and_rust_are_plain),
        cmocka_unit_test(other_names_are_left_alone),
        cmocka_unit_test(a_name_too_long_for_the_room_is_refused_without_writing_past_it),
        cmocka_unit_test(a_name_that_would_print_gigabytes_is_refused_soon),
        cmocka_unit_test(a_pack_expansion_over_many_substitutions_is_refused),
        cmocka_unit_test(rust_binders_for_millions_of_lifetimes_are_refused),
        cmocka_unit_test(garbage_never_crashes),
    };
    return cmocka_run_group_tests_name("demangle", tests, NULL, NULL);
}
