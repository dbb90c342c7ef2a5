/* Taking one entry out of LD_PRELOAD and leaving everything else as it was. */
#include "unit.h"

#include <string.h>

#include "hook/environment.h"

static int is_ours(const char *entry) {
    return strcmp(entry, "/x/mtrace.so") == 0;
}

/* What LD_PRELOAD becomes; NULL if the variable is gone. */
static void becomes(const char *before, const char *after, int removed) {
    char first[] = "A=1", last[] = "LD_PRELOADED=/x/mtrace.so", value[200];
    snprintf(value, sizeof value, "LD_PRELOAD=%s", before);
    char *environment[] = {first, value, last, NULL};
    char unchanged[200];
    memcpy(unchanged, value, sizeof unchanged);
    assert_int_equal(mt_environment_count(environment, is_ours), removed);
    assert_string_equal(value, unchanged);
    assert_int_equal(mt_environment_remove(environment, is_ours), removed);
    assert_string_equal(environment[0], "A=1");
    if (after) {
        assert_string_equal(environment[1] + strlen("LD_PRELOAD="), after);
        assert_string_equal(environment[2], "LD_PRELOADED=/x/mtrace.so");
        assert_null(environment[3]);
    } else {
        assert_string_equal(environment[1], "LD_PRELOADED=/x/mtrace.so");
        assert_null(environment[2]);
    }
}

static void only_our_entry_goes(void **state) {
    (void)state;
    becomes("/x/mtrace.so", NULL, 1);
    becomes("/x/mtrace.so:/y.so", "/y.so", 1);
    becomes("/y.so:/x/mtrace.so", "/y.so", 1);
    becomes("/y.so /x/mtrace.so", "/y.so", 1);
    becomes("/y.so:/x/mtrace.so:/z.so", "/y.so:/z.so", 1);
    becomes("/y.so /x/mtrace.so:/z.so", "/y.so /z.so", 1);
    becomes("/x/mtrace.so:/x/mtrace.so", NULL, 2);
}

static void other_values_stay_to_the_letter(void **state) {
    (void)state;
    becomes("/y.so", "/y.so", 0);
    becomes("/y.so::  /z.so: ", "/y.so::  /z.so: ", 0);
    becomes("", "", 0);
    becomes("/x/mtrace.so.old", "/x/mtrace.so.old", 0);
    becomes("/y/x/mtrace.so", "/y/x/mtrace.so", 0);
}

/* putenv("LD_PRELOAD=...") with a literal: writing to it was a fault. */
static void what_has_no_entry_of_ours_is_not_written_to(void **state) {
    (void)state;
    char *environment[] = {(char *)"LD_PRELOAD=/opt/a.so:/opt/b.so", NULL};
    assert_int_equal(mt_environment_remove(environment, is_ours), 0);
}

static void an_absurdly_long_entry_is_not_ours(void **state) {
    (void)state;
    char *value = malloc(100000);
    memset(value, 'a', 99999);
    memcpy(value, "LD_PRELOAD=", 11);
    memcpy(value + 99980, ":/x/mtrace.so", 14);
    char *environment[] = {value, NULL};
    assert_int_equal(mt_environment_remove(environment, is_ours), 1);
    assert_int_equal(strlen(value), 99980);
    free(value);
}

/* Go's runtime looks for the vector behind the list, and would end without it. */
static void the_vector_stays_behind_the_list(void **state) {
    (void)state;
    char a[] = "A=1", ours[] = "LD_PRELOAD=/x/mtrace.so", b[] = "MTRACE=1";
    char *kernels[] = {ours, a, b, NULL, (char *)6, (char *)4096, NULL, NULL};
    char **edited = mt_environment_copy(kernels);
    assert_non_null(edited);
    mt_environment_remove(edited, is_ours);
    mt_environment_drop(edited, "MTRACE");
    mt_environment_settle(kernels, edited);
    assert_true(edited[0] == a && !edited[1]);
    assert_true((uintptr_t)edited[2] == 6 && (uintptr_t)edited[3] == 4096 && !edited[4]);
    assert_true(kernels[0] == a && kernels[1] == a && kernels[2] == a && !kernels[3]);
    assert_true((uintptr_t)kernels[4] == 6);
}

static void of_a_list_of_ours_alone_nothing_is_left(void **state) {
    (void)state;
    char ours[] = "LD_PRELOAD=/x/mtrace.so";
    char *kernels[] = {ours, NULL, NULL, NULL};
    char **edited = mt_environment_copy(kernels);
    mt_environment_remove(edited, is_ours);
    mt_environment_settle(kernels, edited);
    assert_null(edited[0]);
    assert_string_equal(kernels[0], "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_our_entry_goes),
        cmocka_unit_test(other_values_stay_to_the_letter),
        cmocka_unit_test(what_has_no_entry_of_ours_is_not_written_to),
        cmocka_unit_test(an_absurdly_long_entry_is_not_ours),
        cmocka_unit_test(the_vector_stays_behind_the_list),
        cmocka_unit_test(of_a_list_of_ours_alone_nothing_is_left),
    };
    return cmocka_run_group_tests_name("environment", tests, NULL, NULL);
}
