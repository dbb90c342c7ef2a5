/* What a program can do to the log that is written from within it: runs under MTRACE_LOG, and
 * log_check counts afterwards.
 *
 *   logged WORKERS EVENTS [what] [argument]
 *
 * Each worker allocates EVENTS chunks of 1000, 1001, ... 5999 bytes, and over again, and frees
 * each when it has made 16 more, in the end all. Meanwhile, when half of them are there, one
 * thread does `what`.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/ucontext.h>
#include <sys/wait.h>
#include <unistd.h>

#include "traced.h"

enum { KEPT = 16 };

static int workers, events;
static atomic_int half; /* how many workers have come there */
static atomic_bool done;

static void work(int from, int to, char **kept) {
    for (int i = from; i < to; i++) {
        free(kept[i % KEPT]);
        kept[i % KEPT] = malloc((size_t)(1000 + i % 5000));
        CHECK(kept[i % KEPT]);
        kept[i % KEPT][0] = 1;
    }
}

static void *worker(void *argument) {
    char name[16], *kept[KEPT] = {0};
    snprintf(name, sizeof name, "worker%zu", (size_t)argument);
    pthread_setname_np(pthread_self(), name);
    work(0, events / 2, kept);
    half++;
    while (!done) usleep(1000);
    work(events / 2, events, kept);
    for (int i = 0; i < KEPT; i++) free(kept[i]);
    return NULL;
}

static void run(void (*what)(const char *), const char *argument) {
    pthread_t thread[64];
    for (size_t i = 0; i < (size_t)workers; i++)
        CHECK(pthread_create(&thread[i], NULL, worker, (void *)i) == 0);
    while (half < workers) usleep(1000);
    what(argument);
    done = true;
    for (int i = 0; i < workers; i++) pthread_join(thread[i], NULL);
}

static void nothing(const char *unused) {
    (void)unused;
}

static void later(void) {
    usleep(1200000);
}

static void forks(const char *unused) {
    (void)unused;
    for (int i = 0; i < 5; i++) {
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            char *kept[KEPT] = {0};
            work(0, 100000, kept);
            exit(0);
        }
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
}

static int own[300];
static const char *own_file;

/* All descriptors, as daemons do; then files of its own get their numbers. */
static void closes(const char *file) {
    own_file = file;
    for (int fd = 0; fd < 1024; fd++) close(fd);
    for (int i = 0; i < 300; i++) CHECK((own[i] = open(file, O_RDWR | O_CREAT, 0600)) == i);
}

static void check_own(void) {
    struct stat st;
    for (int i = 0; i < 300; i++) CHECK(fstat(own[i], &st) == 0 && st.st_size == 0);
}

static void moves(const char *to) {
    CHECK(rename(getenv("LOG"), to) == 0);
    later();
}

static void removes(const char *unused) {
    (void)unused;
    CHECK(unlink(getenv("LOG")) == 0);
    later();
}

static void changes_folder(const char *to) {
    CHECK(chdir(to) == 0);
}

static atomic_bool has_defined;

/* Frees what the other thread frees, from the same place. */
static __attribute__((noinline)) void *same_place(void *first) {
    for (int i = 0; i < 5; i++) free(malloc(4321));
    if (first) {
        has_defined = true;
        for (;;) pause();
    }
    return NULL;
}

/* The stack that one thread met first, and then went to sleep; others write of it. */
static void is_killed_asleep(const char *unused) {
    pthread_t t;
    (void)unused;
    CHECK(pthread_create(&t, NULL, same_place, &half) == 0);
    while (!has_defined) usleep(1000);
    CHECK(pthread_create(&t, NULL, same_place, NULL) == 0);
    pthread_join(t, NULL); /* it has written what it had */
    kill(getpid(), SIGKILL);
}

/* The file is moved away while a thread that has something in its buffer sleeps, and one that
 * has goes on. */
static void moves_from_under(const char *to) {
    pthread_t t;
    has_defined = false;
    CHECK(pthread_create(&t, NULL, same_place, &half) == 0);
    while (!has_defined) usleep(1000);
    moves(to);
}

static void is_killed(const char *unused) {
    (void)unused;
    raise(SIGKILL);
}

/* The file may not grow; other threads try; then it may again. */
static void is_limited(const char *unused) {
    struct rlimit before, now;
    struct stat st;
    (void)unused;
    CHECK(stat(getenv("LOG"), &st) == 0);
    getrlimit(RLIMIT_FSIZE, &before);
    now = before;
    now.rlim_cur = (rlim_t)st.st_size + 40000;
    CHECK(setrlimit(RLIMIT_FSIZE, &now) == 0);
    char *kept[KEPT] = {0};
    pthread_setname_np(pthread_self(), "limited");
    work(0, 20000, kept);
    CHECK(stat(getenv("LOG"), &st) == 0 && st.st_size <= (off_t)now.rlim_cur);
    setrlimit(RLIMIT_FSIZE, &before);
    later();
}

/* Nor may it until the end, but for a little. */
static void stays_limited(const char *unused) {
    struct rlimit now;
    struct stat st;
    (void)unused;
    CHECK(stat(getenv("LOG"), &st) == 0 && getrlimit(RLIMIT_FSIZE, &now) == 0);
    now.rlim_cur = (rlim_t)st.st_size + 1000;
    CHECK(setrlimit(RLIMIT_FSIZE, &now) == 0);
}

static void has_no_descriptors(const char *unused) {
    struct rlimit before, none;
    (void)unused;
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = 3;
    for (int fd = 3; fd < 1024; fd++) close(fd);
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    char *kept[KEPT] = {0};
    work(0, 20000, kept);
    setrlimit(RLIMIT_NOFILE, &before);
    later();
}

