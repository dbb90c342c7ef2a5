/* The walk against glibc's backtrace, on stacks of every kind, and where it must give up. */
#include "unit.h"

#include <alloca.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "record/walk.h"

enum { DEPTH = 64 };

static __thread mt_walk_stack known;
static __thread void *mine[DEPTH], *theirs[DEPTH + 4];
static __thread uint32_t frames;
static __thread int expected;
static _Atomic int compared;

/* Both stacks from the caller on. They must be the same, or the walk's the beginning of the
 * other; returns whether they are the same. */
static __attribute__((noinline)) bool compare(void) {
    mt_walk_from from = MT_WALK_FROM_CALLER;
    frames = mt_walk(from, &known, mine, DEPTH);
    int n = backtrace(theirs, DEPTH + 4), at = 0;
    while (at < n && theirs[at] != (void *)from.pc) at++;
    expected = n - at < DEPTH ? n - at : DEPTH;
    compared++;
    assert_true(frames >= 1 && (int)frames <= expected);
    for (uint32_t i = 0; i < frames; i++) {
        /* the walk stores the place after an interrupted instruction, as after a call */
        bool interrupted = mine[i] == (char *)theirs[at + i] + 1;
        assert_true(mine[i] == theirs[at + i] || (interrupted && i > 0));
    }
    return (int)frames == expected;
}

static __attribute__((noinline)) void plain(int n) {
    if (n) plain(n - 1);
    else assert_true(compare());
    __asm__ volatile("" ::: "memory");
}

static __attribute__((noinline)) void with_alloca(int n) {
    char *p = alloca((size_t)(n * 37 % 500 + 1));
    memset(p, n, 1);
    __asm__ volatile("" : "+r"(p)::"memory");
    if (n) with_alloca(n - 1);
    else assert_true(compare());
    __asm__ volatile("" : "+r"(p)::"memory");
}

static __attribute__((noinline)) void large_frame(int n) {
    char big[70000];
    memset(big, n, 10);
    __asm__ volatile("" : : "r"(big) : "memory");
    if (n) large_frame(n - 1);
    else assert_true(compare());
    __asm__ volatile("" : : "r"(big) : "memory");
}

/* Larger than the distances that fit into a rule. */
static __attribute__((noinline)) void huge_frame(int n) {
    char big[1 << 20], *p = alloca((size_t)n + 1);
    memset(big, n, 10);
    __asm__ volatile("" : "+r"(p) : "r"(big) : "memory");
    if (n) huge_frame(n - 1);
    else assert_true(compare());
    __asm__ volatile("" : "+r"(p) : "r"(big) : "memory");
}

static __attribute__((noinline)) void huge_fixed_frame(void) {
    char big[1 << 20];
    __asm__ volatile("" : : "r"(big) : "memory");
    assert_true(compare());
    __asm__ volatile("" : : "r"(big) : "memory");
}

#if defined __x86_64__
static __attribute__((noinline, force_align_arg_pointer)) void realigned(int n) {
    char wide[64] __attribute__((aligned(64)));
    memset(wide, n, sizeof wide);
    __asm__ volatile("" : : "r"(wide) : "memory");
    char *p = alloca((size_t)n + 1);
    __asm__ volatile("" : "+r"(p)::"memory");
    if (n) realigned(n - 1);
    else assert_true(compare());
    __asm__ volatile("" : : "r"(wide) : "memory");
}
#else
#define realigned plain
#endif

#if defined __aarch64__
/* Compiled so that it signs its return address, where the processor can. */
static __attribute__((noinline, target("branch-protection=pac-ret+leaf"))) void signing(int n) {
    if (n) signing(n - 1);
    else assert_true(compare());
    __asm__ volatile("" ::: "memory");
}
#else
#define signing plain
#endif

static __attribute__((noinline)) void entered(uintptr_t sp) {
    char *moved = alloca(sp % 100 + 16);
    __asm__ volatile("" : "+r"(moved)::"memory");
    mt_walk_from from = MT_WALK_FROM_CALLER;
    assert_int_equal(from.sp, sp);
    assert_int_equal(from.pc, (uintptr_t)__builtin_return_address(0));
}

