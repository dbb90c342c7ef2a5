/* Tracing that is switched on and off in a program that was not started with the preload.
 *
 *   attached CASE OBJECT [LIBRARY [CYCLES]]    OBJECT: mtrace.so; ends with 0 if all is well
 */
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hook/linked.h"
#include "traced.h"

static const mt_core *core;
static const char *library;
static int rounds = 1000;

/* As those that a program copied before we came. */
static void *(*volatile copied_malloc)(size_t) = malloc;
static void (*volatile copied_free)(void *);

static void *keep(void *p) {
    CHECK(p != NULL);
    __asm__ volatile("" : "+r"(p)::"memory");
    return p;
}

static void attach(void) {
    CHECK(core->attach(MT_ATTACH_MALLOC) == MT_ATTACH_DONE);
}

static void detach(void) {
    CHECK(core->detach() == MT_ATTACH_DONE);
}

static int find(const void *address) {
    static mt_record records[1 << 13];
    uint32_t n = core->snapshot(records, 1 << 13);
    int found = 0;
    for (uint32_t i = 0; i < n; i++) found += records[i].chunk.address == (uintptr_t)address;
    return found;
}

static uint64_t count(mt_count which) {
    mt_stats stats;
    core->stats(&stats);
    return stats.count[which];
}

/* Every slot of every object, and the protection of everything that is mapped from a file. */
enum { SLOTS = 1 << 16, MAPS = 1 << 18 };
typedef struct {
    void **at[SLOTS], *value[SLOTS];
    const char *name[SLOTS];
    size_t n;
    char maps[MAPS];
} picture;

static int take_slot(const mt_slot *slot, void *context) {
    picture *p = context;
    if (slot->kind == MT_SLOT_WORD || p->n == SLOTS) return 0;
    p->at[p->n] = slot->at;
    p->name[p->n] = slot->name;
    p->value[p->n++] = *slot->at;
    return 0;
}

static int take_object(struct dl_phdr_info *info, size_t size, void *context) {
    (void)size;
    mt_linked o = mt_linked_of(info, false);
    mt_slots_each(&o.slots, take_slot, context);
    return 0;
}

static void take_picture(picture *p) {
    char line[4096];
    size_t used = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    p->n = 0;
    while (fgets(line, sizeof line, f))
        if (strchr(line, '/') && used + strlen(line) < MAPS)
            used += (size_t)sprintf(p->maps + used, "%s", line);
    fclose(f);
    p->maps[used] = '\0';
    dl_iterate_phdr(take_object, p);
}

/* A slot of a function that was called for the first time meanwhile is filled in now. */
static void compare(const picture *before, const picture *after) {
    CHECK(strcmp(before->maps, after->maps) == 0);
    CHECK(before->n == after->n && before->n > 100);
    for (size_t i = 0; i < before->n; i++)
        if (before->value[i] != after->value[i]) {
            Dl_info a, b;
            CHECK(before->at[i] == after->at[i]);
            CHECK(strcmp(before->name[i], "posix_memalign") != 0); /* nobody has called it */
            CHECK(dladdr(before->value[i], &a) && dladdr(after->value[i], &b));
            CHECK(strstr(b.dli_fname, "mtrace") == NULL);
            CHECK(dladdr(before->at[i], &b) && a.dli_fbase == b.dli_fbase); /* a stub */
        }
}

