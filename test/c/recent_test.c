/* Walks that were taken of late: whatever is found is what a walk would find now. */
#include "unit.h"

#include <alloca.h>
#include <dlfcn.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "record/recent.h"
#include "record/unwind.h"

/* One thread's block that keeps its walks, and one that never does. */
static mt_thread block, fresh;
static uint64_t seed;
static int found, kept, asked;

static uint64_t sum_of(void *const *stack, uint32_t frames) {
    uint64_t h = frames;
    for (uint32_t i = 0; i < frames; i++) h = h * 31 + (uintptr_t)stack[i];
    return h;
}

/* As a hook does it. */
static __attribute__((noinline)) void hook(uint32_t max) {
    mt_walk_from from = MT_WALK_FROM_CALLER;
    void **stack, **anew, *own = (void *)(uintptr_t)hook;
    const mt_recent_walk *w = mt_recent_find(&block, own, from.pc, from.sp, from.fp, max);
    fresh.known.steps[0] = fresh.known.steps[1] = 0; /* nothing to go by */
    fresh.known.ended[0] = fresh.known.ended[1] = 0;
    uint32_t n = mt_unwind(&fresh, max, own, from, &anew);
    asked++;
    if (w) {
        found++;
        assert_int_equal(w->frames, n);
        assert_true(w->note.context == sum_of(anew, n));
        return;
    }
    uint32_t frames = mt_unwind(&block, max, own, from, &stack);
    assert_int_equal(frames, n);
    assert_memory_equal(stack, anew, n * sizeof *anew);
    mt_recent_note note = {.context = sum_of(stack, frames)};
    w = mt_recent_keep(&block, own, from.pc, from.sp, from.fp, max, note);
    if (!w) return;
    kept++;
    assert_int_equal(w->frames, n);
}

typedef void calling(void (*f)(uint32_t), uint32_t max);

static void descend(int n, uint32_t max);

static __attribute__((noinline)) void plain_frame(int n, uint32_t max) {
    descend(n, max);
    __asm__ volatile("" ::: "memory");
}

static __attribute__((noinline)) void other_frame(int n, uint32_t max) {
    descend(n, max);
    __asm__ volatile("" ::: "memory");
}

/* Its frame is found by its frame pointer, which frames below it save. Of one size: the same
 * place comes again with another path to it. */
static __attribute__((noinline)) void with_alloca(int n, uint32_t max) {
    char *p = alloca((size_t)(n % 2 * 32 + 16));
    __asm__ volatile("" : "+r"(p)::"memory");
    descend(n, max);
    __asm__ volatile("" : "+r"(p)::"memory");
}

/* Uses the register of frame pointers for something else. */
static __attribute__((noinline, optimize("omit-frame-pointer"))) void busy(int n,
                                                                           uint32_t max) {
    uint64_t a = seed, b = a * 3, c = b ^ 5, d = c + a, e = d * 7, f = e ^ b;
    __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
    descend(n, max);
    __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
}

static __attribute__((noinline, optimize("omit-frame-pointer"))) void busy_hook(uint32_t max) {
    uint64_t a = seed, b = a * 3, c = b ^ 5, d = c + a, e = d * 7, f = e ^ b;
    __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
    hook(max);
    __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
}

static __attribute__((noinline)) void descend(int n, uint32_t max) {
    static void (*const next[])(int, uint32_t) = {plain_frame, other_frame, with_alloca, busy};
    if (n) next[unit_random(&seed) >> 62](n - 1, max);
    else hook(max);
    __asm__ volatile("" ::: "memory");
}

int main(void);

static int forget(void **state) {
    (void)state;
    if (block.recent) memset(block.recent, 0, sizeof *block.recent);
    found = kept = asked = 0;
    return 0;
}

static void what_is_found_is_what_a_walk_finds(void **state) {
    (void)state;
    static const uint32_t depths[] = {2, 3, 5, 16, 32};
    seed = unit_seed();
    for (int i = 0; i < 30000; i++) {
        uint64_t r = unit_random(&seed);
        descend((int)((r >> 32) % 9), depths[r % 5]);
    }
    assert_true(found > asked / 20);
    assert_true(kept > asked / 20);
}

