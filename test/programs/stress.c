/* Everything at once for a number of seconds: threads that allocate, reallocate, hand blocks to
 * each other and free them, threads that come and go, forks, dlopen and dlclose, exceptions to
 * the flow by signals whose handlers look around, snapshots and resets. At the end each block
 * that is alive and was allocated after the last reset is recorded once, with its size.
 *
 *   stress SECONDS LIBRARY          with MTRACE=1 and MTRACE_SLOTS=65536
 */
#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "traced.h"

enum { THREADS = 8, BLOCKS = 150, SHARED = 256 };

typedef struct {
    char *p;
    size_t size;
    int epoch; /* resets that had ended when it was recorded */
} block;

static block own[THREADS][BLOCKS];
static _Atomic(char *) handed[SHARED]; /* blocks on their way to another thread */
static atomic_bool stop, calm;         /* calm: the end is near, no more resets */
static atomic_int epoch, resetting, forks, loads, resets;
static const char *library;

static char *allocate(unsigned *seed, char *old, size_t size) {
    size_t align = 16u << rand_r(seed) % 6;
    void *p = NULL;
    if (old) return realloc(old, size);
    switch (rand_r(seed) % 8) {
    case 0:
        return calloc(1, size);
    case 1:
        return posix_memalign(&p, align, size) == 0 ? p : NULL;
    case 2:
        return aligned_alloc(align, (size + align - 1) / align * align);
    case 3:
        return memalign(align, size);
    case 4:
        return reallocarray(NULL, 1, size);
    default:
        return malloc(size);
    }
}

/* A block is ours to check if no reset began or ended while it was recorded. */
static void remember(block *b, char *p, size_t size, int before, int reset_before) {
    CHECK(p != NULL);
    p[0] = p[size - 1] = 0x5a;
    *b = (block){p, size, epoch == before && !reset_before && !resetting ? before : -1};
}

static void *worker(void *argument) {
    size_t t = (size_t)argument;
    unsigned seed = (unsigned)(t + 1) * 7919u;
    while (!stop) {
        block *b = &own[t][rand_r(&seed) % BLOCKS];
        size_t size = 16 + rand_r(&seed) % 3000;
        if (b->p) CHECK(b->p[0] == 0x5a && b->p[b->size - 1] == 0x5a);
        int before = epoch, reset_before = resetting;
        switch (rand_r(&seed) % 4) {
        case 0:
            free(b->p);
            b->p = NULL;
            break;
        case 1: { /* freed by whoever finds it */
            char *other = atomic_exchange(&handed[rand_r(&seed) % SHARED], b->p);
            free(other);
            b->p = NULL;
            break;
        }
        default:
            if (b->p) remember(b, allocate(&seed, b->p, size), size, before, reset_before);
            else {
                char *p = allocate(&seed, NULL, size);
                size = malloc_usable_size(p) < size ? 0 : size;
                remember(b, p, size, before, reset_before);
            }
        }
    }
    return NULL;
}

static void *short_lived(void *unused) {
    for (int i = 0; i < 50; i++) free(malloc(100 + i));
    return unused;
}

static void *threads_come_and_go(void *unused) {
    while (!stop) {
        pthread_t t[4];
        for (int i = 0; i < 4; i++) CHECK(pthread_create(&t[i], NULL, short_lived, NULL) == 0);
        for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
    }
    return unused;
}

static void *forker(void *unused) {
    while (!stop) {
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            alarm(30);
            for (int i = 0; i < 100; i++) free(realloc(malloc(i), 2000));
            _exit(0);
        }
        CHECK(pid > 0);
        while (waitpid(pid, &status, 0) < 0) CHECK(errno == EINTR);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        forks++;
    }
    return unused;
}

static int allocate_in_callback(struct dl_phdr_info *info, size_t size, void *context) {
    (void)info, (void)size, (void)context;
    free(malloc(200));
    return 0;
}

static void *loader(void *unused) {
    while (!stop) {
        void *l = dlopen(library, RTLD_NOW);
        CHECK(l);
        void *(*f)(size_t) = (void *(*)(size_t))dlsym(l, "loaded_allocate");
        free(f(77));
        dl_iterate_phdr(allocate_in_callback, NULL);
        dlclose(l);
        loads++;
    }
    return unused;
}

static void *observer(void *unused) {
    mt_record *records = calloc(1 << 16, sizeof *records);
    for (int i = 0; !stop; i++) {
        uint32_t n = traced_core()->snapshot(records, 1 << 16);
        for (uint32_t k = 0; k < n; k++) CHECK(records[k].frames >= 2);
        if (i % 40 == 39 && !calm) {
            resetting = 1;
            traced_core()->reset();
            epoch++;
            resetting = 0;
            resets++;
        }
        usleep(5000);
    }
    free(records);
    return unused;
}

static atomic_int signals;

static void on_signal(int number) {
    (void)number;
    signals++;
}

static void check_blocks(void) {
    static mt_record records[1 << 16];
    CHECK(traced_count(MT_COUNT_ignored) < 100000000);
    uint32_t n = traced_core()->snapshot(records, 1 << 16);
    uint32_t checked = 0;
    for (int t = 0; t < THREADS; t++)
        for (int k = 0; k < BLOCKS; k++) {
            block *b = &own[t][k];
            if (!b->p) continue;
            int found = 0;
            for (uint32_t i = 0; i < n; i++)
                if (records[i].chunk.address == (uintptr_t)b->p) found++;
            CHECK(found <= 1);
            if (b->epoch != epoch) continue;
            CHECK(found == 1);
            checked++;
        }
    printf("stress: well; %u blocks checked, %d forks, %d loads, %d resets, %d signals\n",
           checked, forks, loads, resets, signals);
    CHECK(checked > 0);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    library = argv[2];
    void *(*const extra[])(void *) = {threads_come_and_go, forker, loader, observer};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval every = {{0, 700}, {0, 700}};
    setitimer(ITIMER_REAL, &every, NULL);
    pthread_t thread[THREADS + 4];
    for (size_t i = 0; i < THREADS; i++) pthread_create(&thread[i], NULL, worker, (void *)i);
    for (int i = 0; i < 4; i++) pthread_create(&thread[THREADS + i], NULL, extra[i], NULL);
    time_t end = time(NULL) + atoi(argv[1]);
    while (time(NULL) < end) usleep(100000);
    calm = true;
    /* sleep would end with the first signal */
    for (end = time(NULL) + 2; resetting || time(NULL) < end;) usleep(100000);
    stop = true;
    for (int i = 0; i < THREADS + 4; i++) pthread_join(thread[i], NULL);
    memset(&every, 0, sizeof every);
    setitimer(ITIMER_REAL, &every, NULL);
    check_blocks();
    return 0;
}
