/* Whether a process is still the program that was started, after it changed its name. */
#include "unit.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/watch/child.h"
#include "record/options.h"

static mt_region_header header;
static mt_target target = {.header = &header, .name = "first"};

static void share(const char *name) {
    int fd = (int)syscall(SYS_memfd_create, name, 1u);
    if (ftruncate(fd, 65536) != 0 ||
        mmap(NULL, 65536, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED)
        _exit(9);
    close(fd);
}

static void nothing(int number) {
    (void)number;
}

/* A process that has called itself so, maps memory of that name (or none), and has a handler
 * for each of these signals, at its end too; it ends when `*go` is closed. */
static pid_t start(const char *name, const char *memory, const int *handled, int *go) {
    int ready[2], ends[2];
    char byte;
    assert_int_equal(pipe(ready) | pipe(ends), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[1]);
        prctl(PR_SET_NAME, name);
        if (memory) share(memory);
        for (; *handled; handled++) signal(*handled, nothing);
        if (write(ready[1], "", 1) != 1 || read(ends[0], &byte, 1) != 0) _exit(9);
        _exit(0);
    }
    close(ends[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    *go = ends[1];
    return pid;
}

static void end(mt_child *c, int go) {
    close(go);
    while (!c->ended) mt_child_see_end(c);
    assert_true(WIFEXITED(c->status) && WEXITSTATUS(c->status) == 0);
}

static const int none[] = {0}, all[] = {SIGUSR1, SIGUSR2, SIGQUIT, 0}, one[] = {SIGUSR1, 0};

static mt_child_is is(const char *name, const char *memory, const int *handled,
                      uint64_t signals, bool looked_at) {
    mt_child c;
    int go;
    mt_child_begin(&c, start(name, memory, handled, &go), signals);
    target.pid = c.pid;
    header.start_ns++;
    assert_int_equal(mt_child_due_ms(&c), -1);
    if (looked_at) mt_child_look(&c, &target);
    end(&c, go);
    return mt_child_is_still(&c, &target);
}

/* A program that renames itself was taken for another one where it had no handlers of ours. */
static void one_that_was_seen_with_our_memory_is_the_same(void **state) {
    (void)state;
    assert_int_equal(is("second", "mtrace.1", none, MT_SIGNALS_NONE, true), MT_CHILD_SAME);
    assert_int_equal(is("second", "mtrace.1", none, MT_SIGNALS_DEFAULT, true), MT_CHILD_SAME);
}

static void one_that_was_seen_without_is_another(void **state) {
    (void)state;
    assert_int_equal(is("second", NULL, none, MT_SIGNALS_NONE, true), MT_CHILD_OTHER);
    assert_int_equal(is("second", "other", all, MT_SIGNALS_DEFAULT, true), MT_CHILD_OTHER);
}

static void one_that_was_not_seen_is_judged_by_its_handlers(void **state) {
    (void)state;
    assert_int_equal(is("second", NULL, all, MT_SIGNALS_DEFAULT, false), MT_CHILD_SAME);
    assert_int_equal(is("second", NULL, none, MT_SIGNALS_DEFAULT, false), MT_CHILD_OTHER);
    assert_int_equal(is("second", NULL, one, MT_SIGNALS_DEFAULT, false), MT_CHILD_MAYBE);
    assert_int_equal(is("second", NULL, none, MT_SIGNALS_NONE, false), MT_CHILD_MAYBE);
    assert_int_equal(is("first", NULL, none, MT_SIGNALS_NONE, false), MT_CHILD_MAYBE);
    assert_int_equal(is("first", NULL, all, MT_SIGNALS_DEFAULT, false), MT_CHILD_SAME);
}

/* As a shell has it that starts something with &. */
static void signals_that_were_ignored_are_not_expected(void **state) {
    (void)state;
    static const int both[] = {SIGUSR1, SIGUSR2, 0};
    signal(SIGQUIT, SIG_IGN);
    assert_int_equal(is("second", NULL, both, MT_SIGNALS_DEFAULT, false), MT_CHILD_SAME);
    assert_int_equal(is("second", NULL, both, MT_SIGNALS_ALL, false), MT_CHILD_MAYBE);
    signal(SIGQUIT, SIG_DFL);
}

static void what_has_ended_tells_nothing(void **state) {
    (void)state;
    mt_child c;
    int go;
    mt_child_begin(&c, start("second", NULL, none, &go), MT_SIGNALS_NONE);
    header.start_ns++;
    close(go);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)c.pid, &info, WEXITED | WNOWAIT), 0);
    mt_child_look(&c, &target);
    assert_true(mt_child_due_ms(&c) > 0);
    mt_child_see_end(&c);
    assert_true(c.ended);
    assert_int_equal(mt_child_due_ms(&c), -1);
    assert_int_equal(mt_child_is_still(&c, &target), MT_CHILD_MAYBE);
    /* what was executed in its place and came to us is not that */
    c.replaced = true;
    header.start_ns++;
    assert_int_equal(mt_child_is_still(&c, &target), MT_CHILD_MAYBE);
}

static void names_reach_no_terminal_as_they_are(void **state) {
    (void)state;
    char text[400];
    mt_child c = {.pid = 7, .name = "a\x1b[31mb"};
    mt_target t = {.pid = 7, .header = &header};
    mt_child_tell(&c, &t, MT_CHILD_MAYBE, text, sizeof text);
    assert_non_null(strstr(text, "a\\x1b[31mb"));
    assert_null(strchr(text, 0x1b));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_was_seen_with_our_memory_is_the_same),
        cmocka_unit_test(one_that_was_seen_without_is_another),
        cmocka_unit_test(one_that_was_not_seen_is_judged_by_its_handlers),
        cmocka_unit_test(signals_that_were_ignored_are_not_expected),
        cmocka_unit_test(what_has_ended_tells_nothing),
        cmocka_unit_test(names_reach_no_terminal_as_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