/* With clang on arm64 it was the callee's frame pointer. */
static void the_walk_begins_with_the_caller_s_stack_pointer(void **state) {
    (void)state;
    uintptr_t sp = 0;
#if defined __x86_64__
    __asm__ volatile("mov %%rsp, %0" : "=r"(sp));
#else
    __asm__ volatile("mov %0, sp" : "=r"(sp));
#endif
    entered(sp);
    __asm__ volatile("" ::: "memory");
}

static int in_callback(struct dl_phdr_info *info, size_t size, void *context) {
    (void)info, (void)size, (void)context;
    plain(3);
    return 1;
}

static int by_comparison(const void *a, const void *b) {
    static int once;
    if (once++ == 0) assert_true(compare());
    return *(const int *)a - *(const int *)b;
}

static void ordinary_stacks_are_the_same(void **state) {
    (void)state;
    for (int n = 0; n < 70; n++) {
        plain(n);
        with_alloca(n);
        large_frame(n % 20);
        realigned(n % 30);
        signing(n);
    }
    huge_frame(3);
    huge_fixed_frame();
    int numbers[] = {3, 1, 2};
    qsort(numbers, 3, sizeof *numbers, by_comparison);
    dl_iterate_phdr(in_callback, NULL);
}

static void *thread(void *seed) {
    uint64_t random = (uint64_t)(uintptr_t)seed;
    for (int i = 0; i < 3000; i++) {
        int n = (int)(unit_random(&random) % 40);
        if (i % 3 == 0) plain(n);
        else if (i % 3 == 1) with_alloca(n);
        else large_frame(n % 10);
    }
    return NULL;
}

static void threads_share_the_rules(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    pthread_t t[8];
    for (int i = 0; i < 8; i++)
        pthread_create(&t[i], NULL, thread, (void *)(uintptr_t)(unit_random(&seed) | 1));
    for (int i = 0; i < 8; i++) pthread_join(t[i], NULL);
    assert_true(compared > 24000);
}

static void branch(uint64_t *random, int depth);

/* Two ways from one frame to the next: by other places in the code, with other frame sizes. */
static __attribute__((noinline)) void left(uint64_t *random, int depth) {
    branch(random, depth);
    __asm__ volatile("" ::: "memory");
}

static __attribute__((noinline)) void right(uint64_t *random, int depth) {
    char *p = alloca((size_t)(unit_random(random) % 3) * 16 + 1);
    __asm__ volatile("" : "+r"(p)::"memory");
    branch(random, depth);
    __asm__ volatile("" : "+r"(p)::"memory");
}

static __attribute__((noinline)) void branch(uint64_t *random, int depth) {
    assert_true(compare());
    if (depth == 0) return;
    for (uint64_t n = unit_random(random) % 4; n > 0; n--) {
        if (unit_random(random) % 2) left(random, depth - 1);
        else right(random, depth - 1);
        assert_true(compare());
    }
}

/* Each stack has its outer frames in common with the one before, and frames at the same places
 * that are others. */
static void stacks_that_change_in_parts_are_the_same(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    for (int i = 0; i < 300; i++) branch(&seed, 7);
}

static _Atomic int handled;

static void on_signal(int number) {
    (void)number;
    compare();
#if defined __x86_64__
    assert_int_equal(frames, expected); /* through the signal frame */
#endif
    handled++;
}

static __attribute__((noinline)) void busy(_Atomic int *stop) {
    volatile unsigned x = 1;
    while (!*stop) x = x * 3 + 1;
}

static void *poke(void *target) {
    for (int i = 0; i < 300; i++) {
        pthread_kill(*(pthread_t *)target, SIGUSR1);
        usleep(100);
    }
    return NULL;
}

static void *poked(void *stop) {
    busy(stop);
    return NULL;
}

static void a_signal_handler_is_walked(void **state) {
    (void)state;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    _Atomic int stop = 0;
    pthread_t target, poker;
    sigaction(SIGUSR1, &action, NULL);
    handled = 0;
    pthread_create(&target, NULL, poked, &stop);
    pthread_create(&poker, NULL, poke, &target);
    pthread_join(poker, NULL);
    stop = 1;
    pthread_join(target, NULL);
    assert_true(handled > 0);
}

