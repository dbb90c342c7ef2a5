/* What is mapped in this process, and whose code an address is. */
#include "unit.h"

#include <dlfcn.h>
#include <string.h>

#include "name/objects.h"

static __attribute__((noinline, used)) int here(int x) {
    return x + 1;
}

static void addresses_are_named_by_object_and_function(void **state) {
    (void)state;
    mt_objects objects = {0};
    assert_int_equal(mt_objects_read(&objects), 0);
    mt_object *own = mt_objects_find(&objects, (uintptr_t)here);
    assert_non_null(own);
    assert_non_null(strstr(own->path, "objects_test"));
    assert_string_equal(mt_objects_symbol(own, (uintptr_t)here), "here");
    mt_object *cmocka =
        mt_objects_find(&objects, (uintptr_t)dlsym(RTLD_DEFAULT, "_assert_true"));
    assert_non_null(strstr(cmocka->path, "libcmocka"));
    mt_objects_empty(&objects);
}

static void addresses_in_no_object_are_unknown(void **state) {
    (void)state;
    mt_objects objects = {0};
    int local;
    char *heap = malloc(100);
    mt_objects_read(&objects);
    assert_null(mt_objects_find(&objects, 0));
    assert_null(mt_objects_find(&objects, (uintptr_t)&local));
    assert_null(mt_objects_find(&objects, (uintptr_t)heap));
    assert_null(mt_objects_find(&objects, UINTPTR_MAX));
    free(heap);
    mt_objects_empty(&objects);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_named_by_object_and_function),
        cmocka_unit_test(addresses_in_no_object_are_unknown),
    };
    return cmocka_run_group_tests_name("objects", tests, NULL, NULL);
}
