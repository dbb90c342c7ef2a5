/* What gdb says of threads: may a function be called there now? */
#include "unit.h"

#include <string.h>

#include "ctl/watch/backtraces.h"

static bool quiet(const char *text) {
    char where[64];
    return mt_backtraces_quiet(text, where, sizeof where);
}

#define AROUND(frame)                                                                          \
    "Thread 2 (Thread 0x7f (LWP 5) \"a\"):\n"                                                  \
    "#0  0x00007f12 in poll () from /lib/x86_64-linux-gnu/libc.so.6\n"                         \
    "#1  0x0000561 in main () at main.c:3\n\n"                                                 \
    "Thread 1 (Thread 0x7f (LWP 4) \"b\"):\n"                                                  \
    "#0  0x00007f12 in lll () from /lib/x86_64-linux-gnu/libc.so.6\n" frame                    \
    "#2  0x0000561 in main (argc=1) at main.c:3\n"

static void threads_that_wait_or_work_are_no_hindrance(void **state) {
    (void)state;
    assert_true(quiet(AROUND("")));
    assert_true(quiet(AROUND("#1  __GI___libc_read (fd=0) at read.c:26\n")));
    assert_true(quiet(AROUND("#1  0x0000561 in my_malloc_user (p=1) at malloc_user.c:5\n")));
    assert_true(quiet(AROUND("#1  0x0000561 in freely (p=1) at x.c:5\n")));
    assert_true(quiet(AROUND("#1  free_all (p=1) at x.c:5\n")));
    assert_true(quiet(AROUND("#1  0x561 in f (text=0x5 \"in malloc (\") at x.c:5\n")));
}

static void a_thread_in_the_allocator_the_loader_or_a_fork_is(void **state) {
    (void)state;
    static const char *const frames[] = {
        "#1  0x00007f12 in malloc () from /lib/x86_64-linux-gnu/libc.so.6\n",
        "#1  __GI___libc_malloc (bytes=5) at malloc.c:3320\n",
        "#1  _int_free (av=0x7, p=0x5, have_lock=0) at malloc.c:4500\n",
        "#1  0x00007f12 in free () from /lib/x86_64-linux-gnu/libc.so.6\n",
        "#1  realloc (p=0x5, n=7) at x.c:1\n",
        "#1  0x00007f12 in ?? () from /lib64/ld-linux-x86-64.so.2\n",
        "#1  _dl_open_worker (a=0x7) at dl-open.c:7\n",
        "#1  0x7f in __GI___dl_iterate_phdr (c=0x1) at dl-iteratephdr.c:39\n",
        "#1  dlopen_implementation (file=0x1) at dlopen.c:66\n",
        "#1  0x00007f12 in __libc_fork () at fork.c:40\n",
        "#1  0x00007f12 in ?? () from /usr/lib/libjemalloc.so.2\n",
        "#1  0x00007f12 in operator new (unsigned long) () from /lib/libstdc++.so.6\n",
    };
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        char text[2048], where[64];
        snprintf(text, sizeof text, AROUND("%s"), frames[i]);
        if (mt_backtraces_quiet(text, where, sizeof where)) fail_msg("%s", frames[i]);
        assert_true(where[0]);
    }
}

#define WAITS                                                                                  \
    "#1  0x7f in __pthread_cond_wait_common (cond=0x7) at ./nptl/pthread_cond_wait.c:503\n"    \
    "#2  ___pthread_cond_wait (cond=0x7, mutex=0x8) at ./nptl/pthread_cond_wait.c:618\n"
#define JEMALLOC "#3  0x00007f12 in ?? () from /lib/x86_64-linux-gnu/libjemalloc.so.2\n"

/* redis-server with jemalloc's background thread could not be attached to. */
static void an_allocator_s_own_thread_that_sleeps_is_no_hindrance(void **state) {
    (void)state;
    char where[64];
    assert_true(quiet(AROUND(WAITS JEMALLOC JEMALLOC)));
    assert_false(quiet(AROUND(JEMALLOC WAITS)));
    assert_false(quiet(AROUND(WAITS "#3  0x0000561 in hook () at x.c:3\n" JEMALLOC)));
    assert_false(
        quiet(AROUND(WAITS JEMALLOC "#4  0x7f in malloc () from /lib/libjemalloc.so\n")));
    assert_false(quiet(AROUND(WAITS "#3  0x7f in ?? () from /lib64/ld-linux-x86-64.so.2\n")));
    assert_false(mt_backtraces_quiet(AROUND(JEMALLOC), where, sizeof where));
    assert_non_null(strstr(where, "libjemalloc.so.2"));
}

static void no_stack_is_no_go(void **state) {
    (void)state;
    char where[64];
    assert_false(quiet(""));
    assert_false(quiet("ptrace: Operation not permitted.\n"));
    assert_false(mt_backtraces_quiet("x", where, sizeof where));
    assert_string_equal(where, "no stack could be read");
}

static void any_text_is_read(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    const char base[] = AROUND("#1  0x00007f12 in malloc () from /lib/libc.so.6\n");
    for (int i = 0; i < 20000; i++) {
        char *text = malloc(sizeof base), where[8];
        memcpy(text, base, sizeof base);
        for (int k = 0; k < 6; k++)
            text[unit_random(&seed) % (sizeof base - 1)] =
                "# \n()in0x\x01\xff"[unit_random(&seed) % 11];
        text[unit_random(&seed) % sizeof base] = '\0';
        mt_backtraces_quiet(text, where, sizeof where);
        assert_true(strlen(where) < sizeof where);
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_that_wait_or_work_are_no_hindrance),
        cmocka_unit_test(a_thread_in_the_allocator_the_loader_or_a_fork_is),
        cmocka_unit_test(an_allocator_s_own_thread_that_sleeps_is_no_hindrance),
        cmocka_unit_test(no_stack_is_no_go),
        cmocka_unit_test(any_text_is_read),
    };
    return cmocka_run_group_tests_name("backtraces", tests, NULL, NULL);
}
