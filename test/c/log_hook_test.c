/* The event log as the hooks call it. */
#include "unit.h"

#include <string.h>
#include <unistd.h>

#include "record/control.h"
#include "record/log.h"
#include "record/tracer.h"

enum { FULL = MT_LOG_EVENT_WORDS - 4 }; /* more words than that are written out */

static char folder[] = "/tmp/mtrace-log-XXXXXX", path[100];
static char chunk[2][64];
static mt_thread *block;
static mt_log_buffer *buffer;

static mt_log_op op_before(uint32_t words) {
    return (mt_log_op)(buffer->word[buffer->events - words] & 15);
}

static void hook(void) {}

/* As malloc.c does it. */
static void allocates(void *p) {
    assert_true(mt_log_draws_now(MT_COUNT_malloc));
    mt_log_allocated(p, 64, (void *)(uintptr_t)hook, MT_WALK_FROM_CALLER);
}

static int begin(void **state) {
    (void)state;
    mt_log_options options = {.file = path};
    mt_options none = {.depth = 8, .slots = 4096};
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/log", folder);
    if (mt_tracer_start(&none) != 0 || mt_log_begin(&options, 8) != 0) return -1;
    block = mt_thread_mine();
    allocates(chunk[0]);
    buffer = block->log;
    return buffer ? 0 : -1;
}

static int end(void **state) {
    (void)state;
    mt_log_end(MT_LOG_END_EXIT);
    return unlink(path) || rmdir(folder);
}

/* An allocator may give the old chunk back by our free: that was a free more than there were
 * allocations, and the realloc had lost what it came from. */
static void a_realloc_that_frees_through_us_is_told_once(void **state) {
    (void)state;
    assert_true(mt_log_draws_realloc(MT_COUNT_realloc, chunk[0]));
    uint32_t before = buffer->events;
    mt_log_freed_from(chunk[0], NULL, 0, 0, 0);
    assert_int_equal(buffer->events, before);
    assert_int_equal(op_before(1), MT_LOG_REALLOC_FROM);
    mt_log_freed_from(chunk[1], NULL, 0, 0, 0); /* another's end is told */
    assert_int_equal(op_before(2), MT_LOG_FREE);
    mt_log_allocated(chunk[1], 64, (void *)(uintptr_t)hook, MT_WALK_FROM_CALLER);
    assert_int_equal(op_before(2), MT_LOG_REALLOC_TO);
    mt_log_freed_from(chunk[0], NULL, 0, 0, 0);
    assert_int_equal(op_before(2), MT_LOG_FREE);
}

/* A frame that has returned since, further down than those to come. */
static __attribute__((noinline)) uintptr_t deep(void) {
    char room[16384];
    memset(room, 1, sizeof room);
    __asm__ volatile("" ::"r"(room) : "memory");
    return (uintptr_t)__builtin_frame_address(0) - sizeof room;
}

/* A handler that jumped out after the last event was put and before it was written: the next
 * event went over the definitions. */
static void a_full_buffer_that_was_jumped_out_of_is_written_first(void **state) {
    (void)state;
    while (buffer->events <= FULL - 2) allocates(chunk[0]);
    uint32_t written = buffer->sequence;
    uint64_t pad[MT_LOG_EVENT_WORDS - FULL + 2] = {MT_LOG_PAD};
    memcpy(buffer->word + buffer->events, pad, (MT_LOG_EVENT_WORDS - buffer->events) * 8);
    buffer->events = MT_LOG_EVENT_WORDS;
    buffer->busy_sp = deep();
    allocates(chunk[0]);
    assert_int_equal(buffer->sequence, written + 1);
    assert_true(buffer->events <= 3); /* with the time, if that was long */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_realloc_that_frees_through_us_is_told_once),
        cmocka_unit_test(a_full_buffer_that_was_jumped_out_of_is_written_first),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
