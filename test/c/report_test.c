/* The text of a report, and collapsed stacks, of censuses that are known. */
#include "census_fixture.h"

#include <inttypes.h>
#include <sys/stat.h>

#include "ctl/show/report.h"

#define SOURCE                                                                                 \
    "int one(int x) { return x + 1; }\\nint two(int x) { return 2 * one(x) + 5; }\\n"          \
    "int three(int x) { return 3 * two(x) + 7; }\\n"

static int start(void **state) {
    if (fixture_start(state) != 0) return -1;
    fixture_program("prog", "-s", SOURCE);
    fixture_program("lined", "-g", SOURCE);
    return 0;
}

#define RULE "=================================================================\n"

static void a_report_is_what_users_of_heaptrace_know(void **state) {
    (void)state;
    fixture_census *c = fixture_census_of("prog", 0);
    fixture_site(c, "prog", "one two", 1, 12);
    mt_census_site *s = fixture_site(c, "prog", "two three", 43, 22704);
    s->peak_count = 60;
    s->peak_bytes = 31680;
    s->oldest_ns = NOW - 6236000;
    mt_show show = MT_SHOW_DEFAULT;
    char expected[4096];
    char *got = fixture_shown(&c->census, &show, MT_SHOWN_LEFT);
    snprintf(
        expected, sizeof expected,
        RULE
        "[mtracectl] 22.716 KB in 44 chunks not freed at the end of process 4711 "
        "(./prog --now), by size\n"
        "=== backtrace #1 === [count/peak: 43/60] [size/peak: 22.704 KB/31.680 KB] "
        "[age: 6.236 ms]\n"
        " 0 [%#14" PRIx64 "] malloc +0x2\n"
        " 1 [%#14" PRIx64 "] two +0x1 (prog)\n"
        " 2 [%#14" PRIx64 "] three +0x1 (prog)\n"
        "\n"
        "=== backtrace #2 === [count/peak: 1/2] [size/peak: 12 bytes/24 bytes] "
        "[age: 1.000 ms]\n"
        " 0 [%#14" PRIx64 "] malloc +0x2\n"
        " 1 [%#14" PRIx64 "] one +0x1 (prog)\n"
        " 2 [%#14" PRIx64 "] two +0x1 (prog)\n"
        "\n"
        "[mtracectl] traced stacks              : 2\n"
        "[mtracectl] traced size                : 22.716 KB in 44 chunks\n"
        "[mtracectl] allocator (virtual)        : 2.121 MB\n"
        "[mtracectl] allocator (resident)       : 414.288 KB\n"
        "[mtracectl] process (VSS/RSS/shared)   : 134.201 MB / 40.960 KB / 0 bytes\n"
        "[mtracectl] coverage                   : exact; 7 chunks known, 0 ignored\n"
        "[mtracectl] calls                      : 100 of malloc, realloc and the like, 93 of free\n" RULE,
        c->stack[1][0], c->stack[1][1], c->stack[1][2], c->stack[0][0], c->stack[0][1],
        c->stack[0][2]);
    assert_string_equal(got, expected);
    free(got);
    free(c);
}

static void where_everything_is_freed_nothing_is_printed(void **state) {
    (void)state;
    fixture_census *c = fixture_census_of("prog", 0);
    mt_show show = MT_SHOW_DEFAULT;
    for (int flame_graph = 0; flame_graph < 2; flame_graph++) {
        show.flame_graph = flame_graph;
        char *got = fixture_shown(&c->census, &show, MT_SHOWN_NOTHING);
        assert_string_equal(got, "");
        free(got);
    }
    free(c);
}

/* Does `text` have `a` and behind it `b`? */
static bool in_order(const char *text, const char *a, const char *b) {
    const char *first = strstr(text, a);
    return first && strstr(first + strlen(a), b);
}

