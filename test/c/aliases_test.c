/* Where memory that is mapped twice can be written. */
#include "unit.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hook/aliases.h"

enum { PAGE = 65536 };

static void code_that_is_mapped_twice_is_written_by_the_other_mapping(void **state) {
    (void)state;
    mt_aliases aliases;
    int file = memfd_create("aliases_test", MFD_CLOEXEC);
    assert_int_equal(ftruncate(file, 4 * PAGE), 0);
    char *code = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, file, 2 * PAGE);
    char *data = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    assert_true(code != MAP_FAILED && data != MAP_FAILED);
    assert_true(mt_aliases_read(&aliases));
    uintptr_t found = mt_aliases_find(&aliases, (uintptr_t)code + 40);
    assert_int_equal(found, (uintptr_t)data + 2 * PAGE + 40);
    *(uint64_t *)found = 0x6d7472616365;
    assert_true(*(uint64_t *)(code + 40) == 0x6d7472616365);
    munmap(data, 4 * PAGE);
    assert_true(mt_aliases_read(&aliases));
    assert_int_equal(mt_aliases_find(&aliases, (uintptr_t)code), 0);
    munmap(code, PAGE);
}

static void code_that_can_be_written_is_its_own_alias(void **state) {
    (void)state;
    mt_aliases aliases;
    char *code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED) return; /* a system that forbids it */
    assert_true(mt_aliases_read(&aliases));
    assert_int_equal(mt_aliases_find(&aliases, (uintptr_t)code + 8), (uintptr_t)code + 8);
    munmap(code, PAGE);
}

static void code_of_files_and_other_memory_has_none(void **state) {
    (void)state;
    mt_aliases aliases;
    static int data;
    assert_true(mt_aliases_read(&aliases));
    assert_int_equal(mt_aliases_find(&aliases, (uintptr_t)mt_aliases_find), 0);
    assert_int_equal(mt_aliases_find(&aliases, (uintptr_t)&data), 0);
    assert_int_equal(mt_aliases_find(&aliases, 0), 0);
}

static void damaged_lines_do_no_harm(void **state) {
    (void)state;
    static const char *const lines[] = {
        "7efc2e9ff000-7efc2f1ff000 rw-s 00000000 00:01 22997      /memfd:vmem (deleted)",
        "7efc2f1ff000-7efc2f9ff000 r-xs 00000000 00:01 22997      /memfd:vmem (deleted)",
        "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0  [vsyscall]"};
    uint64_t seed = unit_seed();
    for (int round = 0; round < 20000; round++) {
        mt_aliases aliases = {.n = 0};
        for (int k = 0; k < 3; k++) {
            char line[160];
            strcpy(line, lines[k]);
            size_t n = strlen(line);
            for (int m = 0; m < 4; m++)
                line[unit_random(&seed) % n] = (char)(unit_random(&seed) % 128);
            if (unit_random(&seed) % 4 == 0) line[unit_random(&seed) % n] = '\0';
            mt_aliases_note(&aliases, line);
        }
        assert_true(aliases.n <= 3);
        for (uint32_t i = 0; i < aliases.n; i++) {
            assert_true(aliases.map[i].lo < aliases.map[i].hi);
            mt_aliases_find(&aliases, aliases.map[i].lo);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(code_that_is_mapped_twice_is_written_by_the_other_mapping),
        cmocka_unit_test(code_that_can_be_written_is_its_own_alias),
        cmocka_unit_test(code_of_files_and_other_memory_has_none),
        cmocka_unit_test(damaged_lines_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
