/* Lines of /proc/self/maps: what is understood, and what is not. */
#include "unit.h"

#include <string.h>

#include "record/mapped.h"

static bool parse(const char *line, mt_mapped *m) {
    return mt_mapped_parse(line, strlen(line), m);
}

static void a_line_is_understood(void **state) {
    (void)state;
    mt_mapped m;
    char path[64];
    assert_true(parse("7f0012345000-7f0012346000 r-xp 00002000 fe:01 131075"
                      "                     /usr/lib/a b.so (deleted)",
                      &m));
    assert_true(m.lo == 0x7f0012345000 && m.hi == 0x7f0012346000 && m.offset == 0x2000);
    assert_true(m.executable && m.inode == 131075 && m.device == (0xfeull << 32 | 1));
    mt_mapped_path(&m, path, sizeof path);
    assert_string_equal(path, "/usr/lib/a b.so");
    assert_true(parse("1000-2000 rw-p 00000000 00:00 0 ", &m));
    assert_false(m.executable);
    assert_int_equal(m.inode, 0);
    assert_int_equal(m.path_bytes, 0);
    assert_true(parse("1000-2000 r-xp 00000000 00:00 0    [vdso]", &m));
    mt_mapped_path(&m, path, sizeof path);
    assert_string_equal(path, "");
    assert_true(parse("1000-2000 r-xp 00000000 00:01 7    /memfd:jit (deleted)", &m));
    mt_mapped_path(&m, path, sizeof path);
    assert_string_equal(path, "");
}

static void what_is_no_line_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"",
                                      "x",
                                      "1000",
                                      "1000-2000",
                                      "1000-2000 r-x",
                                      "2000-1000 r-xp 00000000 00:00 0 ",
                                      "1000-1000 r-xp 00000000 00:00 0 ",
                                      "1000-2000 r-xp 0000000g 00:00 0 ",
                                      "1000-2000 r-xp 00000000 0000 0 ",
                                      "1000-2000 r-xp 00000000 00:00 x "};
    mt_mapped m;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(parse(bad[i], &m));
}

static void of_a_path_that_is_too_long_the_end_is_kept(void **state) {
    (void)state;
    mt_mapped m;
    char path[16];
    assert_true(parse("1000-2000 r-xp 00000000 00:01 7 /a/very/long/path/lib.so", &m));
    mt_mapped_path(&m, path, sizeof path);
    assert_string_equal(path, ".../path/lib.so");
    assert_true(parse("1000-2000 r-xp 00000000 00:01 7 /fifteen/bytes.", &m));
    mt_mapped_path(&m, path, sizeof path);
    assert_string_equal(path, "/fifteen/bytes.");
}

/* Under a sanitizer this also shows that nothing beyond the line is read. */
static void no_line_does_any_harm(void **state) {
    (void)state;
    static const char line[] =
        "7f0012345000-7f0012346000 r-xp 00002000 fe:01 131075      /lib/x (deleted)";
    uint64_t random = unit_seed();
    for (int i = 0; i < 20000; i++) {
        size_t n = unit_random(&random) % sizeof line;
        char *copy = malloc(n + 1), path[12];
        mt_mapped m;
        memcpy(copy, line, n);
        for (uint64_t k = unit_random(&random) % 4; n && k > 0; k--)
            copy[unit_random(&random) % n] = (char)unit_random(&random);
        char *exact = realloc(copy, n ? n : 1);
        if (mt_mapped_parse(exact, n, &m)) {
            assert_true(m.lo < m.hi);
            assert_true(m.path >= exact && m.path + m.path_bytes <= exact + n);
            mt_mapped_path(&m, path, sizeof path);
            assert_true(strlen(path) < sizeof path);
        }
        free(exact);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_understood),
        cmocka_unit_test(what_is_no_line_is_refused),
        cmocka_unit_test(of_a_path_that_is_too_long_the_end_is_kept),
        cmocka_unit_test(no_line_does_any_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
