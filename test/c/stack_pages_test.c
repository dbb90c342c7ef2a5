/* How often the walk asks the kernel, and what it then takes for readable. What it asks by is
 * replaced here by a function that counts. */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "record/readable.h"
#include "record/stack_pages.h"

enum { PAGE = MT_STACK_PAGE, DEPTH = 64 };

static __thread int asked;
static __thread uintptr_t last_asked;

bool mt_readable(uintptr_t address) {
    asked++;
    last_asked = address;
    return syscall(SYS_rt_sigprocmask, ~0, address & ~(uintptr_t)7, NULL, 8) == 0 ||
           errno != EFAULT;
}

static __thread mt_walk_stack known;

static __attribute__((noinline)) uint32_t walk(void) {
    void *stack[DEPTH];
    return mt_walk(MT_WALK_FROM_CALLER, &known, stack, DEPTH);
}

/* A loop in a function whose frame is larger than a page: each walk asked for each word beyond
 * that page, some five system calls an allocation. */
#define BELOW(name, bytes)                                                                     \
    static __attribute__((noinline)) uint32_t name(int walks) {                                \
        char frame[bytes];                                                                     \
        uint32_t frames = 0;                                                                   \
        memset(frame, walks, 16);                                                              \
        for (int i = 0; i < walks; i++) {                                                      \
            __asm__ volatile("" : : "r"(frame) : "memory");                                    \
            frames = walk();                                                                   \
        }                                                                                      \
        return frames;                                                                         \
    }
BELOW(below_two_pages, 2 * PAGE)
BELOW(below_many_pages, 70 * PAGE)
BELOW(below_megabytes, 2 << 20)

static void *ask_once(void *unused) {
    (void)unused;
    uint32_t frames = below_two_pages(1);
    assert_true(frames > 3);
    assert_true(asked < 10);
    int before = asked;
    assert_int_equal(below_two_pages(1000), frames);
    assert_int_equal(asked, before);
    return NULL;
}

static void a_page_is_asked_about_once(void **state) {
    (void)state;
    pthread_t thread;
    ask_once(NULL);
    assert_int_equal(pthread_create(&thread, NULL, ask_once, NULL), 0);
    pthread_join(thread, NULL);
}

static void a_frame_of_many_pages_is_known_after_some_walks(void **state) {
    (void)state;
    known = (mt_walk_stack){0};
    below_many_pages(10);
    int before = asked;
    below_many_pages(1000);
    assert_int_equal(asked, before);
    below_megabytes(20);
    before = asked;
    below_megabytes(1000);
    assert_int_equal(asked, before);
}

static void one_walk_asks_about_so_many_pages(void **state) {
    (void)state;
    known = (mt_walk_stack){0};
    asked = 0;
    below_megabytes(1);
    assert_true(asked <= 2 * MT_STACK_PAGES_AT_ONCE + 3 * DEPTH);
}

static void going_up_and_down_asks_no_more(void **state) {
    (void)state;
    known = (mt_walk_stack){0};
    below_two_pages(1);
    below_many_pages(10);
    int before = asked;
    for (int i = 0; i < 100; i++) {
        below_two_pages(1);
        below_many_pages(1);
    }
    assert_int_equal(asked, before);
}

/* Pages of ours: what can be read, a guard page, what can be read. */
static char *guarded(void) {
    char *p = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    assert_int_equal(mprotect(p + 4 * PAGE, PAGE, PROT_NONE), 0);
    return p;
}

static void a_frame_does_not_grow_over_a_guard_page(void **state) {
    (void)state;
    char *p = guarded();
    uintptr_t at = (uintptr_t)p;
    mt_walk_stack s = {.lo = at, .hi = at + PAGE};
    mt_stack_pages_frame(&s, at + 8, at + 7 * PAGE);
    assert_int_equal(s.lo, at);
    assert_int_equal(s.hi, at + 4 * PAGE);
    assert_false(mt_stack_pages_can_read(&s, at + 4 * PAGE));
    assert_true(mt_stack_pages_can_read(&s, at + 5 * PAGE));
    assert_false(mt_stack_pages_can_read(&s, at + 9));
    assert_int_equal(s.hi, at + 4 * PAGE);
    munmap(p, 8 * PAGE);
}