static void sites_come_in_the_order_that_is_asked_for(void **state) {
    (void)state;
    fixture_census *c = fixture_census_of("prog", 0);
    fixture_site(c, "prog", "one", 10, 100)->allocated = 5;
    fixture_site(c, "prog", "two", 1, 1000)->allocated = 7;
    fixture_site(c, "prog", "three", 5, 500)->allocated = 6;
    c->site[0].oldest_ns = 3, c->site[1].oldest_ns = 4, c->site[2].oldest_ns = 2;
    static const char *const expected[MT_SORTS][2] = {
        {"two", "three"}, {"one", "three"}, {"three", "one"}, {"two", "three"}};
    for (int sort = 0; sort < MT_SORTS; sort++) {
        mt_show show = MT_SHOW_DEFAULT;
        show.sort[0] = (mt_show_sort)sort;
        show.top = 2;
        char *got = fixture_shown(&c->census, &show, MT_SHOWN_LEFT);
        assert_true(in_order(got, expected[sort][0], expected[sort][1]));
        assert_non_null(strstr(got, "in 1 stack more: --top 0"));
        assert_null(strstr(got, "#3"));
        assert_int_equal(strstr(got, "[allocs: 7/") != NULL, sort == MT_SORT_ALLOCS);
        free(got);
    }
    mt_show show = MT_SHOW_DEFAULT;
    show.sort[1] = MT_SORT_AGE;
    show.sorts = 2;
    char *got = fixture_shown(&c->census, &show, MT_SHOWN_LEFT);
    assert_true(in_order(got, "by size", "by age"));
    assert_false(in_order(got, "traced size", "traced size"));
    free(got);
    free(c);
}

static void lines_are_shown_and_left_out_on_request(void **state) {
    (void)state;
    fixture_census *c = fixture_census_of("lined", 0);
    fixture_site(c, "lined", "two", 1, 10);
    mt_show show = MT_SHOW_DEFAULT;
    char *got = fixture_shown(&c->census, &show, MT_SHOWN_LEFT);
    char expected[64];
    snprintf(expected, sizeof expected, "two +0x1 (lined) %s/lined.c:2\n",
             strrchr(fixture_folder, '/') + 1);
    assert_non_null(strstr(got, expected));
    free(got);
    show.wide = true;
    got = fixture_shown(&c->census, &show, MT_SHOWN_LEFT);
    snprintf(expected, sizeof expected, " %s\n", fixture_path("lined.c:2"));
    assert_non_null(strstr(got, expected));
    free(got);
    show.no_lines = true;
    got = fixture_shown(&c->census, &show, MT_SHOWN_LEFT);
    assert_null(strstr(got, "lined.c"));
    free(got);
    free(c);
}

static void inlined_functions_are_marked(void **state) {
    (void)state;
    int lines[4];
    fixture_make("gcc -shared -fPIC -O2 -g -Wl,--build-id -o $D/inl.so $PWD/$F/lines.c");
    uint64_t inside = fixture_address("inl.so", lines) + 1;
    fixture_census *c = fixture_census_of("inl.so", 0);
    fixture_site(c, "inl.so", "fixture", 1, 10);
    c->stack[0][1] = PROG + inside;
    mt_show show = MT_SHOW_DEFAULT;
    char *got = fixture_shown(&c->census, &show, MT_SHOWN_LEFT), expected[512];
    snprintf(expected, sizeof expected,
             " 1 [%#14" PRIx64 "] innermost (inlined) fixtures/lines.c:%d\n"
             " 1 [%#14" PRIx64 "] middle (inlined) fixtures/lines.c:%d\n"
             " 1 [%#14" PRIx64 "] a_static_function +",
             c->stack[0][1], lines[0], c->stack[0][1], lines[1], c->stack[0][1]);
    assert_non_null(strstr(got, expected));
    free(got);
    c->census.unnoted = 7;
    got = fixture_shown(&c->census, &show, MT_SHOWN_LEFT);
    assert_non_null(
        strstr(got, "no names: 7 files were mapped when 4096 places had been noted"));
    free(got);
    show.flame_graph = true;
    got = fixture_shown(&c->census, &show, MT_SHOWN_LEFT);
    assert_string_equal(got, "a_static_function;middle;innermost;malloc 10\n");
    free(got);
    free(c);
}

