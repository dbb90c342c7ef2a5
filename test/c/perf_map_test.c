/* Perf maps, among them ones that are not to be believed. */
#include "unit.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "name/jit.h"
#include "name/perf_map.h"

static char path[64], other[80];

static int choose_path(void **state) {
    (void)state;
    snprintf(path, sizeof path, "/tmp/perf-%d.map", (int)getpid());
    snprintf(other, sizeof other, "%s.other", path);
    return 0;
}

static int remove_files(void **state) {
    (void)state;
    unlink(path);
    unlink(other);
    return 0;
}

static void write_file(const char *name, const char *text) {
    int file = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(file, text, strlen(text)), strlen(text));
    close(file);
}

static const char *name_at(const mt_jit *jit, uintptr_t address) {
    mt_erlang found;
    return mt_jit_find(jit, address, &found) ? found.name : "";
}

static void names_come_from_the_map_where_there_is_no_list(void **state) {
    (void)state;
    mt_jit jit = {0};
    write_file(path, "0x7f0010 10 $lists:foldl/3\n7f0000 8 plain name\n"
                     "0x7f000c 4 $lists:foldl/3-CodeInfoPrologue\n"
                     "0x7f0020 20 $'Elixir.A b':c/1\n");
    assert_int_equal(mt_jit_read(&jit), 0);
    assert_int_equal(jit.n, 4);
    assert_string_equal(name_at(&jit, 0x7f000c), "lists:foldl/3");
    assert_string_equal(name_at(&jit, 0x7f0000), "plain name");
    assert_string_equal(name_at(&jit, 0x7f0008), "");
    assert_string_equal(name_at(&jit, 0x7f0010), "lists:foldl/3");
    assert_string_equal(name_at(&jit, 0x7f001f), "lists:foldl/3");
    assert_string_equal(name_at(&jit, 0x7f003f), "'Elixir.A b':c/1");
    assert_string_equal(name_at(&jit, 0x7f0040), "");
    mt_jit_empty(&jit);
}

static int parse(mt_jit *jit, const char *text, size_t n) {
    char *copy = malloc(n + 1); /* ASan watches its end */
    memcpy(copy, text, n);
    copy[n] = '\0';
    int result = mt_perf_map_parse(&jit->arena, copy, n, &jit->range, &jit->n);
    for (uint32_t i = 0; result == 0 && i < jit->n; i++) {
        assert_true(jit->range[i].lo < jit->range[i].hi);
        assert_true(i == 0 || jit->range[i - 1].hi <= jit->range[i].lo);
        unit_in_range((uintptr_t)jit->range[i].name, (uintptr_t)copy, (uintptr_t)copy + n);
        assert_true(jit->range[i].name + strlen(jit->range[i].name) <= copy + n);
    }
    free(copy);
    return result;
}

static uint32_t count(const char *text) {
    mt_jit jit = {0};
    uint32_t n = parse(&jit, text, strlen(text)) == 0 ? jit.n : 0;
    mt_arena_empty(&jit.arena);
    return n;
}

static void lines_that_make_no_sense_are_passed_over(void **state) {
    (void)state;
    static const char *const senseless[] = {"",
                                            "\n",
                                            "1 1\n",
                                            "1 1 \n",
                                            "1 1 $\n",
                                            "1 0 a\n",
                                            "0x 1 a\n",
                                            "g 1 a\n",
                                            " 1 1 a\n",
                                            "-1 1 a\n",
                                            "1 1 a",
                                            "1\t1\ta\n",
                                            "1 0xg a\n",
                                            "1ffffffffffffffff 1 a\n",
                                            "ffffffffffffffff 2 a\n",
                                            "1 ffffffffffffffff a\n"};
    for (size_t i = 0; i < sizeof senseless / sizeof *senseless; i++) {
        char text[128];
        if (count(senseless[i])) fail_msg("believed: %s", senseless[i]);
        snprintf(text, sizeof text, "100 1 a\n%s\n200 1 b\n", senseless[i]);
        /* an unfinished line has become a whole one */
        assert_int_equal(count(text), strcmp(senseless[i], "1 1 a") == 0 ? 3 : 2);
    }
}

static void of_two_that_overlap_the_later_holds(void **state) {
    (void)state;
    mt_jit jit = {0};
    write_file(path,
               "100 100 $old:f/1\n300 10 $other:f/1\n150 100 $new:f/1\n100 10 $newer:f/1\n");
    assert_int_equal(mt_jit_read(&jit), 0);
    assert_string_equal(name_at(&jit, 0x100), "newer:f/1");
    assert_string_equal(name_at(&jit, 0x120), "");
    assert_string_equal(name_at(&jit, 0x160), "new:f/1");
    assert_string_equal(name_at(&jit, 0x300), "other:f/1");
    mt_jit_empty(&jit);
}

static void only_a_regular_file_of_this_process_is_believed(void **state) {
    (void)state;
    mt_jit jit = {0};
    struct timespec old[2] = {{.tv_sec = time(NULL) - 1000000},
                              {.tv_sec = time(NULL) - 1000000}};
    write_file(other, "100 100 $a:b/1\n");
    assert_int_equal(symlink(other, path), 0);
    assert_int_equal(mt_jit_read(&jit), -1);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(mt_jit_read(&jit), -1);
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(mt_jit_read(&jit), -1);
    rmdir(path);
    write_file(path, "100 100 $a:b/1\n");
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0),
                     0); /* of an earlier one with our number */
    assert_int_equal(mt_jit_read(&jit), -1);
    assert_int_equal(utimensat(AT_FDCWD, path, NULL, 0), 0);
    assert_int_equal(mt_jit_read(&jit), 0);
    mt_jit_empty(&jit);
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 65534, 65534), 0);
        assert_int_equal(mt_jit_read(&jit), -1);
    }
}

static void damaged_maps_do_no_harm(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    for (int round = 0; round < 5000; round++) {
        static const char alphabet[] = "\n\n  $0x1fA:/'\0\377";
        char text[2048];
        size_t n = 0;
        mt_jit jit = {0};
        for (int i = 0; i < 20; i++)
            n += (size_t)sprintf(text + n, "%#x %x $m%d:f/1\n",
                                 (unsigned)(unit_random(&seed) % 4096),
                                 (unsigned)(unit_random(&seed) % 64), i);
        for (int k = (int)(unit_random(&seed) % 12); k > 0; k--)
            text[unit_random(&seed) % n] = alphabet[unit_random(&seed) % (sizeof alphabet - 1)];
        parse(&jit, text, unit_random(&seed) % (n + 1));
        mt_arena_empty(&jit.arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(names_come_from_the_map_where_there_is_no_list, remove_files),
        cmocka_unit_test(lines_that_make_no_sense_are_passed_over),
        cmocka_unit_test_teardown(of_two_that_overlap_the_later_holds, remove_files),
        cmocka_unit_test_teardown(only_a_regular_file_of_this_process_is_believed,
                                  remove_files),
        cmocka_unit_test(damaged_maps_do_no_harm),
    };
    return cmocka_run_group_tests(tests, choose_path, remove_files);
}
