/* Memory that may not be there. */
#include "unit.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "record/peek.h"

/* Both ways, the second of which serves where the first is forbidden. */
static void each_way(void (*run)(const mt_peek *peek)) {
    mt_peek call, file = {open("/proc/self/mem", O_RDONLY | O_CLOEXEC)};
    mt_peek_open(&call);
    run(&call);
    mt_peek_close(&call);
    assert_true(file.file >= 0);
    run(&file);
    mt_peek_close(&file);
    assert_int_equal(file.file, -1);
}

static void copy(const mt_peek *peek) {
    char from[10000], to[10001];
    for (size_t i = 0; i < sizeof from; i++) from[i] = (char)(i * 7);
    to[10000] = 'x';
    assert_true(mt_peek_copy(peek, (uintptr_t)from, to, sizeof from));
    assert_memory_equal(from, to, sizeof from);
    assert_int_equal(to[10000], 'x');
}

static void refuse(const mt_peek *peek) {
    char to[8192];
    char *page = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(page + 4096, 4096);
    assert_true(mt_peek_copy(peek, (uintptr_t)page + 4000, to, 96));
    assert_false(mt_peek_copy(peek, (uintptr_t)page + 4000, to, 97));
    assert_false(mt_peek_copy(peek, (uintptr_t)page + 4096, to, 1));
    munmap(page, 4096);
    assert_false(mt_peek_copy(peek, (uintptr_t)page, to, 1));
    assert_false(mt_peek_copy(peek, 0, to, 8));
    assert_false(mt_peek_copy(peek, 16, to, 8));
    assert_false(mt_peek_copy(peek, UINTPTR_MAX - 7, to, 8));
    assert_false(mt_peek_copy(peek, UINTPTR_MAX - 3, to, 8));
    assert_false(mt_peek_copy(peek, (uintptr_t)INTPTR_MAX - 3, to, 8));
    assert_false(mt_peek_copy(peek, (uintptr_t)1 << 63, to, 8));
}

static void compare(const mt_peek *peek) {
    static char one[50000], two[50000];
    memset(one, 7, sizeof one);
    for (size_t at = 0; at < sizeof one; at += 1237) {
        memcpy(two, one, sizeof one);
        assert_true(mt_peek_same(peek, (uintptr_t)one, two, sizeof one));
        two[at]++;
        assert_false(mt_peek_same(peek, (uintptr_t)one, two, sizeof one));
        assert_true(mt_peek_same(peek, (uintptr_t)one, two, at));
    }
    assert_false(mt_peek_same(peek, 0, two, 1));
}

static void what_is_there_can_be_compared(void **state) {
    (void)state;
    each_way(compare);
}

static void what_is_there_is_copied(void **state) {
    (void)state;
    each_way(copy);
}

static void what_is_not_there_is_not_read(void **state) {
    (void)state;
    each_way(refuse);
}

static void closed_it_reads_nothing(void **state) {
    (void)state;
    mt_peek peek;
    char from = 1, to;
    mt_peek_open(&peek);
    mt_peek_close(&peek);
    assert_false(mt_peek_copy(&peek, (uintptr_t)&from, &to, 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_there_is_copied),
        cmocka_unit_test(what_is_there_can_be_compared),
        cmocka_unit_test(what_is_not_there_is_not_read),
        cmocka_unit_test(closed_it_reads_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