static void estimates_show_their_errors(void **state) {
    (void)state;
    fixture_census *c = fixture_census_of("prog", 0);
    mt_census_site *s = fixture_site(c, "prog", "one", 40, 50000);
    c->census.exact = false;
    c->census.interval = 4096;
    c->census.thinned = 3;
    s->count_variance = 26;
    s->bytes_variance = 4e6;
    mt_show show = MT_SHOW_DEFAULT;
    char *got = fixture_shown(&c->census, &show, MT_SHOWN_LEFT);
    assert_non_null(strstr(got, "[count/peak: 40 ± 5/80] [size/peak: 50.000 KB ± 2.000 KB/"));
    assert_non_null(strstr(got, ": 50.000 KB ± 2.000 KB in 40 ± 5 chunks\n"));
    assert_non_null(strstr(got,
                           "estimated, one drawn every 4.096 KB; 7 chunks known, 0 ignored, "
                           "3 thinned\n"));
    free(got);
    free(c);
}

static void what_is_young_or_ignored_is_left_out_and_counted(void **state) {
    (void)state;
    fixture_census *c = fixture_census_of("prog", 0);
    fixture_site(c, "prog", "one", 1, 100);
    fixture_site(c, "prog", "two", 1, 200);
    fixture_site(c, "prog", "three two", 1, 400);
    c->site[2].oldest_ns = NOW - 5000 * MS;
    c->site[0].oldest_ns = NOW - 5000 * MS;
    mt_show show = MT_SHOW_DEFAULT;
    show.leaks_only_ns = 1000 * MS;
    char *got = fixture_shown(&c->census, &show, MT_SHOWN_LEFT);
    assert_non_null(strstr(got, "traced size                : 500 bytes in 2 chunks"));
    assert_non_null(strstr(got, "too young                  : 200 bytes in 1 stack"));
    free(got);
    show = MT_SHOW_DEFAULT;
    fixture_make("printf '# known\\nleak:^two$\\n' > $D/known");
    show.ignore_path = fixture_path("known");
    got = fixture_shown(&c->census, &show, MT_SHOWN_LEFT);
    assert_non_null(strstr(got, "traced size                : 100 bytes in 1 chunk\n"));
    assert_non_null(strstr(got, "ignored by patterns        : 600 bytes in 2 stacks"));
    free(got);
    fixture_make("echo prog > $D/all");
    show.ignore_path = fixture_path("all");
    got = fixture_shown(&c->census, &show, MT_SHOWN_NOTHING);
    assert_string_equal(got, "");
    free(got);
    free(c);
}

/* Names as a hostile file may have them: mt_saved needs no file for them. */
static void hostile_names_reach_no_terminal(void **state) {
    (void)state;
    static char huge[300000];
    memset(huge, 'x', sizeof huge - 1);
    memcpy(huge, "begin", 5);
    memcpy(huge + sizeof huge - 4, "end", 3);
    const char *const bad[] = {"\033]0;owned\a",
                               "a\nb\r\tc",
                               "\x9b"
                               "31m",
                               "\xc2\x9b"
                               "31m",
                               "\xff\xfe",
                               "\xe2\x80\xae"
                               "gnp.exe",
                               "",
                               huge,
                               "a;b 12"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const uint64_t stack[] = {0x1000};
        const uint32_t number[] = {0};
        mt_names_frame frame = {bad[i], 4, bad[i], 7, false};
        mt_names_place place = {bad[i], 0x1000, 1, &frame};
        mt_census_site site = {.stack = stack, .frames = 1, .count = 1, .bytes = 5};
        mt_saved saved = {.stacks = stack, .number = number, .place = &place};
        mt_view view = {.saved = &saved};
        mt_show show = MT_SHOW_DEFAULT;
        char *text = NULL;
        size_t n;
        FILE *out = open_memstream(&text, &n);
        mt_report_stack(&view, &site, &show, out);
        fclose(out);
        assert_true(n < 600);
        assert_int_equal(n - strcspn(text, "\n"), 2); /* one line and an empty one */
        for (size_t k = 0; k + 2 < n; k++) unit_in_range((unsigned char)text[k], 0x20, 0x7e);
        if (bad[i] == huge) assert_non_null(strstr(text, "xxx...xxx"));
        if (bad[i] == huge) assert_non_null(strstr(text, "xend"));
        free(text);
    }
}

