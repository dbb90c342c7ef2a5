/* Corners in which a tracer has crashed, hung or been seen; each by its name:
 *
 *   corner CASE [LIBRARY ...]
 *
 * They run as well without the preload (then they only must not fail), but for those that ask
 * the core. Each ends with 0 and says nothing if all is well. */
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "traced.h"

static void keep(void *p) {
    __asm__ volatile("" : "+r"(p)::"memory");
}

/* A page that faults below the stack. */
static char *guarded_stack(size_t bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *p =
        mmap(NULL, bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    CHECK(mprotect(p, page, PROT_NONE) == 0);
    return p + page;
}

static void allocate_on_signal(int number) {
    (void)number;
    void *p = malloc(24);
    keep(p);
    free(p);
}

static void small_signal_stack(void) {
    stack_t stack = {.ss_sp = guarded_stack(8192), .ss_size = 8192};
    struct sigaction action = {.sa_handler = allocate_on_signal, .sa_flags = SA_ONSTACK};
    CHECK(sigaltstack(&stack, NULL) == 0);
    sigaction(SIGUSR1, &action, NULL);
    for (int i = 0; i < 5; i++) raise(SIGUSR1);
}

static ucontext_t outside, inside;

static void allocate_in_coroutine(void) {
    void *p = malloc(100);
    keep(p);
    free(p);
}

static void small_coroutine(void) {
    free(malloc(1));
    getcontext(&inside);
    inside.uc_stack = (stack_t){.ss_sp = guarded_stack(4096), .ss_size = 4096};
    inside.uc_link = &outside;
    makecontext(&inside, allocate_in_coroutine, 0);
    swapcontext(&outside, &inside);
}

static void *allocate_24(void *unused) {
    (void)unused;
    return malloc(24);
}

static void *spawn_and_allocate(void *stop) {
    while (!*(atomic_bool *)stop) {
        pthread_t t;
        if (pthread_create(&t, NULL, allocate_24, NULL) != 0) continue;
        void *p;
        pthread_join(t, &p);
        free(p);
    }
    return NULL;
}

/* A library's constructor, earlier than ours, registered a handler that allocates in the child
 * (loaded_at_fork): it ran while tracing was still on. */
static void fork_handlers(void) {
    atomic_bool stop = false;
    pthread_t t[2];
    for (int i = 0; i < 2; i++) pthread_create(&t[i], NULL, spawn_and_allocate, &stop);
    for (int i = 0; i < 200; i++) {
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            alarm(20);
            free(malloc(10));
            _exit(0);
        }
        CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    stop = true;
    for (int i = 0; i < 2; i++) pthread_join(t[i], NULL);
}

static pid_t fork_without_handlers(void) {
    return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); /* arm64 has no SYS_fork */
}

static bool ends_well(pid_t pid) {
    int status;
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Linux before 4.14 does not empty a page in the child, and qemu only says so. */
static bool pages_are_wiped_on_fork(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || madvise(p, page, MADV_WIPEONFORK) != 0) return false;
    *p = 1;
    pid_t pid = fork_without_handlers();
    if (pid == 0) _exit(*p);
    return ends_well(pid);
}

