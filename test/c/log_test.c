/* The event log's parts that can be looked at by themselves. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "record/log_buffer.h"
#include "record/log_clock.h"
#include "record/log_file.h"
#include "record/log_path.h"
#include "record/log_stacks.h"
#include "record/options.h"

static void a_path_is_expanded(void **state) {
    (void)state;
    char path[64], here[1000];
    assert_true(mt_log_path_expand("/tmp/%c.%p.%%", 4711, "a/b", path, sizeof path));
    assert_string_equal(path, "/tmp/a_b.4711.%");
    assert_true(getcwd(here, sizeof here - 10));
    strcat(here, "/log");
    char large[1100];
    assert_true(mt_log_path_expand("log", 1, "", large, sizeof large));
    assert_string_equal(large, here);
    assert_false(mt_log_path_expand("", 1, "", path, sizeof path));
    assert_false(mt_log_path_expand("/%", 1, "", path, sizeof path));
    assert_false(mt_log_path_expand("/%x", 1, "", path, sizeof path));
    assert_true(mt_log_path_expand("/1234567", 1, "", path, 9));
    assert_false(mt_log_path_expand("/1234567", 1, "", path, 8));
    assert_false(mt_log_path_expand("/%c", 1, "1234567", path, 8));
}

static const char *name[2], *value[2];

static const char *get(const char *wanted) {
    for (int i = 0; i < 2; i++)
        if (name[i] && strcmp(name[i], wanted) == 0) return value[i];
    return NULL;
}

static uint64_t limit_of(const char *text) {
    name[0] = "MTRACE_LOG", value[0] = "x";
    name[1] = "MTRACE_LOG_LIMIT", value[1] = text;
    return mt_options_read_log(get, NULL).limit;
}

static void a_limit_has_a_unit_or_none(void **state) {
    (void)state;
    assert_true(limit_of("1000000") == 1000000);
    assert_true(limit_of("300K") == 300 << 10);
    assert_true(limit_of("20M") == 20 << 20);
    assert_true(limit_of("3G") == 3ull << 30);
    static const char *const bad[] = {"",
                                      "K",
                                      "1",
                                      "1k",
                                      "1.5M",
                                      "-1M",
                                      "1MM",
                                      "16385G",
                                      "99999999999999G",
                                      "9999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_true(limit_of(bad[i]) == 0);
    name[0] = NULL;
    assert_null(mt_options_read_log(get, NULL).file);
}

enum { STACKS = 40000, FRAMES = 12 };
static mt_log_writer writer[2];

static void stack_of(uint64_t i, void **stack) {
    for (uint64_t k = 0; k < FRAMES; k++)
        stack[k] =
            (void *)(uintptr_t)(0x7f0000000000 + (i >> k & 3) * 0x1010 + (k == 7) * i * 16);
}

static void a_stack_has_one_number_until_the_stamp_changes(void **state) {
    (void)state;
    static uint32_t number[STACKS], seen[4 * STACKS];
    void *stack[FRAMES];
    bool defines;
    assert_int_equal(mt_log_stacks_start(), 0);
    for (uint32_t stamp = 1; stamp < 3; stamp++)
        for (int round = 0; round < 2; round++)
            for (uint32_t i = 0; i < STACKS; i++) {
                stack_of(i, stack);
                uint32_t n = mt_log_stacks_number(stack, FRAMES, stamp, &writer[0], &defines);
                assert_true(n > 0 && n < 4 * STACKS);
                assert_int_equal(defines, round == 0);
                if (round) assert_int_equal(n, number[i]);
                else assert_int_equal(seen[n], 0);
                number[i] = n;
                seen[n] = 1;
            }
    stack_of(0, stack);
    mt_log_stacks_number(stack, 2, 2, &writer[0], &defines);
    assert_true(defines);
    mt_log_stacks_number(stack, 3, 2, &writer[0], &defines);
    assert_true(defines);
    assert_int_equal(mt_log_stacks_full(), 0);
}

/* While the first one's buffer is not written, the second defines it too, and the first does
 * not do so again. */
