/* next: finds the functions behind our hooks, whenever the first call comes. */
#include "next.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "record/thread.h"

/* glibc 2.31 asks for some 32 bytes a thread that calls dlsym; 16 KiB are plenty. */
enum { POOL_BYTES = 16384, POOL_ALIGN = 16 };

static _Alignas(POOL_ALIGN) char pool[POOL_BYTES];
static atomic_size_t pool_used;
static atomic_bool pool_in_use;

static void mind_the_pool(void);

/* Before each chunk of the pool stands its size. Zeroed, as calloc promises. */
static void *pool_take(size_t n, size_t align) {
    mind_the_pool();
    if (align < POOL_ALIGN) align = POOL_ALIGN;
    if (n > POOL_BYTES || align > POOL_BYTES) return errno = ENOMEM, NULL;
    size_t need = n + align + POOL_ALIGN;
    size_t at = atomic_fetch_add_explicit(&pool_used, need, memory_order_relaxed);
    if (need > POOL_BYTES || at > POOL_BYTES - need) return errno = ENOMEM, NULL;
    uintptr_t p = ((uintptr_t)pool + at + POOL_ALIGN + align - 1) & ~(uintptr_t)(align - 1);
    memcpy((char *)p - sizeof n, &n, sizeof n);
    return (void *)p;
}

static bool pool_has(const void *p) {
    return (uintptr_t)p - (uintptr_t)pool < POOL_BYTES;
}

static size_t pool_size(const void *p) {
    size_t n;
    memcpy(&n, (const char *)p - sizeof n, sizeof n);
    return n;
}

/* The functions proper, for those that know the pool. */
static void (*_Atomic real_free)(void *);
static void *(*_Atomic real_realloc)(void *, size_t);
static size_t (*_Atomic real_usable)(void *);

/* These may be seen before what they go on to, by a thread that was there before us and on a
 * machine that orders little: then it is looked up once more. */
static void *look_up(const char *name);

static void free_beside_pool(void *p) {
    void (*f)(void *) = real_free ? real_free : (void (*)(void *))look_up("free");
    if (!pool_has(p)) f(p);
}

static void *realloc_beside_pool(void *p, size_t n) {
    if (!pool_has(p)) {
        void *(*f)(void *, size_t) = real_realloc;
        return f ? f(p, n) : ((void *(*)(void *, size_t))look_up("realloc"))(p, n);
    }
    void *moved = mt_next_get(malloc)(n);
    size_t old = pool_size(p);
    return moved ? memcpy(moved, p, n < old ? n : old) : NULL;
}

static size_t usable_beside_pool(void *p) {
    size_t (*f)(void *) =
        real_usable ? real_usable : (size_t(*)(void *))look_up("malloc_usable_size");
    return pool_has(p) ? pool_size(p) : f(p);
}

/* What stands in for the allocator while this thread is inside dlsym. */
static void *pool_malloc(size_t n) {
    return pool_take(n, POOL_ALIGN);
}
static void *pool_calloc(size_t n, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) return errno = ENOMEM, NULL;
    return pool_take(bytes, POOL_ALIGN);
}
static void *pool_realloc(void *p, size_t n) {
    void *moved = pool_take(n, POOL_ALIGN);
    size_t old = p && pool_has(p) ? pool_size(p) : 0;
    return moved && old ? memcpy(moved, p, n < old ? n : old) : moved;
}
static int pool_posix_memalign(void **out, size_t align, size_t n) {
    void *p = pool_take(n, align);
    if (p) *out = p;
    return p ? 0 : ENOMEM;
}
static void *pool_memalign(size_t align, size_t n) {
    return pool_take(n, align);
}
#define pool_aligned_alloc pool_memalign
static void *pool_valloc(size_t n) {
    return pool_take(n, (size_t)sysconf(_SC_PAGESIZE));
}
#define pool_pvalloc pool_valloc
static size_t pool_malloc_usable_size(void *p) {
    return p && pool_has(p) ? pool_size(p) : 0;
}
static char *pool_strndup(const char *s, size_t n) {
    size_t length = strnlen(s, n);
    char *copy = pool_take(length + 1, POOL_ALIGN);
    return copy ? memcpy(copy, s, length) : NULL;
}
static char *pool_strdup(const char *s) {
    return pool_strndup(s, POOL_BYTES);
}
static int pool_dl_iterate_phdr(mt_phdr_callback *f, void *context) {
    (void)f, (void)context;
    return 0;
}

static int pool_dlclose(void *handle) {
    (void)handle;
    return -1;
}