/* A child that no fork handler ran in. */
static void raw_fork(void) {
    if (!pages_are_wiped_on_fork()) return;
    pid_t pid = fork_without_handlers();
    if (pid == 0) {
        uint64_t before = traced_count(MT_COUNT_recorded);
        for (int i = 0; i < 1000; i++) keep(malloc(100));
        _exit(traced_count(MT_COUNT_recorded) != before);
    }
    CHECK(ends_well(pid));
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int in_constructor;

/* Called by the constructor of the library that load() loads. */
void corner_constructor(void);
void corner_constructor(void) {
    in_constructor = 1;
    pthread_mutex_lock(&lock);
    pthread_mutex_unlock(&lock);
}

static void *load(void *library) {
    return dlopen(library, RTLD_NOW);
}

/* Allocating for the first time, in every way, under a lock that a constructor wants in
 * another thread, which has the loader's. */
static void first_calls_under_a_lock(char *library) {
    pthread_t t;
    void *p = NULL;
    alarm(20);
    pthread_mutex_lock(&lock);
    pthread_create(&t, NULL, load, library);
    while (!in_constructor) usleep(1000);
    CHECK(posix_memalign(&p, 64, 100) == 0);
    free(p);
    free(strdup("x"));
    free(realloc(aligned_alloc(64, 64), 1000));
    for (int i = 0; i < 20000; i++) keep(malloc(100)); /* from many places, sampled or not */
    pthread_mutex_unlock(&lock);
    pthread_join(t, NULL);
}

static int allocate_under_lock(struct dl_phdr_info *info, size_t size, void *context) {
    (void)info, (void)size, (void)context;
    in_constructor = 1;
    pthread_mutex_lock(&lock);
    keep(malloc(77));
    pthread_mutex_unlock(&lock);
    return 1;
}

static void *iterate(void *unused) {
    dl_iterate_phdr(allocate_under_lock, NULL);
    return unused;
}

/* The same with a callback that holds the lock of the list of objects. */
static void cold_stacks_under_a_lock(void) {
    pthread_t t;
    alarm(20);
    pthread_mutex_lock(&lock);
    pthread_create(&t, NULL, iterate, NULL);
    while (!in_constructor) usleep(1000);
    for (int i = 0; i < 20000; i++) keep(malloc(100));
    keep(calloc(3, 3));
    pthread_mutex_unlock(&lock);
    pthread_join(t, NULL);
}

static void errors_of_the_loader(void) {
    void *p = NULL;
    CHECK(!dlopen("/no/such/file.so", RTLD_NOW));
    CHECK(posix_memalign(&p, 64, 64) == 0);
    char *text = dlerror();
    CHECK(text && strstr(text, "/no/such/file.so"));
    CHECK(!dlopen("/no/other/file.so", RTLD_NOW));
    char *copy = strdup(dlerror());
    CHECK(strstr(copy, "/no/other/file.so"));
}

/* The program has an mmap of its own, which allocates. */
static bool own_mmap;
void *mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset) {
    if (own_mmap) free(malloc(64));
    return (void *)syscall(SYS_mmap, at, n, protection, flags, fd, offset);
}

static void *allocate_once(void *unused) {
    keep(malloc(32));
    return unused;
}

static void interposed_mmap(void) {
    own_mmap = true;
    for (int i = 0; i < 200; i++) { /* enough for more blocks */
        pthread_t t[100];
        for (int k = 0; k < 100 && i == 0; k++)
            pthread_create(&t[k], NULL, allocate_once, NULL);
        for (int k = 0; k < 100 && i == 0; k++) pthread_join(t[k], NULL);
        free(malloc(300000));
    }
}

static sigjmp_buf jump;

static void jump_out(int number) {
    (void)number;
    siglongjmp(jump, 1);
}

/* A handler jumped out of a hook: the thread must not be deaf for ever. Which hook it hits is
 * chance, so the guard is left behind as it would be. */
static void jumped_out_of_a_hook(void) {
    struct sigaction action = {.sa_handler = jump_out, .sa_flags = SA_NODEFER};
    sigaction(SIGUSR2, &action, NULL);
    if (sigsetjmp(jump, 1) == 0) raise(SIGUSR2);
    uint64_t before = traced_count(MT_COUNT_recorded);
    for (int i = 0; i < 1000; i++) keep(malloc(100));
    CHECK(traced_count(MT_COUNT_recorded) - before > 900);
}

/* The same, in the allocator (jumps.c), for a thread that then allocates at the same place. */
static void jumped_out_of_the_allocator(void) {
    struct sigaction action = {.sa_handler = jump_out, .sa_flags = SA_NODEFER};
    sigaction(SIGUSR2, &action, NULL);
    uint64_t before = traced_count(MT_COUNT_recorded);
    for (volatile int i = 0; i < 1000; i++)
        if (sigsetjmp(jump, 1) == 0) keep(malloc(i == 10 ? 777001 : 100));
    CHECK(traced_count(MT_COUNT_recorded) - before > 900);
}

/* A library that is unloaded, and another with larger frames in the same place. */
static void other_library_in_the_same_place(char *first, char *second) {
    static mt_record records[1 << 14];
    for (int i = 0; i < 20; i++) {
        void *l = dlopen(i % 2 ? second : first, RTLD_NOW);
        CHECK(l);
        void *(*f)(void) = (void *(*)(void))dlsym(l, "reuse_allocate");
        void *p = f();
        uint32_t n = traced_core()->snapshot(records, 1 << 14);
        bool found = false;
        for (uint32_t k = 0; k < n; k++) {
            if (records[k].chunk.address != (uintptr_t)p) continue;
            found = true;
            bool in_main = false; /* its caller or the one before, as the compiler likes */
            for (uint32_t i = 2; i < records[k].frames && i < 4; i++) {
                Dl_info info;
                in_main |= dladdr((void *)(records[k].stack[i] - 1), &info) && info.dli_sname &&
                           strcmp(info.dli_sname, "main") == 0;
            }
            CHECK(in_main);
        }
        CHECK(found);
        free(p);
        dlclose(l);
    }
}

