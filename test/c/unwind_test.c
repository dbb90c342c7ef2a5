/* Stacks by libunwind, and what libunwind must not do. */
#include "unit.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "record/slots.h"
#include "record/thread.h"
#include "record/unwind.h"

static mt_thread block;
static void **stack;
static uint32_t frames;

static __attribute__((noinline)) void hook(uint32_t max) {
    frames = mt_unwind(&block, max, (void *)hook, MT_WALK_FROM_CALLER, &stack);
    __asm__ volatile("" ::: "memory");
}

static __attribute__((noinline)) void descend(int n, uint32_t max) {
    if (n) descend(n - 1, max);
    else hook(max);
    __asm__ volatile("" ::: "memory");
}

static int descriptors(void) {
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}

static const char *function_at(void *address) {
    Dl_info info;
    return dladdr((char *)address - 1, &info) && info.dli_sname ? info.dli_sname : "";
}

static void the_stack_begins_at_the_hook_and_goes_to_main(void **state) {
    (void)state;
    descend(10, MT_DEPTH_MAX);
    assert_true(frames > 12);
    assert_true((char *)stack[0] > (char *)hook && (char *)stack[0] < (char *)hook + 400);
    int main_at = -1;
    for (uint32_t i = 0; i < frames; i++)
        if (strcmp(function_at(stack[i]), "main") == 0) main_at = (int)i;
    assert_true(main_at > 11);
}

static void the_depth_is_kept(void **state) {
    (void)state;
    for (uint32_t max = 2; max < 10; max++) {
        descend(20, max);
        assert_int_equal(frames, max);
    }
}

static void no_descriptor_is_opened(void **state) {
    (void)state;
    int before = descriptors();
    descend(5, 16);
    assert_int_equal(descriptors(), before);
}

/* A stack that ends in nowhere makes libunwind test addresses. errno must not make it hang. */
static void a_stack_that_leads_nowhere_ends_cleanly(void **state) {
    (void)state;
    void *library = dlopen("libunwind.so.8", RTLD_NOW | RTLD_NOLOAD);
    assert_non_null(library);
    struct link_map *map;
    assert_int_equal(dlinfo(library, RTLD_DI_LINKMAP, &map), 0);
    int before = descriptors();
    for (int error = 0; error < 2; error++) {
        errno = error ? EINTR : 0;
        descend(3, 16);
        assert_true(frames > 4);
    }
    assert_int_equal(descriptors(), before);
}

static long never(void) {
    return -1;
}

static void slots_of_unknown_functions_are_none(void **state) {
    (void)state;
    struct link_map *map;
    dlinfo(dlopen("libunwind.so.8", RTLD_NOW), RTLD_DI_LINKMAP, &map);
    assert_int_equal(mt_slots_point(map, "no_such_function", (void *)never), 0);
    assert_int_equal(mt_slots_point(map, "", (void *)never), 0);
}

static int start(void **state) {
    (void)state;
    hook(16);
    if (frames != 2) return -1; /* not started yet: hook and return address */
    mt_unwind_start(false, true);
    mt_unwind_start(false, true);
    return mt_unwind_kind() == MT_UNWINDER_LIBUNWIND ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_stack_begins_at_the_hook_and_goes_to_main),
        cmocka_unit_test(the_depth_is_kept),
        cmocka_unit_test(no_descriptor_is_opened),
        cmocka_unit_test(a_stack_that_leads_nowhere_ends_cleanly),
        cmocka_unit_test(slots_of_unknown_functions_are_none),
    };
    return cmocka_run_group_tests_name("unwind", tests, start, NULL);
}
