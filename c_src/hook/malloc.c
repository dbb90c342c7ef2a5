/* malloc: our functions in front of the allocator's.
 *
 * THE LAW OF THE HOOKS. It holds for every line that can run inside malloc or free.
 *  1. A hook never fails the program, never blocks or spins, never changes errno on success,
 *     returns what the allocator behind it returned. What cannot be recorded is dropped and
 *     counted.
 *  2. It takes no lock that another thread may hold while it allocates, forks or loads a
 *     library, the loader's lock above all. No stdio, no libm, no allocation through itself.
 *     (libunwind, where it stands in for our own walk, breaks this: see unwind.)
 *  3. Record after allocating, forget before freeing. realloc: forget first, restore if it
 *     failed; realloc(p, 0) that returns NULL has freed.
 *  4. One guard a thread stops recording; it never stops counting or forgetting.
 *  5. Where nothing is traced, a hook passes through and does nothing else.
 *  6. The whole family. C++ operators are not exported: a C program with a C++ plugin has none
 *     behind us to call.
 *  7. Behind us stands whatever dlsym(RTLD_NEXT) finds or, attached, what the slots held;
 *     never __libc_*.
 *  8. The child of a fork traces nothing and waits for nothing.
 *
 * Counted are calls of the program; a call that the allocator makes to itself (strdup's of
 * malloc, in glibc) is one more call. free(NULL) does nothing and is not counted.
 */
#include "malloc.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "family.h"
#include "record/exact.h"

/* Asked by a call: the address alone may be that of a stub in the program, if that takes the
 * address of malloc and is not position-independent. */
bool mt_malloc_is_ours(void) {
    void *(*f)(size_t) = (void *(*)(size_t))dlsym(RTLD_DEFAULT, "malloc");
    void (*give_back)(void *) = (void (*)(void *))dlsym(RTLD_DEFAULT, "free");
    mt_tls_mine.seen = 0;
    if (f && give_back) give_back(f(1));
    return mt_tls_mine.seen;
}

SLOW void *slow_malloc(size_t size);
SLOW void *slow_calloc(size_t n, size_t size);
SLOW void *slow_realloc(void *p, size_t size);
SLOW void slow_free(void *p);

/* Where a hook goes on in a thread without a block: to its slow twin, which gets it one, or, in
 * a process that is not traced, straight to the allocator. */
static struct {
    void *(*_Atomic malloc)(size_t size);
    void *(*_Atomic calloc)(size_t n, size_t size);
    void *(*_Atomic realloc)(void *p, size_t size);
    void (*_Atomic free)(void *p);
} blockless = {slow_malloc, slow_calloc, slow_realloc, slow_free};

#define BLOCKLESS(f) atomic_load_explicit(&blockless.f, memory_order_relaxed)

void mt_malloc_pass(void) {
    atomic_store(&blockless.malloc, NEXT(malloc));
    atomic_store(&blockless.calloc, NEXT(calloc));
    atomic_store(&blockless.realloc, NEXT(realloc));
    atomic_store(&blockless.free, NEXT(free));
}

void mt_malloc_trace(void) {
    atomic_store(&blockless.malloc, slow_malloc);
    atomic_store(&blockless.calloc, slow_calloc);
    atomic_store(&blockless.realloc, slow_realloc);
    atomic_store(&blockless.free, slow_free);
}

MT_OWN(malloc);
MT_OWN(calloc);
MT_OWN(realloc);
MT_OWN(reallocarray);
MT_OWN(free);
MT_OWN(free_sized);
MT_OWN(free_aligned_sized);
MT_OWN(malloc_usable_size);
MT_OWN(strdup);
MT_OWN(strndup);

/* A drawn chunk on its boundary, or a plain one if the allocator will not. */
static void *on_boundary(size_t size) {
    return mt_tracer_aligns() ? NEXT(memalign)(MT_BOUNDARY, size) : NULL;
}

SLOW void *slow_malloc(size_t size) {
    mt_draw draw;
    mt_tls_mine.seen = 1;
    if (!mt_tracer_on()) return NEXT(malloc)(size);
    if (mt_exact_draws(MT_COUNT_malloc)) {
        void *p = NEXT(malloc)(size);
        mt_exact_record(p, size, own_malloc, MT_WALK_FROM_CALLER);
        return p;
    }
    if (mt_log_draws_now(MT_COUNT_malloc)) {
        void *p = NEXT(malloc)(size);
        mt_log_allocated(p, size, own_malloc, MT_WALK_FROM_CALLER);
        return p;
    }
    if (!mt_tracer_draws(MT_COUNT_malloc, size, &draw)) return NEXT(malloc)(size);
    void *p = on_boundary(size);
    if (!p) p = NEXT(malloc)(size);
    RECORD(p, size, &draw, malloc);
    return p;
}