/* Behind us stands an allocator whose calloc and realloc call malloc by its public name. */
static void allocator_that_calls_itself(void) {
    uint64_t recorded = traced_count(MT_COUNT_recorded);
    for (int i = 0; i < 100; i++) free(realloc(calloc(3, 30), 300));
    CHECK(traced_count(MT_COUNT_missed_free) == 0);
    CHECK(traced_count(MT_COUNT_recorded) - recorded == 200);
}

static pthread_key_t key;

static void allocate_late(void *round) {
    if (round == (void *)1) pthread_setspecific(key, (void *)2);
    else keep(malloc(8));
}

static void *leave_late(void *unused) {
    (void)unused;
    pthread_setspecific(key, (void *)1);
    return NULL;
}

/* Threads that first allocate when they are nearly gone leave their blocks behind. */
static void late_threads(void) {
    mt_status status;
    pthread_key_create(&key, allocate_late);
    for (int i = 0; i < 5000; i++) {
        pthread_t t;
        CHECK(pthread_create(&t, NULL, leave_late, NULL) == 0);
        pthread_join(t, NULL);
    }
    traced_core()->status(&status);
    CHECK(status.own_bytes < 5u << 20);
}

/* A chunk that is drawn is put on a boundary of 512 bytes; when it was freed the allocator
 * handed it out again and again, and every free of the program had to look into the table. */
static void freed_chunks_do_not_come_back(void) {
    enum { PAIRS = 100000 };
    int on_boundary = 0;
    mt_stats stats;
    for (int i = 0; i < 5 * PAIRS; i++) {
        void *p = malloc(64);
        keep(p);
        free(p);
    }
    for (int i = 0; i < PAIRS; i++) {
        void *p = malloc(64);
        keep(p);
        on_boundary += (uintptr_t)p % 512 == 0;
        free(p);
    }
    traced_core()->stats(&stats);
    CHECK(stats.interval > 0);
    CHECK(on_boundary < PAIRS / 2);
}

/* In a process that is not traced there is no table to look a chunk up in; NULL and chunks on a
 * boundary were. */
static void reallocarray_without_a_table(void) {
    char *p = reallocarray(NULL, 3, 8), *on_boundary = aligned_alloc(512, 512);
    CHECK(p && on_boundary);
    *on_boundary = 'x';
    on_boundary = reallocarray(on_boundary, 1000, 8);
    CHECK(on_boundary && *on_boundary == 'x');
    p = realloc(p, 100);
    CHECK(p);
    free(p);
    free(on_boundary);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
        void (*run_with)(char *library);
    } cases[] = {
        {"small_signal_stack", small_signal_stack, NULL},
        {"small_coroutine", small_coroutine, NULL},
        {"fork_handlers", fork_handlers, NULL},
        {"raw_fork", raw_fork, NULL},
        {"first_calls_under_a_lock", NULL, first_calls_under_a_lock},
        {"cold_stacks_under_a_lock", cold_stacks_under_a_lock, NULL},
        {"errors_of_the_loader", errors_of_the_loader, NULL},
        {"interposed_mmap", interposed_mmap, NULL},
        {"jumped_out_of_a_hook", jumped_out_of_a_hook, NULL},
        {"jumped_out_of_the_allocator", jumped_out_of_the_allocator, NULL},
        {"allocator_that_calls_itself", allocator_that_calls_itself, NULL},
        {"late_threads", late_threads, NULL},
        {"reallocarray_without_a_table", reallocarray_without_a_table, NULL},
        {"freed_chunks_do_not_come_back", freed_chunks_do_not_come_back, NULL},
    };
    CHECK(argc >= 2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (strcmp(cases[i].name, argv[1]) != 0) continue;
        if (cases[i].run) cases[i].run();
        else cases[i].run_with(argv[2]);
        return 0;
    }
    CHECK(strcmp(argv[1], "other_library_in_the_same_place") == 0 && argc == 4);
    other_library_in_the_same_place(argv[2], argv[3]);
    return 0;
}
