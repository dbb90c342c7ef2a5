/* Per-thread blocks: exact counts over threads that come and go, blocks handed on, and what
 * destructors of other libraries do after ours. */
#include "unit.h"

#include <sys/wait.h>
#include <unistd.h>

#include <errno.h>
#include <limits.h>
#include <pthread.h>

#include "record/thread.h"

static uint64_t counted(mt_count which) {
    uint64_t total[MT_COUNT_N];
    mt_thread_sum(total);
    return total[which];
}

static void *count_1000(void *argument) {
    for (int i = 0; i < 1000; i++) mt_thread_count((mt_count)(uintptr_t)argument);
    return NULL;
}

static void run_threads(int n, int at_once, void *(*f)(void *), void *argument) {
    pthread_t thread[64];
    for (int done = 0; done < n; done += at_once) {
        for (int i = 0; i < at_once; i++) pthread_create(&thread[i], NULL, f, argument);
        for (int i = 0; i < at_once; i++) pthread_join(thread[i], NULL);
    }
}

static void counts_are_exact_over_many_threads(void **state) {
    (void)state;
    uint64_t before = counted(MT_COUNT_malloc);
    run_threads(640, 32, count_1000, (void *)(uintptr_t)MT_COUNT_malloc);
    assert_int_equal(counted(MT_COUNT_malloc) - before, 640000);
}

static void blocks_of_ended_threads_are_used_again(void **state) {
    (void)state;
    run_threads(32, 32, count_1000, (void *)(uintptr_t)MT_COUNT_free);
    uint64_t bytes = mt_thread_bytes();
    run_threads(3200, 32, count_1000, (void *)(uintptr_t)MT_COUNT_free);
    assert_int_equal(mt_thread_bytes(), bytes);
}

static void *leave_a_walk(void *expected) {
    mt_thread *block = mt_thread_adopt();
    assert_non_null(block);
    assert_int_equal(block->known.steps[0] | block->known.steps[1], 0);
    assert_int_equal(block->known.ended[0] | block->known.ended[1], 0);
    block->known.steps[0] = block->known.steps[1] = 3;
    block->known.ended[0] = block->known.ended[1] = 1;
    return expected;
}

/* Only the number of its frames was forgotten, not that it had come to its end: the stacks of a
 * thread that got the block of another were one frame deep. */
static void the_last_walk_of_the_thread_before_is_forgotten(void **state) {
    (void)state;
    run_threads(64, 1, leave_a_walk, NULL);
}

/* In the last round TSan has taken its leave of the thread, and newer ones crash in what
 * follows. */
#ifdef __SANITIZE_THREAD__
enum { ROUNDS = PTHREAD_DESTRUCTOR_ITERATIONS - 1 };
#else
enum { ROUNDS = PTHREAD_DESTRUCTOR_ITERATIONS };
#endif

static pthread_key_t other;

/* Another library's destructor, called in each of the rounds that there are. */
static void allocate_late(void *rounds) {
    mt_thread_count(MT_COUNT_calloc);
    uintptr_t n = (uintptr_t)rounds;
    if (n > 1) pthread_setspecific(other, (void *)(n - 1));
}

static void *leave_with_work(void *argument) {
    (void)argument;
    mt_thread_count(MT_COUNT_calloc);
    pthread_setspecific(other, (void *)(uintptr_t)ROUNDS);
    return NULL;
}

static void what_destructors_do_in_any_round_is_counted(void **state) {
    (void)state;
    pthread_key_create(&other, allocate_late);
    uint64_t before = counted(MT_COUNT_calloc);
    run_threads(320, 32, leave_with_work, NULL);
    assert_int_equal(counted(MT_COUNT_calloc) - before, 320 * (1 + ROUNDS));
    uint64_t bytes = mt_thread_bytes();
    run_threads(3200, 32, leave_with_work, NULL);
    assert_int_equal(mt_thread_bytes(), bytes);
}

static void *count_first_in_a_destructor(void *argument) {
    pthread_setspecific(other, argument);
    return NULL;
}

static void a_first_allocation_in_a_destructor_leaves_no_block_behind(void **state) {
    (void)state;
    if (ROUNDS < PTHREAD_DESTRUCTOR_ITERATIONS) skip(); /* ours runs in the last */
    run_threads(32, 32, count_first_in_a_destructor, (void *)1);
    uint64_t bytes = mt_thread_bytes();
    run_threads(3200, 32, count_first_in_a_destructor, (void *)1);
    assert_int_equal(mt_thread_bytes(), bytes);
}

static void *errno_of_first_count(void *argument) {
    (void)argument;
    errno = 4711;
    mt_thread_count(MT_COUNT_malloc);
    return (void *)(uintptr_t)errno;
}

static void adopting_a_block_keeps_errno(void **state) {
    (void)state;
    pthread_t thread;
    void *result;
    pthread_create(&thread, NULL, errno_of_first_count, NULL);
    pthread_join(thread, &result);
    assert_int_equal((uintptr_t)result, 4711);
}

static int start(void **state) {
    (void)state;
    return mt_thread_start();
}

/* A block that the child had taken bore the child's number, and was given to another thread. */
static void the_child_of_a_vfork_gets_no_block(void **state) {
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* it makes a fork of it */
#endif
    mt_thread *volatile mine = mt_tls_mine.block, *volatile theirs = (mt_thread *)1;
    mt_tls_mine.block = NULL;
    pid_t child = vfork();
    if (child == 0) {
        theirs = mt_thread_adopt();
        _exit(0);
    }
    mt_tls_mine.block = mine;
    waitpid(child, NULL, 0);
    assert_null(theirs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_exact_over_many_threads),
        cmocka_unit_test(blocks_of_ended_threads_are_used_again),
        cmocka_unit_test(the_last_walk_of_the_thread_before_is_forgotten),
        cmocka_unit_test(what_destructors_do_in_any_round_is_counted),
        cmocka_unit_test(a_first_allocation_in_a_destructor_leaves_no_block_behind),
        cmocka_unit_test(adopting_a_block_keeps_errno),
        cmocka_unit_test(the_child_of_a_vfork_gets_no_block),
    };
    return cmocka_run_group_tests_name("thread", tests, start, NULL);
}
