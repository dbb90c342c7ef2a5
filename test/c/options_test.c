/* The table of environment variables: what is understood, what is refused and how. */
#include "unit.h"

#include <string.h>

#include "record/options.h"

static const char *name[4], *value[4];
static char complaints[2048];
static int complained;

static const char *get(const char *wanted) {
    for (int i = 0; i < 4; i++)
        if (name[i] && strcmp(name[i], wanted) == 0) return value[i];
    return NULL;
}

static void complain(const char *line) {
    complained++;
    strncat(complaints, line, sizeof complaints - strlen(complaints) - 2);
    strcat(complaints, "\n");
}

static int clear(void **state) {
    (void)state;
    memset(name, 0, sizeof name);
    complained = 0;
    complaints[0] = '\0';
    return 0;
}

static void set(const char *n, const char *v) {
    name[0] = n;
    value[0] = v;
}

static void defaults_stand_where_nothing_is_set(void **state) {
    (void)state;
    mt_options o = mt_options_read(get, complain);
    assert_int_equal(o.mode, MT_MODE_UNSET);
    assert_int_equal(o.beam, 1);
    assert_int_equal(o.children, 0);
    assert_int_equal(o.depth, 32);
    assert_int_equal(o.slots, 4096);
    assert_true(o.interval == MT_ADAPTIVE);
    assert_int_equal(o.budget_ppm, 10000);
    assert_int_equal(complained, 0);
}

static void an_empty_value_counts_as_unset(void **state) {
    (void)state;
    set("MTRACE_DEPTH", "");
    assert_int_equal(mt_options_read(get, complain).depth, 32);
    assert_int_equal(complained, 0);
}

static void values_within_bounds_are_taken(void **state) {
    (void)state;
    set("MTRACE_DEPTH", "64");
    assert_int_equal(mt_options_read(get, complain).depth, 64);
    set("MTRACE", "0");
    assert_int_equal(mt_options_mode(get), MT_MODE_OFF);
    set("MTRACE", "1");
    assert_int_equal(mt_options_read(get, complain).mode, MT_MODE_ON);
    set("MTRACE_BEAM", "0");
    assert_int_equal(mt_options_read(get, complain).beam, 0);
    set("MTRACE_CHILDREN", "1");
    assert_int_equal(mt_options_read(get, complain).children, 1);
    assert_int_equal(complained, 0);
}

static void a_budget_is_a_percentage_with_decimals(void **state) {
    static const struct {
        const char *text;
        uint64_t ppm;
    } good[] = {{"1", 10000},  {"0.1", 1000},    {"10", 100000},   {"2.5", 25000},
                {"0.01", 100}, {"100", 1000000}, {"0.3333", 3333}, {"1.0000", 10000}};
    static const char *const bad[] = {"0",    "0.001", "100.1", "1.",     ".5",
                                      "1..2", "1,5",   "-1",    "1.23456"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        set("MTRACE_BUDGET", good[i].text);
        assert_int_equal(mt_options_read(get, complain).budget_ppm, good[i].ppm);
        assert_int_equal(complained, 0);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        clear(NULL);
        set("MTRACE_BUDGET", bad[i]);
        assert_int_equal(mt_options_read(get, complain).budget_ppm, 10000);
        assert_int_equal(complained, 1);
    }
}

static void an_interval_is_a_whole_number(void **state) {
    (void)state;
    set("MTRACE_INTERVAL", "0");
    assert_int_equal(mt_options_read(get, complain).interval, 0);
    set("MTRACE_INTERVAL", "17592186044416");
    assert_int_equal(mt_options_read(get, complain).interval, 17592186044416);
    assert_int_equal(complained, 0);
    set("MTRACE_INTERVAL", "17592186044417");
    assert_true(mt_options_read(get, complain).interval == MT_ADAPTIVE);
    set("MTRACE_INTERVAL", "1.5");
    assert_true(mt_options_read(get, complain).interval == MT_ADAPTIVE);
    assert_int_equal(complained, 2);
}

static void slots_are_rounded_up_to_a_power_of_two(void **state) {
    (void)state;
    set("MTRACE_SLOTS", "5000");
    assert_int_equal(mt_options_read(get, complain).slots, 8192);
    set("MTRACE_SLOTS", "16");
    assert_int_equal(mt_options_read(get, complain).slots, 16);
}

static void nonsense_leaves_the_default_and_is_named_once(void **state) {
    static const char *const nonsense[] = {
        "x",  "-1",  "+4", " 4", "4 ",  "1",           "65",
        "1k", "0x8", "4.", "٤",  "1e1", "99999999999", "999999999999999999999999"};
    (void)state;
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        clear(NULL);
        set("MTRACE_DEPTH", nonsense[i]);
        assert_int_equal(mt_options_read(get, complain).depth, 32);
        assert_int_equal(complained, 1);
        assert_non_null(strstr(complaints, "MTRACE_DEPTH="));
        assert_non_null(strstr(complaints, "from 2 to 64"));
    }
}

static void a_value_cannot_forge_a_line_or_flood_it(void **state) {
    (void)state;
    static char longest[5000];
    memset(longest, 'a', sizeof longest - 1);
    longest[1] = '\n';
    longest[2] = '\033';
    set("MTRACE_SLOTS", longest);
    mt_options_read(get, complain);
    assert_int_equal(complained, 1);
    assert_true(strlen(complaints) < 240);
    assert_null(strchr(complaints, '\033'));
    assert_ptr_equal(strchr(complaints, '\n'), complaints + strlen(complaints) - 1);
}

static void the_mode_alone_is_read_without_a_word(void **state) {
    (void)state;
    set("MTRACE", "yes");
    assert_int_equal(mt_options_mode(get), MT_MODE_UNSET);
    assert_int_equal(complained, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(defaults_stand_where_nothing_is_set, clear),
        cmocka_unit_test_setup(an_empty_value_counts_as_unset, clear),
        cmocka_unit_test_setup(values_within_bounds_are_taken, clear),
        cmocka_unit_test_setup(a_budget_is_a_percentage_with_decimals, clear),
        cmocka_unit_test_setup(an_interval_is_a_whole_number, clear),
        cmocka_unit_test_setup(slots_are_rounded_up_to_a_power_of_two, clear),
        cmocka_unit_test_setup(nonsense_leaves_the_default_and_is_named_once, clear),
        cmocka_unit_test_setup(a_value_cannot_forge_a_line_or_flood_it, clear),
        cmocka_unit_test_setup(the_mode_alone_is_read_without_a_word, clear),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
