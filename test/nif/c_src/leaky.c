/* NIFs that leak in known ways, each from a static function of its own. leak(How, Size, Times)
 * leaks Times chunks of Size bytes and returns the address of the last one. */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <erl_nif.h>

void *leaky_new(size_t size); /* leaky_new.cc */
void *leaky_new_aligned(size_t size);

typedef void *leak(size_t size);

/* Every leak has a frame of its own, and nothing is optimised into something else. */
#define KEEP(p) __asm__ volatile("" : "+r"(p)::"memory")
#define LEAK(name, expression)                                                                 \
    static __attribute__((noinline)) void *name(size_t size) {                                 \
        (void)size;                                                                            \
        void *p = expression;                                                                  \
        KEEP(p);                                                                               \
        return p;                                                                              \
    }

static void *posix(size_t size) {
    void *p = NULL;
    return posix_memalign(&p, 64, size) == 0 ? p : NULL;
}

LEAK(leak_by_malloc, malloc(size))
LEAK(leak_by_calloc, calloc(1, size))
LEAK(leak_by_realloc, realloc(malloc(1), size))
LEAK(leak_by_reallocarray, reallocarray(NULL, 1, size))
LEAK(leak_by_posix_memalign, posix(size))
LEAK(leak_by_aligned_alloc, aligned_alloc(64, size))
LEAK(leak_by_memalign, memalign(64, size))
LEAK(leak_by_valloc, valloc(size))
LEAK(leak_by_pvalloc, pvalloc(size))
LEAK(leak_by_strdup, strdup("a string that is never given back"))
LEAK(leak_by_new, leaky_new(size))
LEAK(leak_by_aligned_new, leaky_new_aligned(size))

static void *in_thread(void *size) {
    return leak_by_malloc((size_t)size);
}

static __attribute__((noinline)) void *leak_in_thread(size_t size) {
    pthread_t thread;
    void *p = NULL;
    if (pthread_create(&thread, NULL, in_thread, (void *)size) == 0) pthread_join(thread, &p);
    return p;
}

static const struct {
    const char *how;
    leak *leak;
} leaks[] = {
    {"malloc", leak_by_malloc},
    {"calloc", leak_by_calloc},
    {"realloc", leak_by_realloc},
    {"reallocarray", leak_by_reallocarray},
    {"posix_memalign", leak_by_posix_memalign},
    {"aligned_alloc", leak_by_aligned_alloc},
    {"memalign", leak_by_memalign},
    {"valloc", leak_by_valloc},
    {"pvalloc", leak_by_pvalloc},
    {"strdup", leak_by_strdup},
    {"new", leak_by_new},
    {"aligned_new", leak_by_aligned_new},
    {"thread", leak_in_thread},
};

static leak *find(ErlNifEnv *env, ERL_NIF_TERM term) {
    char how[32];
    if (!enif_get_atom(env, term, how, sizeof how, ERL_NIF_LATIN1)) return NULL;
    for (size_t i = 0; i < sizeof leaks / sizeof *leaks; i++)
        if (strcmp(leaks[i].how, how) == 0) return leaks[i].leak;
    return NULL;
}

static ERL_NIF_TERM leak_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    unsigned long size, times;
    leak *leak_once = find(env, argv[0]);
    void *p = NULL;
    (void)argc;
    if (!leak_once || !enif_get_ulong(env, argv[1], &size) ||
        !enif_get_ulong(env, argv[2], &times))
        return enif_make_badarg(env);
    for (; times > 0; times--) p = leak_once(size);
    return enif_make_ulong(env, (unsigned long)p);
}

/* leak_again(First, Second, Size): allocates one way, gives it back, allocates the other way,
 * all in one thread: mostly the same address twice. Returns {FirstAddress, SecondAddress}. */
static ERL_NIF_TERM leak_again_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    unsigned long size;
    leak *first = find(env, argv[0]), *second = find(env, argv[1]);
    (void)argc;
    if (!first || !second || !enif_get_ulong(env, argv[2], &size)) return enif_make_badarg(env);
    void *former = first(size);
    uintptr_t was = (uintptr_t)former;
    free(former);
    return enif_make_tuple2(env, enif_make_ulong(env, was),
                            enif_make_ulong(env, (unsigned long)second(size)));
}

/* Gives back a chunk of leak's, by its address. */
static ERL_NIF_TERM give_back_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    unsigned long address;
    (void)argc;
    if (!enif_get_ulong(env, argv[0], &address)) return enif_make_badarg(env);
    free((void *)address);
    return enif_make_atom(env, "ok");
}

/* realloc(Address, Size): the new address, or 0 if there was no memory. */
static ERL_NIF_TERM resize_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    unsigned long address, size;
    (void)argc;
    if (!enif_get_ulong(env, argv[0], &address) || !enif_get_ulong(env, argv[1], &size))
        return enif_make_badarg(env);
    return enif_make_ulong(env, (unsigned long)realloc((void *)address, size));
}

/* churn(Size, Times): allocates and gives back, as a healthy NIF does. */
static ERL_NIF_TERM churn_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    unsigned long size, times;
    (void)argc;
    if (!enif_get_ulong(env, argv[0], &size) || !enif_get_ulong(env, argv[1], &times))
        return enif_make_badarg(env);
    for (; times > 0; times--) {
        void *p = malloc(size);
        KEEP(p);
        free(p);
    }
    return enif_make_atom(env, "ok");
}

/* same(Term): what a call costs that does nothing. */
static ERL_NIF_TERM same_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)env, (void)argc;
    return argv[0];
}

static ErlNifFunc functions[] = {
    {"same", 1, same_nif, 0},
    {"leak_again", 3, leak_again_nif, 0},
    {"churn", 2, churn_nif, 0},
    {"leak", 3, leak_nif, 0},
    {"leak_dirty", 3, leak_nif, ERL_NIF_DIRTY_JOB_CPU_BOUND},
    {"leak_dirty_io", 3, leak_nif, ERL_NIF_DIRTY_JOB_IO_BOUND},
    {"give_back", 1, give_back_nif, 0},
    {"resize", 2, resize_nif, 0},
};

static int upgrade(ErlNifEnv *env, void **data, void **old, ERL_NIF_TERM info) {
    (void)env, (void)data, (void)old, (void)info;
    return 0;
}

ERL_NIF_INIT(Elixir.Mtrace.Test.Leaky, functions, NULL, NULL, upgrade, NULL)