static void the_same_place_by_the_same_way_is_found(void **state) {
    (void)state;
    for (volatile int i = 0; i < 10; i++) plain_frame(0, 16);
    assert_int_equal(kept, 1);
    assert_int_equal(found, 9);
}

static __attribute__((noinline)) void twice(uint32_t max) {
    hook(max);
    hook(max);
    __asm__ volatile("" ::: "memory");
}

static void a_walk_of_another_depth_or_hook_or_place_is_not_found(void **state) {
    (void)state;
    for (volatile int i = 0; i < 4; i++) twice(i < 3 ? 16 : 15); /* from one place */
    assert_int_equal(found, 4);
    mt_walk_from from = MT_WALK_FROM_CALLER;
    void **stack;
    mt_unwind(&block, 16, (void *)(uintptr_t)hook, from, &stack);
    assert_non_null(mt_recent_keep(&block, (void *)(uintptr_t)hook, from.pc, from.sp, from.fp,
                                   16, (mt_recent_note){0}));
    assert_non_null(
        mt_recent_find(&block, (void *)(uintptr_t)hook, from.pc, from.sp, from.fp, 16));
    assert_null(
        mt_recent_find(&block, (void *)(uintptr_t)twice, from.pc, from.sp, from.fp, 16));
    assert_null(
        mt_recent_find(&block, (void *)(uintptr_t)hook, from.pc + 1, from.sp, from.fp, 16));
    assert_null(
        mt_recent_find(&block, (void *)(uintptr_t)hook, from.pc, from.sp - 16, from.fp, 16));
}

/* A thread that got the block, on a stack of its own. */
static void nothing_is_read_beyond_the_stack_that_is_known(void **state) {
    (void)state;
    for (volatile int i = 0; i < 3; i++) {
        mt_walk_stack known = block.known;
        if (i == 1) block.known.lo = block.known.hi = 0;
        plain_frame(0, 16);
        if (i == 1) block.known = known;
        assert_int_equal(found, i / 2);
    }
}

/* The same place and the same return addresses where they were, one of which is left over from
 * the call before: what tells the two ways apart is the frame pointer of the function between,
 * in the register or where a function below has saved it. */
static __attribute__((noinline)) void saves_fp(uint32_t max) {
    busy_hook(max);
    __asm__ volatile("" ::: "memory");
}

static __attribute__((noinline)) void between(size_t room, bool saved, uint32_t max) {
    char *p = alloca(room);
    __asm__ volatile("" : "+r"(p)::"memory");
    if (saved) saves_fp(max);
    else hook(max);
    __asm__ volatile("" : "+r"(p)::"memory");
}

static __attribute__((noinline)) void one_way(size_t room, bool saved, uint32_t max) {
    char *p = alloca(room);
    __asm__ volatile("" : "+r"(p)::"memory");
    between(256 - room, saved, max);
    __asm__ volatile("" : "+r"(p)::"memory");
}

static __attribute__((noinline)) void other_way(size_t room, bool saved, uint32_t max) {
    char *p = alloca(room);
    __asm__ volatile("" : "+r"(p)::"memory");
    between(256 - room, saved, max);
    __asm__ volatile("" : "+r"(p)::"memory");
}

static void return_addresses_that_were_left_over_mislead_nobody(void **state) {
    (void)state;
    void (*const way[])(size_t, bool, uint32_t) = {one_way, other_way};
    for (volatile int saved = 0; saved < 2; saved++)
        for (volatile int i = 0; i < 16; i++) way[i % 2](i % 2 ? 16 : 208, saved, 16);
    assert_int_equal(kept, asked - found);
}

#if defined __x86_64__
/* Goes into f(max) on a stack that ends at `top`, with `back` as its return address, or its own
 * where that is NULL. */
