/* The heap that libdw works in, against what malloc would have promised. */
#include "unit.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string.h>

#include "name/pool.h"

enum { BLOCKS = 200 };

typedef struct {
    unsigned char *at, mark;
    size_t n;
} block;

static void check(const block *b) {
    for (size_t i = 0; i<b->n; i += b->n> 5000 ? 97 : 1) assert_int_equal(b->at[i], b->mark);
}

static size_t some_size(uint64_t *seed) {
    return unit_random(seed) % 8 ? unit_random(seed) % 600 : unit_random(seed) % 300000;
}

/* No block overlaps another, nothing in it changes, new ones are zero. */
static void blocks_are_what_malloc_promises(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    mt_pool pool;
    block blocks[BLOCKS] = {{0}};
    assert_int_equal(mt_pool_open(&pool, 256 << 20), 0);
    for (int i = 0; i < 50000; i++) {
        block *b = &blocks[unit_random(&seed) % BLOCKS];
        size_t n = some_size(&seed);
        if (b->at) check(b);
        if (b->at && unit_random(&seed) % 2) {
            size_t kept = n < b->n ? n : b->n;
            b->at = mt_pool_resize(&pool, b->at, n);
            b->n = kept;
            check(b);
        } else {
            if (b->at) mt_pool_give(&pool, b->at);
            b->at = mt_pool_take(&pool, n);
            b->n = n;
            b->mark = 0;
            check(b);
        }
        assert_int_equal((uintptr_t)b->at % 16, 0);
        assert_true(mt_pool_owns(&pool, b->at));
        b->n = n;
        b->mark = (unsigned char)i;
        memset(b->at, b->mark, n);
    }
    assert_true(pool.used < 200 << 20); /* what comes back is used again */
    mt_pool_close(&pool);
}

static void a_full_pool_says_so_and_goes_on(void **state) {
    (void)state;
    mt_pool pool;
    assert_int_equal(mt_pool_open(&pool, 16 << 20), 0);
    assert_null(mt_pool_take(&pool, SIZE_MAX));
    assert_null(mt_pool_take(&pool, SIZE_MAX - 8));
    assert_null(mt_pool_take(&pool, 16 << 20));
    void *large = mt_pool_take(&pool, 10 << 20);
    assert_non_null(large);
    assert_null(mt_pool_take(&pool, 10 << 20));
    assert_null(mt_pool_resize(&pool, large, 12 << 20));
    mt_pool_give(&pool, large);
    assert_ptr_equal(mt_pool_take(&pool, 10 << 20), large);
    assert_non_null(mt_pool_take(&pool, 100));
    mt_pool_close(&pool);
}

/* libdw reads a little past the end of what a file promised. */
static void behind_the_last_block_there_are_zeroes(void **state) {
    (void)state;
    mt_pool pool;
    assert_int_equal(mt_pool_open(&pool, 64 << 20), 0);
    for (size_t n = 1; n < 3 << 20; n = n * 3 + 7) {
        char *p = mt_pool_take(&pool, n);
        memset(p, 'x', n);
        for (size_t i = 0; i < 60000; i++) assert_int_equal(p[n + i], 0);
    }
    mt_pool_close(&pool);
}

static void a_closed_pool_owns_nothing(void **state) {
    (void)state;
    mt_pool pool;
    int local;
    assert_int_equal(mt_pool_open(&pool, 16 << 20), 0);
    void *p = mt_pool_take(&pool, 10);
    assert_false(mt_pool_owns(&pool, &local));
    assert_false(mt_pool_owns(&pool, NULL));
    mt_pool_close(&pool);
    assert_false(mt_pool_owns(&pool, p));
    mt_pool_close(&pool);
}

/* What is reserved counts against a limit of the address space: a node that had one lacked the
 * memory later, and died. */
static void little_of_a_limited_address_space_is_reserved(void **state) {
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {(rlim_t)4 << 30, (rlim_t)4 << 30};
        mt_pool pool;
        if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(2);
        if (mt_pool_open(&pool, (size_t)1 << 30) != 0) _exit(3);
        _exit(pool.reserved <= (size_t)64 << 20 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) > 1) skip(); /* a sanitizer needs more */
    assert_int_equal(status, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(little_of_a_limited_address_space_is_reserved),
        cmocka_unit_test(blocks_are_what_malloc_promises),
        cmocka_unit_test(a_full_pool_says_so_and_goes_on),
        cmocka_unit_test(behind_the_last_block_there_are_zeroes),
        cmocka_unit_test(a_closed_pool_owns_nothing),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
