/* What came with the program, and what came later. */
#include "unit.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "record/startup.h"

static bool is_listed(uintptr_t address) {
    mt_startup_code code[128];
    int n = mt_startup_list(code, 128);
    assert_true(n > 2 && n <= 128);
    for (int i = 0; i < n; i++)
        if (address >= code[i].lo && address < code[i].hi) return true;
    return false;
}

static void the_program_and_what_it_needs_stay(void **state) {
    (void)state;
    assert_true(is_listed((uintptr_t)the_program_and_what_it_needs_stay));
    assert_true(is_listed((uintptr_t)dlsym(RTLD_DEFAULT, "snprintf")));
    assert_true(is_listed((uintptr_t)dlsym(RTLD_DEFAULT, "_assert_true"))); /* cmocka */
}

/* A library that a constructor had opened was taken for one that stays; when it was closed, and
 * another came to its place, stacks went on by the first one's rules. */
static void what_was_opened_since_may_go(void **state) {
    (void)state;
    void *handle = dlopen("libcrypt.so.1", RTLD_NOW);
    if (!handle) handle = dlopen("libz.so.1", RTLD_NOW);
    if (!handle) skip();
    void *function = dlsym(handle, "crypt");
    if (!function) function = dlsym(handle, "zlibVersion");
    assert_non_null(function);
    assert_false(is_listed((uintptr_t)function));
    dlclose(handle);
}

static void no_more_than_there_is_room_for(void **state) {
    (void)state;
    mt_startup_code code[2] = {{0, 0}, {0, 0}};
    assert_int_equal(mt_startup_list(code, 1), 1);
    assert_true(code[0].lo < code[0].hi && code[1].hi == 0);
    assert_int_equal(mt_startup_list(code, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_program_and_what_it_needs_stay),
        cmocka_unit_test(what_was_opened_since_may_go),
        cmocka_unit_test(no_more_than_there_is_room_for),
    };
    return cmocka_run_group_tests_name("startup", tests, NULL, NULL);
}
