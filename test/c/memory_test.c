/* Naming's own memory: the arena, the sort and the search. */
#include "unit.h"

#include <string.h>

#include "name/memory.h"

static void pieces_are_zeroed_aligned_and_apart(void **state) {
    (void)state;
    mt_arena arena = {0};
    uint64_t seed = unit_seed();
    unsigned char *piece[300];
    size_t size[300];
    for (int i = 0; i < 300; i++) {
        size[i] = unit_random(&seed) % (i % 50 == 0 ? 200000 : 900);
        piece[i] = mt_arena_take(&arena, size[i]);
        assert_non_null(piece[i]);
        assert_int_equal((uintptr_t)piece[i] % 16, 0);
        for (size_t k = 0; k < size[i]; k++) assert_int_equal(piece[i][k], 0);
        memset(piece[i], i, size[i]);
    }
    for (int i = 0; i < 300; i++)
        for (size_t k = 0; k < size[i]; k++) assert_int_equal(piece[i][k], i & 255);
    mt_arena_empty(&arena);
    assert_int_equal(arena.bytes, 0);
}

static void sizes_beyond_reason_are_refused(void **state) {
    (void)state;
    mt_arena arena = {0};
    assert_null(mt_arena_take(&arena, SIZE_MAX));
    assert_null(mt_arena_take(&arena, SIZE_MAX / 2));
    assert_null(mt_memory_map(SIZE_MAX));
    mt_arena_empty(&arena);
}

static void strings_are_copied(void **state) {
    (void)state;
    mt_arena arena = {0};
    char text[] = "once";
    char *copy = mt_arena_string(&arena, text);
    text[0] = 'x';
    assert_string_equal(copy, "once");
    mt_arena_empty(&arena);
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void the_sort_agrees_with_qsort(void **state) {
    (void)state;
    static uint64_t mine[2000], model[2000];
    uint64_t seed = unit_seed();
    for (size_t n = 0; n < 2000; n = n * 3 / 2 + 1) {
        for (size_t i = 0; i < n; i++) mine[i] = model[i] = unit_random(&seed) % (n + 1);
        mt_memory_sort(mine, n, sizeof *mine, compare);
        qsort(model, n, sizeof *model, compare);
        assert_memory_equal(mine, model, n * sizeof *mine);
    }
}

static void the_search_agrees_with_counting(void **state) {
    (void)state;
    struct {
        uint64_t begin;
        char rest[5];
    } item[300] = {0};
    uint64_t seed = unit_seed();
    for (size_t n = 0; n < 300; n = n * 3 / 2 + 1) {
        for (size_t i = 0; i < n; i++) item[i].begin = 1 + unit_random(&seed) % (n + 1);
        mt_memory_sort(item, n, sizeof *item, compare);
        for (uint64_t address = 0; address < n + 3; address++) {
            size_t count = 0;
            while (count < n && item[count].begin <= address) count++;
            assert_int_equal(mt_memory_search(item, n, sizeof *item, address), count);
        }
        assert_int_equal(mt_memory_search(item, n, sizeof *item, UINT64_MAX), n);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_zeroed_aligned_and_apart),
        cmocka_unit_test(sizes_beyond_reason_are_refused),
        cmocka_unit_test(strings_are_copied),
        cmocka_unit_test(the_sort_agrees_with_qsort),
        cmocka_unit_test(the_search_agrees_with_counting),
    };
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
