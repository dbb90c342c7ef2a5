/* Patterns, with the meaning that lib/mtrace/pattern.ex gives them. */
#include "fixture.h"

#include "ctl/show/ignore.h"

static mt_ignore *patterns(const char *text) {
    FILE *file = fopen(fixture_path("patterns"), "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    mt_ignore *ignore = mt_ignore_read(fixture_path("patterns"));
    assert_non_null(ignore);
    return ignore;
}

static void a_pattern_is_found_anywhere_unless_anchored(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool found;
    } cases[] = {{"b", "abc", true},
                 {"d", "abc", false},
                 {"^b", "abc", false},
                 {"^ab", "abc", true},
                 {"bc$", "abc", true},
                 {"b$", "abc", false},
                 {"^abc$", "abc", true},
                 {"^abc$", "abcabc", false},
                 {"a*c", "xabbcx", true},
                 {"a*c", "cba", false},
                 {"^a*c$", "abcabc", true},
                 {"^a*c$", "abcab", false},
                 {"a*ab$", "abaab", true},
                 {"^ab*ab$", "ab", false},
                 {"^ab*ba$", "aba", false},
                 {"*", "", true},
                 {"^*$", "anything", true},
                 {"a**c", "ac", true},
                 {"^", "", true},
                 {"$", "x", true},
                 {"^$", "", true},
                 {"^$", "x", false},
                 {"f(int", "f(int)", true},
                 {".", "abc", false},
                 {"[ab]", "a", false},
                 {"a^b", "xa^by", true},
                 {"a$b", "xa$by", true},
                 {"*b", "ab", true},
                 {"leak:foo", "foo", true},
                 {"main", "__libc_start_main", true},
                 {"^main$", "__libc_start_main", false},
                 {"^main$", "main", true},
                 {"{lambda", "f()::{lambda()#1}", true},
                 {"leak:foo", "leak:foo", true},
                 {"leak:", "leak:", false},
                 {"  foo\t", "foo", true},
                 {"# foo", "# foo", false},
                 {"fo o\r", "a fo ob", true},
                 {"\xff*z", "\xfe\xff\nz", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mt_ignore *ignore = patterns(cases[i].pattern);
        if (mt_ignore_match(ignore, cases[i].name) != cases[i].found)
            fail_msg("%s in %s", cases[i].pattern, cases[i].name);
        mt_ignore_free(ignore);
    }
}

static void any_line_and_any_name_of_a_place_will_do(void **state) {
    (void)state;
    mt_ignore *ignore = patterns("\n# comment\r\n\r\nleak:one\r\n^/lib/two.so$\nthree.c");
    mt_names_frame frames[] = {{.function = "zero"}, {.function = NULL}};
    mt_names_place place[5];
    for (int i = 0; i < 5; i++) place[i] = (mt_names_place){NULL, 0, 2, frames};
    assert_false(mt_ignore_place(ignore, &place[0]));
    frames[1].function = "a_one_b";
    assert_false(mt_ignore_place(ignore, &place[0])); /* asked once */
    assert_true(mt_ignore_place(ignore, &place[1]));
    frames[1] = (mt_names_frame){.file = "/src/three.c"};
    assert_true(mt_ignore_place(ignore, &place[2]));
    frames[1].file = NULL;
    place[3].object = "/lib/two.so";
    assert_true(mt_ignore_place(ignore, &place[3]));
    place[4].object = "/usr/lib/two.so";
    assert_false(mt_ignore_place(ignore, &place[4]));
    assert_false(mt_ignore_match(ignore, NULL));
    mt_ignore_free(ignore);
}

static void many_places_keep_their_answers(void **state) {
    (void)state;
    enum { N = 5000 };
    mt_ignore *ignore = patterns("7$");
    static char name[N][8];
    static mt_names_frame frame[N];
    static mt_names_place place[N];
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < N; i++) {
            snprintf(name[i], sizeof name[i], "%d", i % 10000);
            frame[i].function = name[i];
            place[i] = (mt_names_place){NULL, 0, 1, &frame[i]};
            assert_int_equal(mt_ignore_place(ignore, &place[i]), i % 10 == 7);
        }
    mt_ignore_free(ignore);
}

static void what_cannot_be_read_is_refused(void **state) {
    (void)state;
    assert_null(mt_ignore_read(fixture_path("absent")));
    assert_null(mt_ignore_read(fixture_folder));
    FILE *file = fopen(fixture_path("valgrind"), "w");
    fputs("# known\n{\n   a name\n   Memcheck:Leak\n   fun:malloc\n   fun:main\n}\n", file);
    fclose(file);
    assert_null(mt_ignore_read(fixture_path("valgrind")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pattern_is_found_anywhere_unless_anchored),
        cmocka_unit_test(any_line_and_any_name_of_a_place_will_do),
        cmocka_unit_test(many_places_keep_their_answers),
        cmocka_unit_test(what_cannot_be_read_is_refused),
    };
    return cmocka_run_group_tests(tests, fixture_start, fixture_end);
}