static void only_a_frame_of_this_stack_makes_it_grow(void **state) {
    (void)state;
    char *p = guarded();
    uintptr_t at = (uintptr_t)p;
    mt_walk_stack s = {.lo = at, .hi = at + PAGE};
    mt_stack_pages_frame(&s, at + 2 * PAGE, at + 3 * PAGE);
    assert_int_equal(s.hi, at + PAGE);
    mt_stack_pages_frame(&s, at - 8, at + 3 * PAGE);
    assert_int_equal(s.hi, at + PAGE);
    munmap(p, 8 * PAGE);
}

static void a_deeper_call_keeps_what_is_above_it(void **state) {
    (void)state;
    char *p = guarded();
    uintptr_t at = (uintptr_t)p;
    mt_walk_stack s = {.lo = at + 3 * PAGE, .hi = at + 4 * PAGE};
    mt_stack_pages_enter(&s, at + 8);
    assert_int_equal(s.lo, at);
    assert_int_equal(s.hi, at + 4 * PAGE);
    munmap(p, 8 * PAGE);
}

static void a_stack_below_a_guard_page_is_another_one(void **state) {
    (void)state;
    char *p = guarded();
    uintptr_t at = (uintptr_t)p;
    mt_walk_stack s = {.lo = at + 5 * PAGE, .hi = at + 7 * PAGE};
    mt_stack_pages_enter(&s, at + 2 * PAGE + 8);
    assert_int_equal(s.lo, at + 2 * PAGE);
    assert_int_equal(s.hi, at + 4 * PAGE);
    assert_int_equal(last_asked, at + 4 * PAGE);
    munmap(p, 8 * PAGE);
}

static void above_what_was_known_is_another_stack(void **state) {
    (void)state;
    uintptr_t at = 16 * PAGE;
    mt_walk_stack s = {.lo = at, .hi = at + PAGE};
    asked = 0;
    mt_stack_pages_enter(&s, at + PAGE);
    assert_int_equal(s.lo, at + PAGE);
    assert_int_equal(s.hi, at + 2 * PAGE);
    mt_stack_pages_enter(&s, at + 1000 * PAGE);
    assert_int_equal(s.lo, at + 1000 * PAGE);
    assert_int_equal(s.hi, at + 1001 * PAGE);
    assert_int_equal(asked, 0);
}

static ucontext_t outside, fibers[2];
static int fiber_walks;

static void fiber(int mine) {
    for (int i = 0; i < 50; i++) {
        fiber_walks += walk() > 0;
        swapcontext(&fibers[mine], &fibers[!mine]);
    }
    setcontext(&outside);
}

/* Side by side, each with a guard page at its end. */
static void fibers_that_take_turns_ask_for_little(void **state) {
    (void)state;
    enum { BYTES = 16 * PAGE };
    char *p = mmap(NULL, 2 * BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    static volatile int began;
    for (volatile int i = 0; i < 2; i++) {
        assert_int_equal(mprotect(p + i * BYTES, PAGE, PROT_NONE), 0);
        getcontext(&fibers[i]);
        fibers[i].uc_stack = (stack_t){.ss_sp = p + i * BYTES, .ss_size = BYTES};
        fibers[i].uc_link = NULL;
        makecontext(&fibers[i], (void (*)(void))fiber, 1, i);
    }
    asked = 0;
    getcontext(&outside);
    if (!began) {
        began = 1;
        setcontext(&fibers[0]);
    }
    assert_int_equal(fiber_walks, 100);
    assert_true(asked <= 300);
    munmap(p, 2 * BYTES);
}

static int start(void **state) {
    (void)state;
    if (mt_walk_start() != 0) {
        printf("   the walk does not exist here\n");
        exit(0);
    }
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_is_asked_about_once),
        cmocka_unit_test(a_frame_of_many_pages_is_known_after_some_walks),
        cmocka_unit_test(one_walk_asks_about_so_many_pages),
        cmocka_unit_test(going_up_and_down_asks_no_more),
        cmocka_unit_test(a_frame_does_not_grow_over_a_guard_page),
        cmocka_unit_test(only_a_frame_of_this_stack_makes_it_grow),
        cmocka_unit_test(a_deeper_call_keeps_what_is_above_it),
        cmocka_unit_test(a_stack_below_a_guard_page_is_another_one),
        cmocka_unit_test(above_what_was_known_is_another_stack),
        cmocka_unit_test(fibers_that_take_turns_ask_for_little),
    };
    return cmocka_run_group_tests_name("stack_pages", tests, start, NULL);
}
