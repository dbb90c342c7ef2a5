/* Two censuses compared, of one version of a program and of two. */
#include "census_fixture.h"

/* The second version has lines more, so that all else has moved. */
#define SOURCE                                                                                 \
    "int one(int x) { return x + 1; }\\nint two(int x) { return 2 * one(x) + 5; }\\n"          \
    "int three(int x) { return 3 * two(x) + 7; }\\nint four(int x) { return 4 * three(x); }\\n"

static int start(void **state) {
    if (fixture_start(state) != 0) return -1;
    fixture_program("prog", "-g", SOURCE);
    return 0;
}

static void save(const mt_census *census) {
    mt_show show = MT_SHOW_DEFAULT;
    show.save_path = fixture_path("before");
    free(fixture_shown(census, &show, census->sites ? MT_SHOWN_LEFT : MT_SHOWN_NOTHING));
}

static char *compared(const mt_census *census, mt_shown expected) {
    mt_show show = MT_SHOW_DEFAULT;
    show.diff_path = fixture_path("before");
    return fixture_shown(census, &show, expected);
}

static void save_the_first(void) {
    fixture_census *c = fixture_census_of("prog", 0);
    fixture_site(c, "prog", "one two", 1, 100);
    fixture_site(c, "prog", "two three", 4, 400);
    fixture_site(c, "prog", "three", 9, 900);
    fixture_site(c, "prog", "one", 5, 500);
    save(&c->census);
    free(c);
}

static fixture_census *second(uint64_t moved) {
    fixture_census *c = fixture_census_of("prog", moved);
    fixture_site(c, "prog", "one", 5, 500);        /* the same */
    fixture_site(c, "prog", "one two", 11, 22100); /* grew */
    fixture_site(c, "prog", "four", 2, 3000);      /* new */
    fixture_site(c, "prog", "two three", 3, 300);  /* shrank; three is gone */
    return c;
}

static void assert_the_comparison(const char *got) {
    const char *const parts[] = {
        "before: ",
        "/before, of 2023-11-1",
        ", process 4711 (./prog --now)\n",
        "=== backtrace #1 === [grew: +22.000 KB] [size: 100 bytes -> 22.100 KB] [count: 1 -> "
        "11]\n",
        "malloc +0x2\n",
        " one +0x1 (prog) ",
        "=== backtrace #2 === [new: +3.000 KB] [size: 0 bytes -> 3.000 KB] [count: 0 -> 2]\n",
        " four +0x1 (prog) ",
        "=== backtrace #3 === [shrank: -100 bytes] [size: 400 bytes -> 300 bytes]",
        "=== backtrace #4 === [gone: -900 bytes] [size: 900 bytes -> 0 bytes] [count: 9 -> 0]",
        " three +0x1 (prog) ",
        "grew  : 1 stack, +22.000 KB\n",
        "new   : 1 stack, +3.000 KB\n",
        "shrank: 1 stack, -100 bytes\n",
        "gone  : 1 stack, -900 bytes\n",
        "same  : 1 stack, +0 bytes\n",
        "in all: 1.900 KB -> 25.900 KB (+24.000 KB), 19 -> 21 chunks\n"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *found = strstr(got, parts[i]);
        if (!found) fail_msg("no %s in %s", parts[i], got);
        got = found + strlen(parts[i]);
    }
}

static void moved_addresses_do_not_matter(void **state) {
    (void)state;
    save_the_first();
    fixture_census *c = second(0x5000000);
    char *got = compared(&c->census, MT_SHOWN_LEFT);
    assert_the_comparison(got);
    free(got);
    free(c);
}

static void another_version_of_the_program_is_compared_by_names(void **state) {
    (void)state;
    save_the_first();
    fixture_program(
        "prog", "-g",
        "int more(int x) { return x * x; }\\n\\n\\nint less(int x) { return -x; }\\n" SOURCE);
    fixture_census *c = second(0);
    char *got = compared(&c->census, MT_SHOWN_LEFT);
    assert_the_comparison(got);
    free(got);
    free(c);
    fixture_program("prog", "-g", SOURCE);
}

/* Two calls in one function are two sites, as long as their lines tell. */
static void lines_tell_sites_of_one_function_apart(void **state) {
    (void)state;
    fixture_program("lines", "-g",
                    "int f(int x) { return x; }\\nint g(int x) {\\n  int y = f(x);\\n"
                    "  y += f(y);\\n  return y + 1;\\n}\\n");
    uint64_t begin = fixture_symbol("lines", "g");
    uint64_t at[2] = {begin + 1, begin + 20}; /* in different lines, whatever stands there */
    for (int k = 0; k < 2; k++) {
        fixture_census *c = fixture_census_of("lines", k * 0x1000000ull);
        for (int i = 0; i < 2; i++) {
            fixture_site(c, "lines", "g", 1, 100 + 1000 * (k & i));
            c->stack[i][1] = PROG + c->moved + at[i];
        }
        if (k == 0) save(&c->census);
        else {
            char *got = compared(&c->census, MT_SHOWN_LEFT);
            assert_non_null(strstr(got, "[grew: +1.000 KB] [size: 100 bytes -> 1.100 KB]"));
            assert_non_null(strstr(got, "same  : 1 stack"));
            free(got);
        }
        free(c);
    }
}

static void where_nothing_grew_nothing_is_left(void **state) {
    (void)state;
    save_the_first();
    fixture_census *c = fixture_census_of("prog", 0);
    fixture_site(c, "prog", "one two", 1, 50);
    char *got = compared(&c->census, MT_SHOWN_NOTHING);
    assert_non_null(strstr(got, "gone  : 3 stacks"));
    free(got);
    free(c);
}

static void the_file_that_is_compared_with_may_be_replaced(void **state) {
    (void)state;
    save_the_first();
    fixture_census *c = second(0);
    mt_show show = MT_SHOW_DEFAULT;
    show.diff_path = show.save_path = fixture_path("before");
    char *got = fixture_shown(&c->census, &show, MT_SHOWN_LEFT);
    assert_the_comparison(got);
    free(got);
    got = compared(&c->census, MT_SHOWN_NOTHING);
    assert_non_null(strstr(got, "same  : 4 stacks"));
    free(got);
    free(c);
}

static void what_may_be_chance_is_said(void **state) {
    (void)state;
    fixture_census *c = fixture_census_of("prog", 0);
    c->census.exact = false;
    fixture_site(c, "prog", "one", 1, 1000)->bytes_variance = 1e6;
    save(&c->census);
    c->site[0].bytes = 2000;
    char *got = compared(&c->census, MT_SHOWN_LEFT);
    assert_non_null(strstr(got, "[within the error]"));
    free(got);
    c->site[0].bytes = 20000;
    got = compared(&c->census, MT_SHOWN_LEFT);
    assert_null(strstr(got, "[within the error]"));
    free(got);
    free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moved_addresses_do_not_matter),
        cmocka_unit_test(another_version_of_the_program_is_compared_by_names),
        cmocka_unit_test(lines_tell_sites_of_one_function_apart),
        cmocka_unit_test(where_nothing_grew_nothing_is_left),
        cmocka_unit_test(the_file_that_is_compared_with_may_be_replaced),
        cmocka_unit_test(what_may_be_chance_is_said),
    };
    return cmocka_run_group_tests(tests, start, fixture_end);
}