static void basics(void) {
    static picture before, after;
    mt_status status;
    char *early = keep(malloc(100));
    take_picture(&before);
    core->status(&status);
    CHECK(status.attached == MT_ATTACHED_NEVER);
    detach();
    attach();
    char *late = keep(malloc(200)), *copy = keep(strdup("seen inside libc"));
    CHECK(find(late) == 1 && find(copy) == 1 && find(early) == 0);
    attach(); /* once more: nothing happens */
    CHECK(find(late) == 1);
    early = keep(realloc(early, 300));
    CHECK(find(early) == 1);
    free(early);
    CHECK(find(early) == 0);
    free(copy);
    detach();
    detach();
    take_picture(&after);
    compare(&before, &after);
    core->status(&status);
    CHECK(status.attached == MT_ATTACHED_BEFORE && find(late) == 1);
    uint64_t mallocs = count(MT_COUNT_malloc);
    free(late);
    free(keep(malloc(400)));
    CHECK(find(late) == 1 && count(MT_COUNT_malloc) == mallocs); /* frozen */
    attach();
    CHECK(find(late) == 0);
    CHECK(core->detach() == MT_ATTACH_DONE);
}

/* The address of a chunk whose free was missed is handed out again, to an allocation that is
 * drawn or, with a large interval, is not. */
static void missed_frees(void) {
    int again = 0;
    attach();
    void *(*allocate[])(size_t) = {malloc, valloc, pvalloc}; /* ours, from now on */
    for (size_t i = 0; i < 3; i++)
        for (int drawn = 0; drawn < 2; drawn++) {
            core->configure(0, 10000, 32, 8);
            void *p = keep(allocate[i](5000)), *q;
            CHECK(find(p) == 1);
            uint64_t before = count(MT_COUNT_missed_free);
            core->configure(drawn ? 0 : MT_INTERVAL_MAX, 10000, 32, 8);
            copied_free(p);
            CHECK(find(p) == 1);
            q = keep(allocate[i](5000));
            again += q == p;
            if (q == p) CHECK(find(p) == drawn && count(MT_COUNT_missed_free) == before + 1);
            free(q);
            CHECK(find(q) == 0);
        }
    CHECK(again >= 2); /* malloc's at least */
    detach();
}

enum { WORKERS = 4, BLOCKS = 64 };
static atomic_bool stop;
static _Atomic uint64_t work, loads;

static void *worker(void *argument) {
    unsigned seed = (unsigned)(uintptr_t)argument;
    struct {
        unsigned char *p;
        size_t n;
    } block[BLOCKS] = {{NULL, 0}};
    while (!stop) {
        int i = rand_r(&seed) % BLOCKS;
        for (size_t k = 0; k < block[i].n; k++) CHECK(block[i].p[k] == (unsigned char)i);
        size_t n = 1 + (size_t)rand_r(&seed) % 300;
        if (rand_r(&seed) % 2) block[i].p = realloc(block[i].p, n);
        else {
            free(block[i].p);
            block[i].p = rand_r(&seed) % 8 ? malloc(n) : copied_malloc(n);
        }
        CHECK(block[i].p);
        memset(block[i].p, i, n);
        block[i].n = n;
        work++;
    }
    for (int i = 0; i < BLOCKS; i++) free(block[i].p);
    return NULL;
}

static void *loader(void *unused) {
    while (!stop) {
        void *l = dlopen(library, RTLD_LAZY);
        CHECK(l);
        void *(*f)(size_t) = (void *(*)(size_t))dlsym(l, "loaded_allocate");
        free(f(77));
        dlclose(l);
        loads++;
    }
    return unused;
}

static void cycles(void) {
    static picture before, after;
    pthread_t thread[WORKERS + 1];
    attach();
    detach();
    take_picture(&before);
    for (uintptr_t i = 0; i < WORKERS; i++)
        pthread_create(&thread[i], NULL, worker, (void *)(i + 1));
    pthread_create(&thread[WORKERS], NULL, loader, NULL);
    for (int i = 0; i < rounds; i++) {
        attach();
        void *p = malloc(64);
        core->configure(MT_ADAPTIVE, 10000, 32, 8);
        free(p);
        detach();
    }
    stop = true;
    for (int i = 0; i <= WORKERS; i++) pthread_join(thread[i], NULL);
    CHECK(work > 1000 && loads > 0);
    take_picture(&after);
    CHECK(strlen(before.maps) > 100);
    /* Stacks and arenas have come; files are as before. */
    CHECK(strcmp(before.maps, after.maps) == 0);
    attach();
    core->configure(0, 10000, 32, 8);
    core->reset();
    uint64_t mallocs = count(MT_COUNT_malloc), frees = count(MT_COUNT_free);
    for (int i = 0; i < 1000; i++) free(keep(malloc(32)));
    CHECK(count(MT_COUNT_malloc) == mallocs + 1000 && count(MT_COUNT_free) == frees + 1000);
    detach();
}