EXPORT void *malloc(size_t size) {
    mt_thread *block = mt_tls_mine.block;
    if (UNLIKELY(block == NULL)) return BLOCKLESS(malloc)(size);
    return LIKELY(mt_family_covers(block, MT_COUNT_malloc, size)) ? NEXT(malloc)(size)
                                                                  : slow_malloc(size);
}

/* Zeroed by us only where that is little: a large calloc commits nothing. */
SLOW void *slow_calloc(size_t n, size_t size) {
    mt_draw draw;
    size_t bytes;
    if (!mt_tracer_on() || __builtin_mul_overflow(n, size, &bytes))
        return NEXT(calloc)(n, size);
    if (mt_exact_draws(MT_COUNT_calloc)) {
        void *p = NEXT(calloc)(n, size);
        mt_exact_record(p, bytes, own_calloc, MT_WALK_FROM_CALLER);
        return p;
    }
    if (mt_log_draws_now(MT_COUNT_calloc)) {
        void *p = NEXT(calloc)(n, size);
        mt_log_allocated(p, bytes, own_calloc, MT_WALK_FROM_CALLER);
        return p;
    }
    if (!mt_tracer_draws(MT_COUNT_calloc, bytes, &draw)) return NEXT(calloc)(n, size);
    void *p = bytes <= MT_ZEROED_MAX ? on_boundary(bytes) : NULL;
    p = p ? memset(p, 0, bytes) : NEXT(calloc)(n, size);
    RECORD(p, bytes, &draw, calloc);
    return p;
}

EXPORT void *calloc(size_t n, size_t size) {
    size_t bytes;
    if (UNLIKELY(mt_tls_mine.block == NULL)) return BLOCKLESS(calloc)(n, size);
    if (UNLIKELY(__builtin_mul_overflow(n, size, &bytes))) return slow_calloc(n, size);
    return LIKELY(mt_family_passes(MT_COUNT_calloc, bytes)) ? NEXT(calloc)(n, size)
                                                            : slow_calloc(n, size);
}

/* Forgets the old chunk first: its address may be another thread's before realloc returns. */
static inline void *traced_realloc(mt_count which, void *old, size_t size, void *hook,
                                   mt_walk_from from) {
    mt_held held;
    mt_draw draw;
    if (mt_log_draws_realloc(which, old)) {
        void *p = NEXT(realloc)(old, size);
        mt_log_allocated(p, size, hook, from);
        return p;
    }
    mt_tracer_hold(old, &held);
    if (mt_exact_draws(which)) {
        void *p = NEXT(realloc)(old, size);
        mt_exact_resize(&held, p, size, hook, from);
        return p;
    }
    bool drawn = mt_tracer_draws(which, size, &draw);
    void *p = NEXT(realloc)(old, size);
    if (!p && size) mt_tracer_restore(&held);
    else mt_tracer_release(&held);
    if (drawn) mt_tracer_record(p, size, &draw, hook, from);
    return p;
}

/* For a thread that has a block. */
static inline bool is_unknown(const void *p) {
    return !mt_tracer_must_look(p) || !mt_tracer_may_know(p);
}

SLOW void *slow_realloc(void *p, size_t size) {
    if (!mt_tracer_on()) return NEXT(realloc)(p, size);
    return traced_realloc(MT_COUNT_realloc, p, size, own_realloc, MT_WALK_FROM_CALLER);
}

EXPORT void *realloc(void *p, size_t size) {
    if (UNLIKELY(mt_tls_mine.block == NULL)) return BLOCKLESS(realloc)(p, size);
    if (LIKELY(is_unknown(p) && mt_family_passes(MT_COUNT_realloc, size)))
        return NEXT(realloc)(p, size);
    return slow_realloc(p, size);
}

/* Not passed to a reallocarray behind us: libc's would call our realloc again, and another
 * allocator may have none. */
SLOW void *slow_reallocarray(void *p, size_t bytes) {
    if (!mt_tracer_on()) return NEXT(realloc)(p, bytes);
    return traced_realloc(MT_COUNT_reallocarray, p, bytes, own_reallocarray,
                          MT_WALK_FROM_CALLER);
}

EXPORT void *reallocarray(void *p, size_t n, size_t size) {
    size_t bytes;
    if (UNLIKELY(__builtin_mul_overflow(n, size, &bytes))) {
        if (mt_tracer_on()) mt_thread_count(MT_COUNT_reallocarray);
        return errno = ENOMEM, NULL;
    }
    if (LIKELY(mt_tls_mine.block && is_unknown(p) &&
               mt_family_passes(MT_COUNT_reallocarray, bytes)))
        return NEXT(realloc)(p, bytes);
    return slow_reallocarray(p, bytes);
}