static void a_handler_on_an_alternate_stack_is_walked(void **state) {
    (void)state;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    stack_t alternate = {.ss_sp = malloc(65536), .ss_size = 65536}, old;
    sigaltstack(&alternate, &old);
    sigaction(SIGUSR1, &action, NULL);
    handled = 0;
    for (int i = 0; i < 20; i++) raise(SIGUSR1);
    assert_int_equal(handled, 20);
    sigaltstack(&old, NULL);
    free(alternate.ss_sp);
}

#if defined __aarch64__
/* What a handler returns to, in an object: the kernel's, or that of an emulator, may lie in
 * none. Its address less one must be in the object too. */
void own_return(void);
__asm__(".text\n.balign 16\nnop\nown_return:\nmov x8, 139\nsvc 0\n.balign 16");

static void on_raise(int number) {
    (void)number;
    assert_true(compare()); /* through the signal frame to the end */
    handled++;
}

static void a_signal_frame_without_information_is_walked(void **state) {
    (void)state;
    enum { OWN_RETURN = 0x04000000 }; /* SA_RESTORER */
    struct {
        void (*handler)(int);
        unsigned long flags;
        void (*restorer)(void);
        uint64_t mask;
    } action = {on_raise, OWN_RETURN, own_return, 0};
    assert_int_equal(syscall(SYS_rt_sigaction, SIGUSR1, &action, NULL, 8), 0);
    handled = 0;
    for (int i = 0; i < 5; i++) raise(SIGUSR1);
    assert_int_equal(handled, 5);
}
#else
static void a_signal_frame_without_information_is_walked(void **state) {
    (void)state;
}
#endif

static ucontext_t outside, inside;

static void fiber(void) {
    compare();
    plain(5);
}

/* A fiber's stack is mapped, walked and unmapped; the next one may lie in the same place. */
static void fibers_are_walked_and_their_stacks_may_go(void **state) {
    (void)state;
    for (volatile int i = 0; i < 50; i++) {
        size_t bytes = 65536 << i % 3;
        char *stack =
            mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        getcontext(&inside);
        inside.uc_stack = (stack_t){.ss_sp = stack, .ss_size = bytes};
        inside.uc_link = &outside;
        makecontext(&inside, fiber, 0);
        swapcontext(&outside, &inside);
        munmap(stack, bytes);
        plain(5);
    }
}

/* Registers that lead nowhere: each must end the walk, none may fault. */
/* Two walks at once, by a signal handler in the middle of one, left steps in the memory of the
 * last walk that did not follow from each other; a word far beyond the stack was then read. */
static void a_damaged_memory_of_the_last_walk_is_not_followed(void **state) {
    (void)state;
    static mt_walk_stack damaged;
    uint64_t seed = unit_seed();
    mt_walk_from from = MT_WALK_FROM_CALLER;
    void *stack[DEPTH], *right[DEPTH];
    mt_walk_stack fresh = {0};
    uint32_t expected_frames = mt_walk(from, &fresh, right, DEPTH);
    for (int i = 0; i < 20000; i++) {
        mt_walk(from, &damaged, stack, DEPTH);
        uint32_t last = damaged.last & 1;
        for (int n = 0; n < 3; n++) {
            mt_walk_step *s = &damaged.walk[last][unit_random(&seed) % (expected_frames + 1)];
            uint64_t r = unit_random(&seed);
            if (r % 3 == 0) s->ra = (uint32_t)(r >> 33);
            if (r % 3 == 1) s->saved_fp = (uint32_t)(r >> 33);
            if (r % 3 == 2) s->sp += (r >> 40) & ~7ull;
        }
        damaged.steps[last] = expected_frames;
        mt_walk(from, &damaged, stack, DEPTH);
    }
    damaged = (mt_walk_stack){0};
    assert_int_equal(mt_walk(from, &damaged, stack, DEPTH), expected_frames);
    assert_memory_equal(stack, right, expected_frames * sizeof *stack);
}