void enters(void (*f)(uint32_t), uint32_t max, void *top, void *back);
__asm__(".text\n.type enters, @function\nenters:\n"
        ".cfi_startproc\n"
        "push %rbp\n.cfi_def_cfa_offset 16\n.cfi_offset %rbp, -16\n"
        "mov %rsp, %rbp\n.cfi_def_cfa_register %rbp\n"
        "mov %rdi, %rax\nmov %esi, %edi\nmov %rdx, %rsp\n"
        "test %rcx, %rcx\njz 1f\ndec %rcx\npush %rcx\njmp *%rax\n"
        "1: call *%rax\n"
        "leave\n.cfi_def_cfa %rsp, 8\nret\n"
        ".cfi_endproc\n.size enters, .-enters\n");

static jmp_buf out;
static bool jumps;

static __attribute__((noinline)) void outermost(uint32_t max) {
    plain_frame(0, max);
    if (jumps) longjmp(out, 1);
    __asm__ volatile("" ::: "memory");
}

/* `wrong` is one more than the address. */
static void first_from_nowhere_then_from_here(uintptr_t wrong) {
    static char room[65536] __attribute__((aligned(16)));
    for (volatile int i = 0; i < 4; i++) {
        jumps = i % 2 == 0;
        if (setjmp(out) == 0)
            enters(outermost, 16, room + sizeof room - 64, jumps ? (void *)wrong : NULL);
    }
}

/* As some fibers begin. */
static void a_stack_that_ended_at_a_0_may_go_on_there(void **state) {
    (void)state;
    first_from_nowhere_then_from_here(1);
    assert_int_equal(asked, 4);
}

/* Some linkers leave pages that nobody may read between the parts of an object. */
static void code_that_cannot_be_read_is_not_read(void **state) {
    (void)state;
    static char hole[8192] __attribute__((aligned(4096)));
    assert_int_equal(mprotect(hole, 4096, PROT_NONE), 0);
    first_from_nowhere_then_from_here((uintptr_t)hole + 65);
    assert_int_equal(mprotect(hole, 4096, PROT_READ | PROT_WRITE), 0);
    assert_int_equal(asked, 4);
}

/* How often in turn a walk through `f`, always from the same place, is found. */
static __attribute__((noinline)) int times_found(calling *f) {
    int before, first = found;
    do {
        before = found;
        f(hook, 16);
    } while (found > before && found < first + 2 * MT_RECENT_TIMES);
    return found - first;
}

/* The only one, with one place. */
static mt_recent_walk *kept_one(void) {
    mt_recent_walk *one = NULL;
    for (int k = 0; k < MT_RECENT_WALKS; k++)
        if (block.recent->walk[k].pc) one = &block.recent->walk[k];
    assert_int_equal(kept, 1);
    assert_int_equal(one->places, 1);
    return one;
}

/* A function that no object has: calls its first argument with its second. */
static void through_code_that_no_object_has(void **state) {
    (void)state;
    static const uint8_t code[] = {0x48, 0x83, 0xec, 0x08, 0x48, 0x89, 0xf8, 0x89,
                                   0xf7, 0xff, 0xd0, 0x48, 0x83, 0xc4, 0x08, 0xc3};
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(page != MAP_FAILED);
    memcpy(page, code, sizeof code);
    calling *f = (calling *)(uintptr_t)page;
    int times[3];
    for (volatile int i = 0; i < 3; i++) {                  /* from one place */
        if (i == 1) kept_one()->place[0] = (uintptr_t)main; /* as if an object lay there */
        times[i] = times_found(f);
    }
    assert_int_equal(times[0], 0);
    assert_int_equal(times[1], MT_RECENT_TIMES - 1);
    assert_true(times[2] > MT_RECENT_TIMES);
    munmap(page, 4096);
}
#endif

/* They lie beside the test. */
static void *load(const char *name) {
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 32);
    assert_true(n > 0);
    path[n] = 0;
    strcpy(strrchr(path, '/') + 1, name);
    return dlopen(path, RTLD_NOW);
}

static void through_a_library_that_goes(void **state) {
    (void)state;
    for (volatile int i = 0; i < 4; i++) {
        void *library = load("recent_library.so");
        assert_non_null(library);
        calling *f = (calling *)(uintptr_t)dlsym(library, "calls");
        int before = found;
        for (volatile int k = 0; k < 5; k++) f(hook, 16);
        assert_true(found >= before + 3); /* a rule is kept when it was met once */
        dlclose(library);
        mt_walk_forget_unloaded();
    }
}

