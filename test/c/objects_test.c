/* What is mapped in this process and what was, and whose code an address is at a moment. */
#include "unit.h"

#include <dlfcn.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "name/objects.h"

/* Two libraries of the same size: the second takes the place of the first when that is gone. */
static char folder[] = "/tmp/mtrace-objects-XXXXXX", first[64], second[64];

static int build(void **state) {
    (void)state;
    char command[512];
    if (!mkdtemp(folder)) return -1;
    snprintf(first, sizeof first, "%s/first.so", folder);
    snprintf(second, sizeof second, "%s/other.so", folder);
    snprintf(command, sizeof command,
             "cd %s && echo 'int first_of_two(int x) { return x + 1; }' >a.c && "
             "echo 'int other_of_two(int x) { return x - 1; }' >b.c && "
             "gcc -shared -fPIC -Wl,--build-id -o first.so a.c && "
             "gcc -shared -fPIC -Wl,--build-id -o other.so b.c",
             folder);
    return system(command);
}

static int clean(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static uintptr_t load(const char *path, const char *function, void **handle) {
    *handle = dlopen(path, RTLD_NOW);
    assert_non_null(*handle);
    return (uintptr_t)dlsym(*handle, function);
}

static bool is_in(const mt_objects *objects, uintptr_t address, uint64_t at, const char *path) {
    const mt_object *o = mt_objects_find(objects, address, at);
    return o && strcmp(o->path, path) == 0;
}

static __attribute__((noinline, used)) int here(int x) {
    return x + 1;
}

static void addresses_belong_to_objects(void **state) {
    (void)state;
    mt_objects objects = {0};
    assert_int_equal(mt_objects_read(&objects, 100), 0);
    const mt_object *own = mt_objects_find(&objects, (uintptr_t)here, 100);
    assert_non_null(own);
    assert_non_null(strstr(own->path, "objects_test"));
    const mt_object *cmocka =
        mt_objects_find(&objects, (uintptr_t)dlsym(RTLD_DEFAULT, "_assert_true"), 7);
    assert_non_null(strstr(cmocka->path, "libcmocka"));
    assert_true(cmocka->number != own->number);
    mt_objects_empty(&objects);
}

static void addresses_in_no_object_are_unknown(void **state) {
    (void)state;
    mt_objects objects = {0};
    int local;
    char *heap = malloc(100);
    assert_null(mt_objects_find(&objects, (uintptr_t)here, 100));
    mt_objects_read(&objects, 100);
    assert_null(mt_objects_find(&objects, 0, 100));
    assert_null(mt_objects_find(&objects, (uintptr_t)&local, 100));
    assert_null(mt_objects_find(&objects, (uintptr_t)heap, 100));
    assert_null(mt_objects_find(&objects, UINTPTR_MAX, 100));
    free(heap);
    mt_objects_empty(&objects);
}

/* The kernel's own object has no file. */
static void the_vdso_has_a_name_and_no_symbols(void **state) {
    (void)state;
    mt_objects objects = {0};
    mt_symbols symbols;
    uintptr_t vdso = getauxval(AT_SYSINFO_EHDR);
    if (!vdso) skip();
    mt_objects_read(&objects, 100);
    const mt_object *o = mt_objects_find(&objects, vdso + 0x400, 100);
    if (!o) skip(); /* this C library does not list it */
    assert_true(o->path[0] != '/');
    assert_int_equal(mt_symbols_read_all(&symbols, o->path, &o->identity, NULL), -1);
    assert_null(mt_symbols_find(&symbols, vdso + 0x400 - o->base));
    mt_objects_empty(&objects);
}

static void an_object_that_is_gone_keeps_its_time(void **state) {
    (void)state;
    mt_objects objects = {0};
    void *handle;
    mt_objects_read(&objects, 100);
    uintptr_t a = load(first, "first_of_two", &handle);
    mt_objects_read(&objects, 200);
    assert_true(is_in(&objects, a, 200, first));
    assert_true(is_in(&objects, a, 150, first)); /* it may have been there, and nothing else */
    assert_null(mt_objects_find(&objects, a, 99));
    mt_objects_read(&objects, 300);
    dlclose(handle);
    mt_objects_read(&objects, 400);
    assert_true(is_in(&objects, a, 300, first));
    assert_true(is_in(&objects, a, 350, first));
    assert_null(mt_objects_find(&objects, a, 401));
    mt_objects_empty(&objects);
}

static void what_comes_later_does_not_take_the_names_of_what_was(void **state) {
    (void)state;
    mt_objects objects = {0};
    void *handle;
    uintptr_t a = load(first, "first_of_two", &handle);
    mt_objects_read(&objects, 100);
    dlclose(handle);
    mt_objects_read(&objects, 200);
    uintptr_t b = load(second, "other_of_two", &handle);
    if (a != b) skip(); /* some loaders do not reuse the place */
    mt_objects_read(&objects, 300);
    assert_true(is_in(&objects, a, 100, first));
    assert_true(is_in(&objects, a, 199, first));
    assert_true(is_in(&objects, a, 250, second));
    assert_true(is_in(&objects, a, 1000, second));
    assert_null(mt_objects_find(&objects, a, 200)); /* either */
    dlclose(handle);
    mt_objects_empty(&objects);
}

static void two_in_one_place_between_pictures_are_none(void **state) {
    (void)state;
    mt_objects objects = {0};
    void *handle;
    uintptr_t a = load(first, "first_of_two", &handle);
    mt_objects_read(&objects, 100);
    dlclose(handle);
    if (load(second, "other_of_two", &handle) != a) skip();
    mt_objects_read(&objects, 200);
    assert_true(is_in(&objects, a, 100, first));
    assert_null(mt_objects_find(&objects, a, 150));
    assert_true(is_in(&objects, a, 200, second));
    dlclose(handle);
    mt_objects_empty(&objects);
}

static void only_what_comes_back_gets_its_number_again(void **state) {
    (void)state;
    mt_objects objects = {0};
    uintptr_t place[2] = {0, 0};
    uint32_t number[2] = {0, 0};
    mt_objects_read(&objects, 1);
    for (uint64_t t = 2; t < 1200; t += 2) {
        void *handle;
        uintptr_t a =
            load(t % 4 ? first : second, t % 4 ? "first_of_two" : "other_of_two", &handle);
        mt_objects_read(&objects, t);
        uint32_t now = mt_objects_find(&objects, a, t)->number;
        int which = t % 4 != 0;
        if (number[which] && a == place[which]) assert_int_equal(now, number[which]);
        assert_true(now != number[!which]);
        number[which] = now;
        place[which] = a;
        dlclose(handle);
        mt_objects_read(&objects, t + 1);
    }
    int gone = 0;
    for (const mt_object *o = objects.gone; o; o = o->next) gone++;
    assert_int_equal(gone, MT_OBJECTS_GONE);
    assert_true(objects.arena.bytes < 3u << 20);
    assert_true(mt_objects_find(&objects, (uintptr_t)here, 1) != NULL);
    mt_objects_empty(&objects);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_belong_to_objects),
        cmocka_unit_test(addresses_in_no_object_are_unknown),
        cmocka_unit_test(the_vdso_has_a_name_and_no_symbols),
        cmocka_unit_test(an_object_that_is_gone_keeps_its_time),
        cmocka_unit_test(what_comes_later_does_not_take_the_names_of_what_was),
        cmocka_unit_test(two_in_one_place_between_pictures_are_none),
        cmocka_unit_test(only_what_comes_back_gets_its_number_again),
    };
    return cmocka_run_group_tests_name("objects", tests, build, clean);
}