/* A last walk of one frame, the outermost, was taken for the same as one that began elsewhere:
 * it had as many frames, so that nothing was walked. */
static void a_last_walk_of_one_frame_does_not_end_another(void **state) {
    (void)state;
    known.steps[0] = known.steps[1] = 0;
    known.ended[0] = known.ended[1] = 1;
    assert_true(compare());
    assert_true(frames > 1);
}

static void wrong_registers_end_the_walk(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    void *stack[DEPTH];
    mt_walk_from good = {(uintptr_t)__builtin_return_address(0), MT_WALK_CFA(), 0};
    for (int i = 0; i < 20000; i++) {
        mt_walk_stack fresh = {0};
        mt_walk_from from = good;
        uint64_t r = unit_random(&seed);
        if (i % 4 == 0) from.pc = r;
        if (i % 4 == 1) from.sp = (uintptr_t)&fresh - 4096 * (r % 64); /* readable, but wrong */
        if (i % 4 == 2) from.fp = r >> 16;
        if (i % 4 == 3) from.pc = (uintptr_t)memcpy + r % 64;
        assert_true(mt_walk(from, &fresh, stack, DEPTH) <= DEPTH);
    }
    assert_int_equal(mt_walk(good, &known, stack, 0), 0);
    assert_int_equal(mt_walk(good, &known, stack, 1), 1);
}

#if defined __x86_64__ /* push rbp; mov rbp,rsp; call *rdi; pop rbp; ret */
static const unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};
#else /* stp x29,x30,[sp,-16]!; mov x29,sp; blr x0; ldp x29,x30,[sp],16; ret */
static const unsigned char code[] = {0xfd, 0x7b, 0xbf, 0xa9, 0xfd, 0x03, 0x00,
                                     0x91, 0x00, 0x00, 0x3f, 0xd6, 0xfd, 0x7b,
                                     0xc1, 0xa8, 0xc0, 0x03, 0x5f, 0xd6};
#endif

static __attribute__((noinline)) void below_code_of_ours(void) {
    void *stack[DEPTH];
    mt_walk_from from = MT_WALK_FROM_CALLER;
    assert_int_equal(mt_walk(from, &known, stack, DEPTH), 1);
    assert_ptr_equal(stack[0], __builtin_return_address(0));
    frames = 1;
}

static void code_without_information_ends_the_walk(void **state) {
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void (*jitted)(void (*)(void)) = mmap(NULL, page, PROT_READ | PROT_WRITE | PROT_EXEC,
                                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy((void *)jitted, code, sizeof code);
    __builtin___clear_cache((char *)jitted, (char *)jitted + sizeof code);
    frames = 0;
    jitted(below_code_of_ours);
    assert_int_equal(frames, 1);
    munmap((void *)jitted, page);
    void *stack[DEPTH];
    mt_walk_from gone = {(uintptr_t)jitted + 6, MT_WALK_CFA(), 0};
    assert_int_equal(mt_walk(gone, &known, stack, DEPTH), 1);
}

static int start(void **state) {
    (void)state;
    void *warm[4];
    backtrace(warm, 4);
    if (mt_walk_start() != 0) {
        printf("   the walk does not exist here\n");
        exit(0);
    }
    return mt_walk_start();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_walk_begins_with_the_caller_s_stack_pointer),
        cmocka_unit_test(ordinary_stacks_are_the_same),
        cmocka_unit_test(stacks_that_change_in_parts_are_the_same),
        cmocka_unit_test(threads_share_the_rules),
        cmocka_unit_test(a_signal_handler_is_walked),
        cmocka_unit_test(a_handler_on_an_alternate_stack_is_walked),
        cmocka_unit_test(a_signal_frame_without_information_is_walked),
        cmocka_unit_test(fibers_are_walked_and_their_stacks_may_go),
        cmocka_unit_test(a_damaged_memory_of_the_last_walk_is_not_followed),
        cmocka_unit_test(a_last_walk_of_one_frame_does_not_end_another),
        cmocka_unit_test(wrong_registers_end_the_walk),
        cmocka_unit_test(code_without_information_ends_the_walk),
    };
    return cmocka_run_group_tests_name("walk", tests, start, NULL);
}
