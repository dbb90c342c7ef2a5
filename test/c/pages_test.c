/* What the kernel says of our pages, and pages that are made writable and put back. */
#include "unit.h"

#include <sys/mman.h>
#include <unistd.h>

#include "hook/pages.h"

static uintptr_t page_bytes(void) {
    return (uintptr_t)sysconf(_SC_PAGESIZE);
}

/* Neighbours that differ, so that none is merged with another. */
static char *map(const int *protection, int n) {
    char *p =
        mmap(NULL, (size_t)n * page_bytes(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    for (int i = 0; i < n; i++)
        assert_int_equal(mprotect(p + (uintptr_t)i * page_bytes(), page_bytes(), protection[i]),
                         0);
    return p;
}

static int now(const char *address) {
    mt_pages pages = {0};
    int protection = mt_pages_protection(&pages, (uintptr_t)address);
    mt_pages_empty(&pages);
    return protection;
}

static void the_protection_of_each_page_is_told(void **state) {
    (void)state;
    static const int all[] = {PROT_READ, PROT_READ | PROT_WRITE, PROT_NONE,
                              PROT_READ | PROT_EXEC};
    mt_pages pages = {0};
    char *p = map(all, 4);
    for (uintptr_t i = 0; i < 4; i++) {
        uintptr_t page = (uintptr_t)p + i * page_bytes();
        assert_int_equal(mt_pages_protection(&pages, page), all[i]);
        assert_int_equal(mt_pages_protection(&pages, page + page_bytes() - 1), all[i]);
    }
    mt_pages_empty(&pages);
    munmap(p, 4 * page_bytes());
    assert_int_equal(now(NULL), -1);
}

/* More lines than fit into the first room and the buffer. */
static void thousands_of_mappings_are_read(void **state) {
    (void)state;
    enum { N = 3000 };
    static int all[N];
    for (int i = 0; i < N; i++) all[i] = i % 2 ? PROT_READ : PROT_READ | PROT_WRITE;
    mt_pages pages = {0};
    char *p = map(all, N);
    for (uintptr_t i = 0; i < N; i++)
        assert_int_equal(mt_pages_protection(&pages, (uintptr_t)p + i * page_bytes()), all[i]);
    assert_true(pages.n >= N);
    mt_pages_empty(&pages);
    munmap(p, N * page_bytes());
}

static void a_page_that_was_opened_gets_back_what_it_had(void **state) {
    (void)state;
    static const int all[] = {PROT_READ, PROT_READ | PROT_EXEC};
    mt_pages pages = {0};
    char *p = map(all, 2), *q = p + page_bytes();
    assert_int_equal(mt_pages_open(&pages, (uintptr_t)p + 8, PROT_READ), 0);
    p[8] = 1;
    assert_int_equal(now(p), PROT_READ | PROT_WRITE);
    assert_int_equal(mt_pages_open(&pages, (uintptr_t)p + 16, PROT_READ), 0);
    if (mt_pages_open(&pages, (uintptr_t)q, PROT_READ | PROT_EXEC) == 0) {
        assert_int_equal(now(p), PROT_READ);
        q[0] = 1;
    }
    mt_pages_close(&pages);
    assert_int_equal(now(p), PROT_READ);
    assert_int_equal(now(q), PROT_READ | PROT_EXEC);
    assert_int_equal(mt_pages_open(&pages, (uintptr_t)p, PROT_READ), 0);
    mt_pages_empty(&pages);
    assert_int_equal(now(p), PROT_READ);
    munmap(p, 2 * page_bytes());
    assert_int_equal(mt_pages_open(&pages, (uintptr_t)p, PROT_READ), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_protection_of_each_page_is_told),
        cmocka_unit_test(thousands_of_mappings_are_read),
        cmocka_unit_test(a_page_that_was_opened_gets_back_what_it_had),
    };
    return cmocka_run_group_tests_name("pages", tests, NULL, NULL);
}