static void a_stack_is_defined_by_each_thread_until_it_is_written(void **state) {
    (void)state;
    void *stack[FRAMES];
    bool defines;
    stack_of(50000, stack);
    for (int round = 0; round < 4; round++) {
        uint32_t stamp = 10 + (uint32_t)round;
        uint32_t n = mt_log_stacks_number(stack, FRAMES, stamp, &writer[0], &defines);
        assert_true(defines);
        assert_int_equal(mt_log_stacks_number(stack, FRAMES, stamp, &writer[0], &defines), n);
        assert_false(defines);
        if (round % 2) writer[0].written += round == 1 ? 1 : 1 << 15;
        assert_int_equal(mt_log_stacks_number(stack, FRAMES, stamp, &writer[1], &defines), n);
        assert_int_equal(defines, round % 2 == 0);
        mt_log_stacks_number(stack, FRAMES, stamp, &writer[1], &defines);
        assert_false(defines);
    }
}

enum { THREADS = 4 };
static _Atomic uint32_t definitions[1 << 20], of[1 << 20];

static void *numbers(void *unused) {
    void *stack[FRAMES];
    bool defines;
    for (uint32_t i = 0; i < 5000; i++) {
        stack_of(100000 + i, stack);
        uint32_t n = mt_log_stacks_number(stack, FRAMES, 3, &writer[0], &defines);
        assert_true(n > 0 && n < 1 << 20);
        if (defines) atomic_fetch_add(&definitions[n], 1);
        uint32_t before = atomic_exchange(&of[n], i + 1);
        assert_true(before == 0 || before == i + 1);
    }
    return unused;
}

/* Each number that is used is defined, and never stands for two stacks. */
static void threads_agree_on_numbers(void **state) {
    (void)state;
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++) pthread_create(&t[i], NULL, numbers, NULL);
    for (int i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
    for (uint32_t n = 0; n < 1 << 20; n++) assert_int_equal(definitions[n] > 0, of[n] != 0);
}

static void times_can_be_told_between_the_clocks(void **state) {
    (void)state;
    mt_log_clock_start();
    uint64_t ns = mt_log_clock_ns(), ticks = mt_log_clock_ticks();
    usleep(30000);
    uint64_t now_ns = mt_log_clock_ns(), now = mt_log_clock_ticks();
    mt_log_clock_learn(now, now_ns);
    uint64_t then = mt_log_clock_then(now, now_ns, ns);
    uint64_t off = then > ticks ? then - ticks : ticks - then;
    assert_true(off < (now - ticks) / 20);
    assert_true(mt_log_clock_then(now, now_ns, now_ns) == now || !mt_log_clock_state.is_cpu);
    uint64_t passed = (now - ticks) >> mt_log_clock_state.shift;
    double seconds = (double)passed / (double)mt_log_clock_state.second;
    assert_true(seconds > 0.027 && seconds < 1);
}

/* A file of blocks without events. */

static uint64_t made[8];

static const mt_log_block *make(uint32_t generation, uint32_t sequence) {
    mt_log_block head = {.magic = MT_LOG_MAGIC,
                         .version = MT_LOG_VERSION,
                         .bytes = sizeof head,
                         .generation = generation,
                         .sequence = sequence,
                         .end_ns = mt_log_clock_ns(),
                         .checksum = mt_log_checksum(made, 0)};
    memcpy(made, &head, sizeof head);
    return (const mt_log_block *)made;
}

static const mt_log_block *first(uint32_t generation, mt_log_reason reason) {
    return make(generation, 1000 + reason);
}

static const mt_log_block *last(uint32_t generation, mt_log_ending why) {
    return make(generation, 2000 + why);
}

static int sequences(const char *path, uint32_t *found, int most) {
    mt_log_block head;
    int fd = open(path, O_RDONLY), n = 0;
    assert_true(fd >= 0);
    while (n < most && read(fd, &head, sizeof head) == sizeof head) {
        assert_true(head.magic == MT_LOG_MAGIC);
        found[n++] = head.sequence;
    }
    close(fd);
    return n;
}

