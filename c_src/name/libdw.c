/* libdw: loads it, and stands in for what it calls of libc. */
#include "libdw.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "record/slots.h"

typedef struct {
    mt_pool *pool;
    jmp_buf out;
} run;

static __thread run *volatile current; /* NULL: this thread is not in mt_libdw_run */
static mt_libdw library;
static _Atomic(const char *) failure;
static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;
static bool loaded;

static void *take(size_t n) {
    return current ? mt_pool_take(current->pool, n) : malloc(n);
}

static void *take_array(size_t n, size_t size) {
    size_t bytes;
    if (!current) return calloc(n, size);
    return __builtin_mul_overflow(n, size, &bytes) ? NULL : mt_pool_take(current->pool, bytes);
}

/* What libc allocated on libdw's behalf, or libdw before it was ours, is libc's to free. */
static void give(void *p) {
    if (!p) return;
    if (current && mt_pool_owns(current->pool, p)) mt_pool_give(current->pool, p);
    else free(p);
}

static void *resize(void *p, size_t n) {
    if (!current || (p && !mt_pool_owns(current->pool, p))) return realloc(p, n);
    return mt_pool_resize(current->pool, p, n);
}

static void *resize_array(void *p, size_t n, size_t size) {
    size_t bytes;
    return __builtin_mul_overflow(n, size, &bytes) ? NULL : resize(p, bytes);
}

static int take_aligned(void **out, size_t align, size_t n) {
    if (!current) return posix_memalign(out, align, n);
    *out = align <= 16 ? mt_pool_take(current->pool, n) : NULL;
    return *out ? 0 : ENOMEM;
}

static char *take_part(const char *s, size_t max) {
    size_t n = strnlen(s, max);
    char *copy = take(n + 1);
    if (!copy) return NULL;
    memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

static char *take_string(const char *s) {
    return take_part(s, strlen(s));
}

static __attribute__((noreturn)) void leave(void) {
    if (current) longjmp(current->out, MT_LIBDW_GAVE_UP);
    abort();
}

static __attribute__((noreturn)) void failed_assertion(const char *what, const char *file,
                                                       unsigned line, const char *function) {
    (void)what, (void)file, (void)line, (void)function;
    leave();
}

void mt_libdw_out_of_memory(void) {
    if (current) longjmp(current->out, MT_LIBDW_OUT_OF_MEMORY);
    abort();
}

/* Those that give back come first: where one of the slots cannot be set, none that takes may
 * be, and the rest stays libc's. */
static void point_slots(const char *const *names, int n) {
    static const struct {
        const char *name;
        void *stand_in;
    } slot[] = {{"free", (void *)give},
                {"realloc", (void *)resize},
                {"reallocarray", (void *)resize_array},
                {"abort", (void *)leave},
                {"__assert_fail", (void *)failed_assertion},
                {"malloc", (void *)take},
                {"calloc", (void *)take_array},
                {"strdup", (void *)take_string},
                {"strndup", (void *)take_part},
                {"posix_memalign", (void *)take_aligned}};
    for (size_t i = 0; i < sizeof slot / sizeof *slot; i++)
        for (int k = 0; k < n; k++) {
            struct link_map *map;
            void *handle = dlopen(names[k], RTLD_NOW | RTLD_NOLOAD);
            if (!handle || dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0 ||
                mt_slots_point(map, slot[i].name, slot[i].stand_in) < 0)
                return;
        }
}

static void load(void) {
    static const char *const names[] = {"libdw.so.1", "libelf.so.1"};
    void *handle = NULL;
    for (int i = 0; i < 2; i++) {
        handle = dlopen(names[1 - i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        if (!handle) {
            dlerror(); /* not the program's */
            failure = "libdw.so.1 is not installed, so there are no source lines: install "
                      "elfutils' library (Debian, Ubuntu: apt-get install libdw1)";
            return;
        }
    }
#define X(name) library.name = (__typeof__(name) *)dlsym(handle, #name);
    MT_LIBDW(X)
#undef X
#define X(name) library.name &&
    if (!(MT_LIBDW(X) true)) {
#undef X
        dlerror();
        failure = "libdw.so.1 is older than elfutils 0.158, so there are no source lines: "
                  "install a newer one";
        return;
    }
    point_slots(names, 2);
    library.elf_version(EV_CURRENT);
}

const mt_libdw *mt_libdw_get(const char **why_not) {
    pthread_mutex_lock(&loading);
    if (!loaded) {
        failure = NULL;
        load();
        loaded = failure == NULL;
    }
    pthread_mutex_unlock(&loading);
    if (why_not) *why_not = failure;
    return failure ? NULL : &library;
}

mt_libdw_end mt_libdw_run(mt_pool *pool, void (*work)(void *context), void *context) {
    run here = {.pool = pool};
    int ended = setjmp(here.out);
    if (ended == MT_LIBDW_DONE) {
        current = &here;
        work(context);
    }
    current = NULL;
    return (mt_libdw_end)ended;
}