/* "a;b;c 12": nothing else, as flamegraph.pl splits it. */
static void collapsed_stacks_have_one_shape(void **state) {
    (void)state;
    fixture_census *c = fixture_census_of("prog", 0);
    fixture_site(c, "prog", "one two three", 4, 100);
    fixture_site(c, "prog", "three", 4, 50);
    c->stack[1][2] = 0x10;           /* in no file */
    c->stack[1][3] = PROG + 0xfffff; /* in no function */
    c->site[1].frames = 4;
    mt_show show = MT_SHOW_DEFAULT;
    show.flame_graph = true;
    char *got = fixture_shown(&c->census, &show, MT_SHOWN_LEFT);
    assert_string_equal(got, "three;two;one;malloc 100\n"
                             "prog+0xfffff;[unknown];three;malloc 50\n");
    free(got);
    show.top = 1;
    show.top_given = true;
    got = fixture_shown(&c->census, &show, MT_SHOWN_LEFT);
    assert_string_equal(got, "three;two;one;malloc 100\n");
    free(got);
    show.flame_graph = false;
    show.top_given = false;
    show.collapsed_path = fixture_path("stacks");
    free(fixture_shown(&c->census, &show, MT_SHOWN_LEFT));
    got = fixture_read("stacks");
    assert_int_equal(strlen(got), strlen("three;two;one;malloc 100\n"
                                         "prog+0xfffff;[unknown];three;malloc 50\n"));
    free(got);
    struct stat st;
    assert_int_equal(stat(fixture_path("stacks"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    free(c);
}

static void a_file_that_cannot_be_written_keeps_no_other_from_it(void **state) {
    (void)state;
    fixture_census *c = fixture_census_of("prog", 0);
    fixture_site(c, "prog", "one", 4, 100);
    mt_show show = MT_SHOW_DEFAULT;
    show.pprof_path = fixture_path("no/such/folder");
    show.save_path = fixture_path("kept");
    assert_int_equal(mt_show_check(&show), -1);
    char *got = fixture_shown(&c->census, &show, MT_SHOWN_FAILED);
    assert_non_null(strstr(got, "backtrace #1"));
    free(got);
    assert_int_equal(access(show.save_path, R_OK), 0);
    show.pprof_path = NULL;
    assert_int_equal(mt_show_check(&show), 0);
    show.ignore_path = fixture_path("no patterns");
    assert_int_equal(mt_show_check(&show), -1);
    free(fixture_shown(&c->census, &show, MT_SHOWN_FAILED));
    show.ignore_path = NULL;
    show.diff_path = fixture_path("no census");
    assert_int_equal(mt_show_check(&show), -1);
    free(fixture_shown(&c->census, &show, MT_SHOWN_FAILED));
    show.diff_path = NULL;
    show.save_path = "/dev/full";
    free(fixture_shown(&c->census, &show, MT_SHOWN_FAILED));
    free(c);
}

static void files_that_are_gone_are_told_of(void **state) {
    (void)state;
    fixture_program("gone", "", SOURCE);
    fixture_census *c = fixture_census_of("gone", 0);
    fixture_site(c, "gone", "one", 4, 100);
    fixture_make("rm $D/gone");
    mt_show show = MT_SHOW_DEFAULT;
    char *got = fixture_shown(&c->census, &show, MT_SHOWN_LEFT);
    assert_non_null(strstr(got, "] gone (+0x"));
    assert_non_null(strstr(got, "gone: the file is not there any more\n"));
    free(got);
    free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_report_is_what_users_of_heaptrace_know),
        cmocka_unit_test(where_everything_is_freed_nothing_is_printed),
        cmocka_unit_test(sites_come_in_the_order_that_is_asked_for),
        cmocka_unit_test(lines_are_shown_and_left_out_on_request),
        cmocka_unit_test(inlined_functions_are_marked),
        cmocka_unit_test(estimates_show_their_errors),
        cmocka_unit_test(what_is_young_or_ignored_is_left_out_and_counted),
        cmocka_unit_test(hostile_names_reach_no_terminal),
        cmocka_unit_test(collapsed_stacks_have_one_shape),
        cmocka_unit_test(a_file_that_cannot_be_written_keeps_no_other_from_it),
        cmocka_unit_test(files_that_are_gone_are_told_of),
    };
    return cmocka_run_group_tests(tests, start, fixture_end);
}