/* The file is the process's: one test goes through its life. */
static void a_file_lives_through_what_is_done_to_it(void **state) {
    (void)state;
    char folder[] = "/tmp/mtrace-log-XXXXXX", path[100], other[100];
    uint32_t found[20];
    struct stat st;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/log", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    mt_log_file_on_limit(last);
    assert_int_equal(mt_log_file_open(path, 6 * 64, false, first), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    for (uint32_t i = 1; i < 4; i++)
        assert_int_equal(mt_log_file_append(make(0, i)), MT_LOG_WRITTEN);
    assert_int_equal(sequences(path, found, 20), 4);
    assert_int_equal(found[0], 1000 + MT_LOG_FIRST);
    assert_int_equal(found[3], 3);

    /* a part of a block does not stay; SIGXFSZ does not come */
    struct rlimit before, now;
    getrlimit(RLIMIT_FSIZE, &before);
    now = before;
    now.rlim_cur = 4 * 64 + 24;
    setrlimit(RLIMIT_FSIZE, &now);
    errno = 77;
    assert_int_equal(mt_log_file_append(make(0, 4)), MT_LOG_LOST);
    assert_int_equal(errno, 77);
    assert_int_equal(mt_log_file_append(make(0, 4)), MT_LOG_LOST);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 4 * 64);
    usleep(1100000);

    /* descriptors of ours that are closed, and taken by others */
    int theirs = open(other, O_RDWR | O_CREAT, 0600);
    for (int fd = 3; fd < 1024; fd++)
        if (fd != theirs && fcntl(fd, F_GETFD) >= 0) dup2(theirs, fd);
    assert_int_equal(mt_log_file_append(make(0, 5)), MT_LOG_WRITTEN);
    assert_int_equal(sequences(path, found, 20), 5);
    assert_int_equal(stat(other, &st), 0);
    assert_int_equal(st.st_size, 0);

    /* its limit; what comes of the generation before is refused */
    assert_int_equal(mt_log_file_append(make(0, 6)), MT_LOG_WRITTEN);
    assert_int_equal(mt_log_file_append(make(0, 7)), MT_LOG_FORMER);
    assert_int_equal(mt_log_file_generation(), 1);
    assert_int_equal(mt_log_file_append(make(0, 8)), MT_LOG_FORMER);
    assert_int_equal(mt_log_file_append(make(1, 9)), MT_LOG_WRITTEN);
    assert_int_equal(sequences(path, found, 20), 2);
    assert_int_equal(found[0], 1000 + MT_LOG_STARTED_OVER);

    /* another file in its place that is not empty is not ours */
    assert_int_equal(rename(path, other), 0);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_int_equal(write(fd, "theirs", 6), 6);
    usleep(1100000);
    assert_int_equal(mt_log_file_append(make(1, 10)), MT_LOG_WRITTEN);
    assert_int_equal(sequences(other, found, 20), 3);

    /* one that is empty is, and so is none */
    assert_int_equal(ftruncate(fd, 0), 0);
    usleep(1100000);
    assert_int_equal(mt_log_file_append(make(1, 11)), MT_LOG_WRITTEN);
    assert_int_equal(sequences(other, found, 20), 4);
    assert_int_equal(mt_log_file_generation(), 2);
    assert_int_equal(sequences(path, found, 20), 1);
    assert_int_equal(found[0], 1000 + MT_LOG_REOPENED);
    unlink(path);
    usleep(1100000);
    assert_int_equal(mt_log_file_append(make(2, 12)), MT_LOG_WRITTEN);
    assert_int_equal(mt_log_file_append(make(3, 13)), MT_LOG_WRITTEN);
    mt_log_file_end(MT_LOG_END_EXIT);
    assert_int_equal(mt_log_file_append(make(3, 14)), MT_LOG_ENDED);
    assert_int_equal(sequences(path, found, 20), 3);
    assert_int_equal(found[2], 2000 + MT_LOG_END_EXIT);
    unlink(path);
    unlink(other);
    rmdir(folder);
}

static void events_are_counted_by_their_words(void **state) {
    (void)state;
    uint64_t w[] = {
        MT_LOG_PAD, MT_LOG_ALLOC,        8,           MT_LOG_ALLOC_LARGE, 8, 8, MT_LOG_FREE,
        8,          MT_LOG_REALLOC_FROM, MT_LOG_TIME, MT_LOG_REALLOC_TO,  9};
    assert_int_equal(mt_log_buffer_count(w, sizeof w / sizeof *w), 5);
    assert_int_equal(mt_log_buffer_count(w, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_is_expanded),
        cmocka_unit_test(a_limit_has_a_unit_or_none),
        cmocka_unit_test(a_stack_has_one_number_until_the_stamp_changes),
        cmocka_unit_test(a_stack_is_defined_by_each_thread_until_it_is_written),
        cmocka_unit_test(threads_agree_on_numbers),
        cmocka_unit_test(times_can_be_told_between_the_clocks),
        cmocka_unit_test(events_are_counted_by_their_words),
        cmocka_unit_test(a_file_lives_through_what_is_done_to_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