/* glibc unloads its own converters, say, without a call of ours. */
static void through_a_library_that_goes_in_silence(void **state) {
    (void)state;
    void *library = load("recent_library.so");
    calling *f = (calling *)(uintptr_t)dlsym(library, "calls");
    int times[4];
    for (volatile int i = 0; i < 4; i++) {  /* from one place */
        if (i == 2) kept_one()->id[0] ^= 2; /* as if another had come to lie there */
        times[i] = times_found(f);
    }
    assert_true(times[1] > MT_RECENT_TIMES);
    assert_true(times[2] < MT_RECENT_TIMES);
    assert_true(times[3] > MT_RECENT_TIMES);
    dlclose(library);
    mt_walk_forget_unloaded();
}

/* Where the walk that was taken instead could not be kept, the wrong one was found 63 times of
 * 64, for good. */
static void a_walk_that_is_known_to_be_wrong_is_given_up(void **state) {
    (void)state;
    void *library = load("recent_library.so");
    calling *f = (calling *)(uintptr_t)dlsym(library, "calls");
    while (kept == 0) times_found(f);
    mt_recent_walk *w = kept_one();
    assert_true(mt_recent_same_objects(w));
    w->id[0] ^= 2;
    assert_false(mt_recent_same_objects(w));
    assert_int_equal(w->pc, 0);
    dlclose(library);
    mt_walk_forget_unloaded();
}

static uintptr_t above; /* the function that called the library */

static __attribute__((noinline)) void hook_below_a_library(uint32_t max) {
    mt_walk_from from = MT_WALK_FROM_CALLER;
    void **stack;
    assert_int_equal(mt_unwind(&fresh, max, (void *)(uintptr_t)hook, from, &stack), max);
    assert_true((uintptr_t)stack[2] - above < 65536);
}

/* What tells one from the other has 16 bits: as if as many libraries had come and gone as it
 * takes for both to have the same. */
static void a_rule_of_another_library_is_not_followed_by_chance(void **state) {
    (void)state;
    void *library = load("recent_library.so");
    calling *f = (calling *)(uintptr_t)dlsym(library, "calls"), *first = f;
    above = (uintptr_t)a_rule_of_another_library_is_not_followed_by_chance;
    f(hook_below_a_library, 5);
    const mt_walk_step *step = fresh.known.walk[fresh.known.last & 1];
    uintptr_t place = step->pc - 1;
    f(hook_below_a_library, 5);
    uint32_t id = fresh.known.walk[fresh.known.last & 1]->id;
    dlclose(library);
    library = load("recent_large_library.so");
    f = (calling *)(uintptr_t)dlsym(library, "calls");
    for (int i = 0; f == first && i < 1000000; i++) {
        mt_walk_forget_unloaded();
        if (mt_walk_same_object(place, id)) break;
    }
    fresh.known.steps[0] = fresh.known.steps[1] = 0;
    f(hook_below_a_library, 5);
    dlclose(library);
    mt_walk_forget_unloaded();
}

#define TEST(f) cmocka_unit_test_setup(f, forget)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_is_found_is_what_a_walk_finds),
        TEST(the_same_place_by_the_same_way_is_found),
        TEST(a_walk_of_another_depth_or_hook_or_place_is_not_found),
        TEST(nothing_is_read_beyond_the_stack_that_is_known),
        TEST(return_addresses_that_were_left_over_mislead_nobody),
#if defined __x86_64__
        TEST(a_stack_that_ended_at_a_0_may_go_on_there),
        TEST(code_that_cannot_be_read_is_not_read),
        TEST(through_code_that_no_object_has),
#endif
        TEST(through_a_library_that_goes),
        TEST(through_a_library_that_goes_in_silence),
        TEST(a_walk_that_is_known_to_be_wrong_is_given_up),
        TEST(a_rule_of_another_library_is_not_followed_by_chance),
    };
    mt_unwind_start(true, false);
    if (mt_unwind_kind() != MT_UNWINDER_WALK) {
        print_message("[  PASSED  ] 0 test(s): there is no walk here\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
