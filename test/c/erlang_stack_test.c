/* The Erlang stack of a process that is made up here, in a layout that nobody has told about.
 */
#include "unit.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hook/erlang_stack.h"

enum { WORDS = 64, HEAP = 1000, RETURN = 0x40000000, ZONE = 3 };
enum { HTOP = 9, HEAP_AT = 13, SIZE_AT = 17 };

static const uintptr_t pid = 0x7303;

/* A word of space before and behind, where nothing may be read. */
static struct {
    uintptr_t env[16], process[WORDS], heap[HEAP];
    uintptr_t *top, *stop;
    ErlNifTSDKey unused;
    int thread_type;
} vm;

int enif_thread_type(void) {
    return vm.thread_type;
}

ErlNifPid *enif_self(ErlNifEnv *env, ErlNifPid *self) {
    (void)env;
    self->pid = pid;
    return self;
}

/* Where every process ends: some machine code. */
static uintptr_t end_of_process(void) {
    return (uintptr_t)enif_self & ~(uintptr_t)15;
}

/* A process with so many words on its stack, the outermost of which is where it ends. */
static void make_process(uint32_t words, uint32_t terms) {
    memset(&vm, 0, sizeof vm);
    vm.thread_type = ERL_NIF_THR_NORMAL_SCHEDULER;
    for (int i = 0; i < WORDS; i++) vm.process[i] = 0x1000u * (unsigned)i + 15;
    vm.top = vm.heap + terms;
    vm.stop = vm.heap + HEAP - words;
    vm.process[0] = pid;
    vm.process[HTOP] = (uintptr_t)vm.top;
    vm.process[HTOP + 1] = (uintptr_t)vm.stop;
    vm.process[HEAP_AT] = (uintptr_t)vm.heap;
    vm.process[HEAP_AT + 1] = (uintptr_t)(vm.heap + HEAP);
    vm.process[SIZE_AT] = HEAP;
    vm.env[0] = (uintptr_t)&vm.unused;
    vm.env[1] = (uintptr_t)vm.process;
    vm.env[2] = (uintptr_t)vm.top;
    vm.env[3] = (uintptr_t)(vm.stop - ZONE);
    for (uint32_t i = 0; i < words; i++) vm.stop[i] = 16 * i + 15; /* small integers */
    vm.stop[words - 1] = end_of_process();
}

static ErlNifEnv *env(void) {
    return (ErlNifEnv *)vm.env;
}

static uint32_t frames(uintptr_t *out, uint32_t max) {
    return mt_erlang_stack(env(), pid, out, max);
}

static void make_ambiguous_process(void) {
    make_process(30, 50);
    vm.process[40] = vm.process[HTOP]; /* a second place that looks like the first */
    vm.process[41] = vm.process[HTOP + 1];
    vm.process[42] = vm.process[HEAP_AT];
    vm.process[43] = vm.process[HEAP_AT + 1];
    vm.process[44] = HEAP;
}

/* A call that does not agree begins it anew: what had agreed before counts no more. */
static int disagree_once(void) {
    make_process(20, 100);
    for (int i = 0; i + 1 < MT_ERLANG_STACK_CALLS; i++) mt_erlang_stack_calibrate(env());
    make_ambiguous_process();
    bool believed = mt_erlang_stack_calibrate(env());
    make_process(25, 100);
    for (int i = 0; i + 1 < MT_ERLANG_STACK_CALLS; i++)
        believed |= mt_erlang_stack_calibrate(env());
    if (believed || !mt_erlang_stack_lacks()) return 1;
    make_process(30, 100);
    return !mt_erlang_stack_calibrate(env()) || mt_erlang_stack_lacks();
}

static int disagree_too_often(void) {
    for (int i = 0; i < MT_ERLANG_STACK_FAILURES; i++) {
        make_ambiguous_process();
        mt_erlang_stack_calibrate(env());
    }
    bool believed = false;
    for (uint32_t i = 0; i < 10; i++) {
        make_process(20 + i, 100);
        believed |= mt_erlang_stack_calibrate(env());
    }
    return believed || !mt_erlang_stack_lacks();
}

/* In a child, which keeps its disappointment to itself. */
static void assert_well_in_a_child(int (*f)(void)) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) _exit(f());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void calls_that_do_not_agree_begin_anew_and_at_last_switch_it_off(void **state) {
    (void)state;
    assert_well_in_a_child(disagree_once);
    assert_well_in_a_child(disagree_too_often);
}

