/* reused: see the header. */
#include "reused.h"

#include <stdatomic.h>
#include <stddef.h>

#include "next.h"
#include "record/tracer.h"

#define REAL(name) atomic_load_explicit(&real.name, memory_order_relaxed)

/* Set before next leads here, and hardly ever changed. */
static mt_next real;

static inline void *looked_at(void *p) {
    if (__builtin_expect(mt_tracer_must_look(p) && p && mt_tracer_may_know(p), 0))
        mt_tracer_handed_out(p);
    return p;
}

static void *look_malloc(size_t size) {
    return looked_at(REAL(malloc)(size));
}

static void *look_calloc(size_t n, size_t size) {
    return looked_at(REAL(calloc)(n, size));
}

/* The old record was taken out of the table before. */
static void *look_realloc(void *old, size_t size) {
    return looked_at(REAL(realloc)(old, size));
}

static int look_posix_memalign(void **out, size_t align, size_t size) {
    int failed = REAL(posix_memalign)(out, align, size);
    if (!failed) looked_at(*out);
    return failed;
}

static void *look_aligned_alloc(size_t align, size_t size) {
    return looked_at(REAL(aligned_alloc)(align, size));
}

static void *look_memalign(size_t align, size_t size) {
    return looked_at(REAL(memalign)(align, size));
}

static void *look_valloc(size_t size) {
    return looked_at(REAL(valloc)(size));
}

static void *look_pvalloc(size_t size) {
    return looked_at(REAL(pvalloc)(size));
}

#define LOOKED_AT(X)                                                                           \
    X(malloc)                                                                                  \
    X(calloc)                                                                                  \
    X(realloc)                                                                                 \
    X(posix_memalign)                                                                          \
    X(aligned_alloc)                                                                           \
    X(memalign)                                                                                \
    X(valloc)                                                                                  \
    X(pvalloc)

void mt_reused_start(void *(*behind)(const char *symbol)) {
    mt_next_point(behind);
#define X(name) atomic_store(&real.name, mt_next_get(name));
    LOOKED_AT(X)
#undef X
#define X(name) atomic_store(&mt_next_functions.name, look_##name);
    LOOKED_AT(X)
#undef X
}

void mt_reused_stop(void) {
#define X(name) atomic_store(&mt_next_functions.name, REAL(name));
    LOOKED_AT(X)
#undef X
}