/* The bootstrap count is volatile and the errno saved: dlsym changes it. */
static void *look_up(const char *name) {
    int saved = errno;
    mt_tls_mine.bootstrap++;
    void *f = dlsym(RTLD_NEXT, name);
    /* The program must not find our error where it looks for its own. A success takes it away
     * and, unlike dlerror, calls no realloc: that may be one that uses dlsym, which glibc 2.31
     * does not survive within dlerror. */
    if (!f) dlsym(RTLD_NEXT, "free");
    mt_tls_mine.bootstrap--;
    errno = saved;
    return f;
}

static void find_free(void) {
    void (*f)(void *) = (void (*)(void *))look_up("free");
    if (!f) return;
    atomic_store(&real_free, f);
    atomic_store(&mt_next_functions.free, f);
    if (atomic_load(&pool_in_use)) mind_the_pool();
}

#define SET(name, function)                                                                    \
    atomic_store(&mt_next_functions.name, (__typeof__(mt_next_get(name)))(function))

static void find_all(void);

/* One function a symbol that stands in the table until all have been looked up, at the first
 * call of any: dlsym wipes out the thread's error, which it must not do under dlerror, whose
 * asprintf may be the first to call realloc, nor between a failed dlopen and dlerror. For a
 * symbol that nobody behind us has, the pool answers, until it is used up. */
#define X(name, type, parameters, arguments)                                                   \
    static type first_##name parameters {                                                      \
        if (mt_tls_mine.bootstrap) return pool_##name arguments;                               \
        find_all();                                                                            \
        type(*found) parameters = mt_next_get(name);                                           \
        if (found == first_##name) return pool_##name arguments;                               \
        return found arguments;                                                                \
    }
MT_NEXT(X)
#undef X

static void find(const char *name, void *f) {
    if (!f) return;
    if (strcmp(name, "realloc") == 0) atomic_store(&real_realloc, f);
    if (strcmp(name, "malloc_usable_size") == 0) atomic_store(&real_usable, f);
#define X(n, type, parameters, arguments)                                                      \
    if (strcmp(name, #n) == 0) SET(n, f);
    MT_NEXT(X)
#undef X
    if (atomic_load(&pool_in_use)) mind_the_pool();
}

static void first_free(void *p) {
    if (mt_tls_mine.bootstrap || pool_has(p)) return; /* at worst a few bytes stay */
    find_all();
    if (mt_next_get(free) != first_free) mt_next_get(free)(p);
}

/* C23, 7.24.3.4: the sizes are hints; a libc without these functions frees as ever. */
static void free_without_size(void *p, size_t n) {
    (void)n;
    mt_next_get(free)(p);
}
static void free_without_sizes(void *p, size_t align, size_t n) {
    (void)align, (void)n;
    mt_next_get(free)(p);
}
static void find_sized(void) {
    void *sized = look_up("free_sized"), *aligned = look_up("free_aligned_sized");
    SET(free_sized, sized ? sized : (void *)free_without_size);
    SET(free_aligned_sized, aligned ? aligned : (void *)free_without_sizes);
}
static void first_free_sized(void *p, size_t n) {
    find_sized();
    mt_next_get(free_sized)(p, n);
}
static void first_free_aligned_sized(void *p, size_t align, size_t n) {
    find_sized();
    mt_next_get(free_aligned_sized)(p, align, n);
}

mt_next mt_next_functions = {
#define X(name, type, parameters, arguments) .name = first_##name,
    MT_NEXT(X)
#undef X
        .free = first_free,
    .free_sized = first_free_sized,
    .free_aligned_sized = first_free_aligned_sized,
};

/* From now on freed pointers may be the pool's. A function that has not been looked up yet
 * stays: its look-up comes back here. The flag is set before the functions are looked at, and
 * they are set before the flag is: one of the two sides sees the other. */
static void mind_the_pool(void) {
    atomic_store(&pool_in_use, true);
    if (atomic_load(&mt_next_functions.free) != first_free)
        atomic_store(&mt_next_functions.free, free_beside_pool);
    if (atomic_load(&mt_next_functions.realloc) != first_realloc)
        atomic_store(&mt_next_functions.realloc, realloc_beside_pool);
    if (atomic_load(&mt_next_functions.malloc_usable_size) != first_malloc_usable_size)
        atomic_store(&mt_next_functions.malloc_usable_size, usable_beside_pool);
}

static void find_all(void) {
#define X(name, type, parameters, arguments) find(#name, look_up(#name));
    MT_NEXT(X)
#undef X
    find_free();
    find_sized();
}

void mt_next_point(void *(*behind)(const char *symbol)) {
#define X(name, type, parameters, arguments)                                                   \
    if (behind(#name)) SET(name, behind(#name));
    MT_NEXT(X)
    X(free, , , )
    X(free_sized, , , )
    X(free_aligned_sized, , , )
#undef X
}

void mt_next_start(void) {
    if (mt_next_get(malloc) == first_malloc) find_all();
}