static void nothing_is_believed_before_several_calls_agree(void **state) {
    (void)state;
    uintptr_t out[4];
    make_process(20, 100);
    vm.stop[0] = RETURN;
    assert_non_null(mt_erlang_stack_lacks());
    for (int i = 0; i < MT_ERLANG_STACK_CALLS; i++)
        assert_false(mt_erlang_stack_calibrate(env())); /* all from the same depth */
    assert_int_equal(frames(out, 4), 0);
    assert_non_null(mt_erlang_stack_lacks());
    make_process(30, 50);
    assert_true(mt_erlang_stack_calibrate(env()));
    assert_null(mt_erlang_stack_lacks());
}

static void return_addresses_are_found_among_terms(void **state) {
    (void)state;
    uintptr_t out[8];
    make_process(40, 0);
    vm.stop[0] = RETURN;
    vm.stop[3] = RETURN + 8;
    vm.stop[4] = (uintptr_t)(vm.stop + 9); /* a frame pointer */
    vm.stop[5] = (uintptr_t)vm.heap | 1;   /* a list */
    vm.stop[7] = RETURN + 8;               /* the same function again */
    vm.stop[9] = RETURN + 16;
    vm.stop[10] = 0;
    assert_int_equal(frames(out, 8), 3);
    assert_int_equal(out[0], RETURN);
    assert_int_equal(out[1], RETURN + 8);
    assert_int_equal(out[2], RETURN + 16);
    assert_int_equal(frames(out, 2), 2);
    assert_int_equal(frames(out, 0), 0);
}

static void a_deep_stack_is_not_gone_through_to_its_end(void **state) {
    (void)state;
    uintptr_t out[8];
    make_process(900, 0);
    vm.stop[511] = RETURN;
    vm.stop[512] = RETURN + 8;
    assert_int_equal(frames(out, 8), 1);
}

static void a_dirty_scheduler_or_another_process_has_none(void **state) {
    (void)state;
    uintptr_t out[8];
    make_process(40, 0);
    vm.stop[0] = RETURN;
    assert_int_equal(frames(out, 8), 1);
    vm.thread_type = ERL_NIF_THR_DIRTY_CPU_SCHEDULER;
    assert_int_equal(frames(out, 8), 0);
    vm.thread_type = ERL_NIF_THR_NORMAL_SCHEDULER;
    assert_int_equal(mt_erlang_stack(env(), pid + 16, out, 8), 0);
}

/* What is not a sound process any more is not followed, wherever it points. */
static void a_process_that_does_not_hang_together_is_not_read(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    for (int round = 0; round < 50000; round++) {
        uintptr_t out[8];
        static const int places[] = {HTOP, HTOP + 1, HEAP_AT, HEAP_AT + 1, SIZE_AT};
        make_process(40, 10);
        vm.stop[0] = RETURN;
        int place = places[unit_random(&seed) % 5];
        uintptr_t before = vm.process[place];
        uintptr_t after = unit_random(&seed) >> (unit_random(&seed) % 64);
        vm.process[place] = after;
        bool inside = (place == HTOP && after >= vm.process[HEAP_AT] &&
                       after <= vm.process[HTOP + 1] && after % 8 == 0) ||
                      after == before ||
                      (place == HTOP + 1 && after >= vm.process[HTOP] &&
                       after <= vm.process[HEAP_AT + 1] && after % 8 == 0);
        if (!inside) assert_int_equal(frames(out, 8), 0);
    }
}

static void once_trusted_it_stays_so(void **state) {
    (void)state;
    make_process(40, 10);
    vm.process[SIZE_AT] = 1;
    assert_true(mt_erlang_stack_calibrate(env()));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_that_do_not_agree_begin_anew_and_at_last_switch_it_off),
        cmocka_unit_test(nothing_is_believed_before_several_calls_agree),
        cmocka_unit_test(return_addresses_are_found_among_terms),
        cmocka_unit_test(a_deep_stack_is_not_gone_through_to_its_end),
        cmocka_unit_test(a_dirty_scheduler_or_another_process_has_none),
        cmocka_unit_test(a_process_that_does_not_hang_together_is_not_read),
        cmocka_unit_test(once_trusted_it_stays_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