/* Objects that come and go while we are attached; in the place of one that went comes another.
 */
static void plugins(void) {
    mt_status status;
    attach();
    for (int i = 0; i < 50; i++) {
        void *l = dlopen(library, i % 2 ? RTLD_NOW : RTLD_LAZY);
        CHECK(l);
        core->status(&status); /* has a look */
        void *(*f)(size_t) = (void *(*)(size_t))dlsym(l, "loaded_allocate");
        void *p = keep(f(123));
        CHECK(find(p) == 1);
        if (i % 3 == 0) detach();
        if (i % 3 == 0) CHECK(find(keep(f(124))) == 0);
        free(p);
        if (i % 3 == 0) attach();
        else CHECK(find(p) == 0);
        dlclose(l);
        if (i % 5 == 0) detach();
        if (i % 5 == 0) attach();
    }
    detach();
}

/* With an allocator preloaded that a library does not use which was bound deep. */
static void deep(void) {
    void *l = dlopen(library, RTLD_NOW | RTLD_DEEPBIND);
    mt_status status;
    CHECK(l);
    void *(*f)(size_t) = (void *(*)(size_t))dlsym(l, "loaded_allocate");
    attach();
    core->status(&status);
    CHECK(status.refusals == 1 && status.refusal[0].why == MT_REFUSED_ELSEWHERE);
    CHECK(strcmp(status.refusal[0].object, library) == 0);
    CHECK(strstr(status.allocator, "malloc") != NULL); /* jemalloc's or tcmalloc's name */
    CHECK(find(keep(f(100))) == 0);
    void *p = keep(malloc(100));
    CHECK(find(p) == 1);
    free(p);
    detach();
}

/* With another allocator preloaded: what we go on to is that. */
static void other_allocator(void) {
    mt_status status;
    void *early = keep(malloc(1000));
    attach();
    core->status(&status);
    CHECK(strstr(status.allocator, "malloc") != NULL && status.refusals == 0);
    void *p = keep(malloc(100)), *q = NULL;
    CHECK(find(p) == 1 && posix_memalign(&q, 64, 100) == 0 && find(q) == 1);
    CHECK(malloc_usable_size(p) >= 100);
    free(early);
    free(realloc(p, 100000));
    detach();
    free(q);
}

static void *in_child(void *unused) {
    for (int i = 0; i < 100; i++) free(keep(malloc(100)));
    return unused;
}

static void forks(void) {
    attach();
    void *p = keep(malloc(100));
    for (int i = 0; i < 20; i++) {
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            free(p);
            in_child(NULL);
            _exit(find(p) == 1 ? 0 : 1); /* traces nothing */
        }
        CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    free(p);
    detach();
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } all[] = {{"basics", basics}, {"missed_frees", missed_frees},
               {"cycles", cycles}, {"plugins", plugins},
               {"deep", deep},     {"other_allocator", other_allocator},
               {"forks", forks}};
    CHECK(argc >= 3);
    library = argc > 3 ? argv[3] : NULL;
    if (argc > 4) rounds = atoi(argv[4]);
    copied_free = (void (*)(void *))dlsym(RTLD_DEFAULT, "free");
    void *object = dlopen(argv[2], RTLD_NOW);
    if (!object) puts(dlerror());
    CHECK(object);
    core = dlsym(object, "mtrace_core");
    CHECK(core && core->version == MT_CORE_VERSION);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i].name, argv[1]) == 0) return all[i].run(), 0;
    return 2;
}
