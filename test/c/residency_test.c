/* What is resident of mappings, and malloc's arenas among them. */
#include "unit.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "serve/residency.h"

#define MIB ((size_t)1 << 20)

static mt_resident of(const void *start, size_t bytes, bool file) {
    mt_residency r;
    mt_residency_open(&r);
    mt_resident found = mt_residency_of(&r, (uintptr_t)start, (uintptr_t)start + bytes, file);
    mt_residency_close(&r);
    return found;
}

/* Small pages, so that what is touched is what is resident. */
static char *map(size_t bytes) {
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    madvise(p, bytes, MADV_NOHUGEPAGE);
    return p;
}

static void pages_that_were_touched_are_counted(void **state) {
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = 40 * MIB;
    char *p = map(bytes);
    assert_int_equal(of(p, bytes, false).anonymous, 0);
    for (size_t i = 0; i < 5; i++) p[i * 9 * MIB] = 1;
    assert_int_equal(of(p, bytes, false).anonymous, 5 * page);
    assert_int_equal(of(p + 10, page, false).anonymous, page); /* rounded to pages */
    memset(p, 1, bytes);
    assert_int_equal(of(p, bytes, false).anonymous, bytes);
    assert_int_equal(of(p, bytes, false).arenas, 0);
    munmap(p, bytes);
}

static void what_has_gone_away_is_not_counted(void **state) {
    (void)state;
    size_t bytes = 40 * MIB;
    char *p = map(bytes);
    memset(p, 1, bytes);
    munmap(p + 8 * MIB, 16 * MIB);
    uint64_t found = of(p, bytes, false).anonymous;
    unit_in_range(found, bytes - 17 * MIB, bytes - 16 * MIB);
    munmap(p, bytes);
    assert_int_equal(of(p, bytes, false).anonymous, 0);
    assert_int_equal(of(p, 0, false).anonymous, 0);
    assert_int_equal(of(NULL, SIZE_MAX, false).anonymous, 0);
    assert_int_equal(of(p, MT_RESIDENCY_MAX + 4096, true).file, 0);
}

static void pages_of_a_file_and_copies_of_them_are_told_apart(void **state) {
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char name[] = "/tmp/residencyXXXXXX", byte = 1;
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    unlink(name);
    assert_int_equal(ftruncate(fd, (off_t)(64 * page)), 0);
    for (size_t i = 0; i < 64; i++)
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)(i * page)), 1);
    char *p = mmap(NULL, 64 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    madvise(p, 64 * page, MADV_RANDOM);
    p[0] = 2, p[7 * page] = 2;
    if (access("/proc/self/pagemap", R_OK) == 0)
        assert_int_equal(of(p, 64 * page, true).anonymous, 2 * page);
    uint64_t before = of(p, 64 * page, true).file;
    for (size_t i = 0; i < 64; i++) byte = (char)(byte + *(volatile char *)(p + i * page));
    if (access("/proc/self/pagemap", R_OK) == 0)
        assert_int_equal(of(p, 64 * page, true).file, 62 * page);
    assert_true(before <= 62 * page);
    munmap(p, 64 * page);
    close(fd);
}

static void *allocate(void *p) {
    *(void **)p = malloc(1000);
    return NULL;
}

/* A heap of a second arena: the chunk lies between the 64 MiB that it begins and ends. */
static void the_heaps_of_arenas_are_found(void **state) {
    (void)state;
    void *chunk = NULL;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, allocate, &chunk), 0);
    pthread_join(thread, NULL);
    uintptr_t heap = (uintptr_t)chunk & ~(uintptr_t)(64 * MIB - 1);
    size_t head = 132 * 1024; /* what a heap has from its beginning */
    mt_resident found = of((void *)heap, head, false);
#ifdef __GLIBC__
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__ && defined __LP64__
    assert_true(found.arenas > 0);
#endif
#endif
    assert_true(found.arenas <= found.anonymous);
    free(chunk);
}

/* Where a heap might begin stands something else: no page is taken for one. */
static void what_looks_like_no_heap_is_none(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    size_t bytes = 192 * MIB;
    char *p = map(bytes);
    uintptr_t at = ((uintptr_t)p + 64 * MIB - 1) & ~(uintptr_t)(64 * MIB - 1);
    for (int i = 0; i < 2000; i++) {
        uintptr_t *word = (uintptr_t *)at;
        word[0] = at + unit_random(&seed) % 4096;
        word[1] = unit_random(&seed) % 2 ? unit_random(&seed) : at;
        word[2] = unit_random(&seed) % 2 ? unit_random(&seed) : 135168;
        word[3] = unit_random(&seed) % 2 ? unit_random(&seed) : 135168;
        assert_int_equal(of((void *)at, 64 * MIB, false).arenas, 0);
    }
    munmap(p, bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_that_were_touched_are_counted),
        cmocka_unit_test(what_has_gone_away_is_not_counted),
        cmocka_unit_test(pages_of_a_file_and_copies_of_them_are_told_apart),
        cmocka_unit_test(the_heaps_of_arenas_are_found),
        cmocka_unit_test(what_looks_like_no_heap_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