static void loads(const char *library) {
    for (int i = 0; i < 200; i++) {
        void *l = dlopen(library, RTLD_NOW);
        CHECK(l);
        void *(*f)(size_t) = (void *(*)(size_t))dlsym(l, "loaded_allocate");
        free(f(77));
        dlclose(l);
    }
}

static void *short_lived(void *unused) {
    free(malloc(4321));
    return unused;
}

static void starts_threads(const char *n) {
    for (int i = 0; i < atoi(n); i++) {
        pthread_t t;
        CHECK(pthread_create(&t, NULL, short_lived, NULL) == 0);
        pthread_join(t, NULL);
    }
}

static atomic_int signals;

static void on_signal(int number) {
    (void)number;
    signals++;
}

static void is_interrupted(const char *unused) {
    struct sigaction action = {.sa_handler = on_signal};
    struct itimerval every = {{0, 200}, {0, 200}};
    (void)unused;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
}

static sigjmp_buf back;
static pthread_t jumper;
static uintptr_t ours[2]; /* where the code lies that is not to be jumped out of for good */

static int find_ours(struct dl_phdr_info *info, size_t size, void *unused) {
    (void)size, (void)unused;
    if (!strstr(info->dlpi_name, "mtrace.so")) return 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_flags & PF_X) {
            ours[0] = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            ours[1] = ours[0] + info->dlpi_phdr[i].p_memsz;
        }
    return 1;
}

/* Only out of the tracer: the allocator would be left behind as no allocator allows. */
static void jump(int number, siginfo_t *info, void *context) {
    (void)number, (void)info;
#if defined __x86_64__
    uintptr_t pc = (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
#elif defined __aarch64__
    uintptr_t pc = (uintptr_t)((ucontext_t *)context)->uc_mcontext.pc;
#else
    uintptr_t pc = 0;
#endif
    if (pthread_equal(pthread_self(), jumper) && pc >= ours[0] && pc < ours[1])
        siglongjmp(back, 1);
}

/* Deeper than what comes later: that is how what was jumped out of is known. */
__attribute__((noinline)) static void go_deep(void) {
    volatile char room[4096];
    CHECK(room[0] = 1);
    for (;;) free(malloc(500));
}

/* Thousands of times; then it works as the others do. */
static void jumps(const char *unused) {
    struct sigaction action = {.sa_sigaction = jump, .sa_flags = SA_SIGINFO};
    struct itimerval every = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
    static volatile int times;
    char *kept[KEPT] = {0};
    (void)unused;
    jumper = pthread_self();
    pthread_setname_np(jumper, "worker");
    dl_iterate_phdr(find_ours, NULL);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
    if (sigsetjmp(back, 1)) times++;
    if (times < 3000) go_deep();
    setitimer(ITIMER_REAL, &never, NULL);
    signal(SIGALRM, SIG_IGN);
    work(0, events, kept);
    for (int i = 0; i < KEPT; i++) free(kept[i]);
}

static void *cancelled(void *unused) {
    for (;;) {
        free(malloc(4321));
        pthread_testcancel();
    }
    return unused;
}

static void cancels(const char *unused) {
    (void)unused;
    for (int i = 0; i < 100; i++) {
        pthread_t t;
        void *result;
        CHECK(pthread_create(&t, NULL, cancelled, NULL) == 0);
        usleep(2000);
        pthread_cancel(t);
        pthread_join(t, &result);
        CHECK(result == PTHREAD_CANCELED);
    }
}

static atomic_int going;

static void *goes_on(void *unused) {
    char *kept[KEPT] = {0};
    pthread_setname_np(pthread_self(), "worker");
    for (int i = 0;; i += 5000) {
        work(0, 5000, kept);
        if (i == 0) atomic_fetch_add(&going, 1);
    }
    return unused;
}

/* While others allocate. */
static void exits(const char *unused) {
    pthread_t t;
    (void)unused;
    for (int i = 0; i < 3; i++) CHECK(pthread_create(&t, NULL, goes_on, NULL) == 0);
    while (atomic_load(&going) < 3) usleep(10000);
    exit(0);
}

/* All of the family, for one line each in the log. */
static void calls_all(const char *unused) {
    void *p = NULL;
    (void)unused;
    free(malloc(70001));
    free(calloc(2, 35001));
    p = realloc(malloc(70003), 70004);
    free(reallocarray(p, 5, 14001));
    CHECK(posix_memalign(&p, 64, 70006) == 0);
    free(p);
    free(aligned_alloc(64, 70016));
    free(realloc(NULL, 70008));
    p = malloc(70009);
    CHECK(realloc(p, (size_t)1 << 62) == NULL && errno == ENOMEM);
    p = realloc(p, 0);
    CHECK(p == NULL);
    free(NULL);
    p = malloc((size_t)5 << 30);
    free(p);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(const char *);
    } what[] = {{"nothing", nothing},
                {"forks", forks},
                {"closes", closes},
                {"moves", moves},
                {"removes", removes},
                {"folder", changes_folder},
                {"killed", is_killed},
                {"asleep", is_killed_asleep},
                {"under", moves_from_under},
                {"limited", is_limited},
                {"full", stays_limited},
                {"none", has_no_descriptors},
                {"loads", loads},
                {"threads", starts_threads},
                {"signals", is_interrupted},
                {"cancels", cancels},
                {"jumps", jumps},
                {"family", calls_all},
                {"exits", exits}};
    CHECK(argc >= 4);
    workers = atoi(argv[1]);
    events = atoi(argv[2]);
    for (size_t i = 0; i < sizeof what / sizeof *what; i++)
        if (strcmp(what[i].name, argv[3]) == 0) run(what[i].run, argc > 4 ? argv[4] : NULL);
    CHECK(half == workers);
    if (own_file) check_own();
    return 0;
}