static bool forget(mt_count which, void *p) {
    if (!p || !mt_tracer_on()) return false;
    mt_thread_count(which);
    return mt_tracer_forget(p);
}

/* Where there is a log: that is told, and there is nothing to forget. */
static inline bool is_logged(mt_count which, void *p, void *hook, mt_walk_from from) {
    if (LIKELY(!mt_log_on()) || !p || !mt_tracer_on()) return false;
    mt_thread_count(which);
    mt_log_freed(p, hook, from);
    return true;
}

#define IS_LOGGED(p, hook) is_logged(MT_COUNT_##hook, p, own_##hook, MT_WALK_FROM_CALLER)

/* Frees a chunk that we had put on a boundary. Allocators hand out first what was freed last,
 * and a program that allocates and frees in turn would get this one again and again, each time
 * for a look into the table: another goes on top of it, which does not even begin a line of
 * the processor's cache, where the allocator's own word would lie in another line. The numbers
 * are those of glibc's cache; with another allocator it works or it does nothing. */
SLOW void free_beneath(void *p) {
    enum { CACHED = 7, CACHED_BYTES = 1032, LINE = 64 };
    void *held[CACHED + 1], *top;
    size_t size = NEXT(malloc_usable_size)(p);
    int n = 0, error = errno;
    NEXT(free)(p);
    if (size > CACHED_BYTES) return;
    while ((top = NEXT(malloc)(size)) && (uintptr_t)top % LINE == 0 && n <= CACHED)
        held[n++] = top;
    for (int i = 0; i < n && i < CACHED - 1; i++) NEXT(free)(held[i]);
    NEXT(free)(top);
    for (int i = CACHED - 1; i < n; i++) NEXT(free)(held[i]);
    errno = error;
}

SLOW void slow_free(void *p) {
    if (mt_tracer_is_exact() && p && mt_tracer_on()) {
        mt_thread_count(MT_COUNT_free);
        if (!mt_exact_forget(p)) mt_tracer_stray(p);
        NEXT(free)(p);
        return;
    }
    if (IS_LOGGED(p, free)) {
        NEXT(free)(p);
        return;
    }
    bool recorded = forget(MT_COUNT_free, p);
    if (recorded && (uintptr_t)p % MT_BOUNDARY == 0 && mt_tracer_aligns()) free_beneath(p);
    else NEXT(free)(p);
}

EXPORT void free(void *p) {
    mt_thread *block = mt_tls_mine.block;
    if (UNLIKELY(block == NULL)) {
        BLOCKLESS(free)(p);
    } else if (LIKELY(!mt_tracer_must_look(p) || (p && !mt_tracer_may_know(p)))) {
        mt_thread_bump(block, MT_COUNT_free);
        NEXT(free)(p);
    } else {
        slow_free(p);
    }
}

/* A chunk on a boundary may be ours, made larger than its size says: it is freed without. */
void free_sized(void *p, size_t size);
EXPORT void free_sized(void *p, size_t size) {
    if (!IS_LOGGED(p, free_sized)) forget(MT_COUNT_free_sized, p);
    if ((uintptr_t)p % MT_BOUNDARY == 0) NEXT(free)(p);
    else NEXT(free_sized)(p, size);
}

void free_aligned_sized(void *p, size_t align, size_t size);
EXPORT void free_aligned_sized(void *p, size_t align, size_t size) {
    if (!IS_LOGGED(p, free_aligned_sized)) forget(MT_COUNT_free_aligned_sized, p);
    if ((uintptr_t)p % MT_BOUNDARY == 0) NEXT(free)(p);
    else NEXT(free_aligned_sized)(p, align, size);
}

EXPORT size_t malloc_usable_size(void *p) {
    if (mt_tracer_on()) mt_thread_count(MT_COUNT_malloc_usable_size);
    return NEXT(malloc_usable_size)(p);
}

/* Counters only: the copy itself comes from malloc, which records it. */
EXPORT char *strdup(const char *s) {
    if (mt_tracer_on()) mt_thread_count(MT_COUNT_strdup);
    return NEXT(strdup)(s);
}

EXPORT char *strndup(const char *s, size_t n) {
    if (mt_tracer_on()) mt_thread_count(MT_COUNT_strndup);
    return NEXT(strndup)(s, n);
}

/* Programs built with old headers call these names (bits/string2.h). */
EXPORT char *__strdup(const char *s) {
    return strdup(s);
}
EXPORT char *__strndup(const char *s, size_t n) {
    return strndup(s, n);
}
