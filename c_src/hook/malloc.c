/* malloc: our functions in front of the allocator's.
 *
 * THE LAW OF THE HOOKS. It holds for every line that can run inside malloc or free.
 *  1. A hook never fails the program, never blocks or spins, never changes errno on success,
 *     returns what the allocator behind it returned. What cannot be recorded is dropped and
 *     counted.
 *  2. It takes no lock that another thread may hold while it allocates, forks or loads a
 *     library, the loader's lock above all. No stdio, no libm, no allocation through itself.
 *     (libunwind, asked for a place that it does not know yet, breaks this: see unwind.)
 *  3. Record after allocating, forget before freeing. realloc: forget first, restore if it
 *     failed; realloc(p, 0) that returns NULL has freed.
 *  4. One guard a thread stops recording; it never stops counting or forgetting.
 *  5. Where nothing is traced, a hook passes through and does nothing else.
 *  6. The whole family. C++ operators are not exported: a C program with a C++ plugin has none
 *     behind us to call.
 *  7. Behind us stands whatever dlsym(RTLD_NEXT) finds, never __libc_*.
 *  8. The child of a fork traces nothing and waits for nothing.
 *
 * Counted are calls of the program; a call that the allocator makes to itself (strdup's of
 * malloc, in glibc) is one more call. free(NULL) does nothing and is not counted.
 */
#include "malloc.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "next.h"
#include "record/tracer.h"

#define EXPORT   __attribute__((visibility("default")))
#define FROM     __builtin_return_address(0)
#define PASSING  __builtin_expect(!mt_tracer_on(), 0)
#define COUNT(f) mt_thread_count(MT_COUNT_##f)

bool mt_malloc_is_ours(void) {
    Dl_info first, own;
    void *f = dlsym(RTLD_DEFAULT, "malloc");
    return f && dladdr(f, &first) && dladdr((void *)mt_malloc_is_ours, &own) &&
           first.dli_fbase == own.dli_fbase;
}

EXPORT void *malloc(size_t size) {
    if (PASSING) return mt_next_get(malloc)(size);
    COUNT(malloc);
    void *p = mt_next_get(malloc)(size);
    mt_tracer_record(p, size, (void *)malloc, FROM);
    return p;
}

EXPORT void *calloc(size_t n, size_t size) {
    if (PASSING) return mt_next_get(calloc)(n, size);
    COUNT(calloc);
    void *p = mt_next_get(calloc)(n, size);
    mt_tracer_record(p, n * size, (void *)calloc, FROM); /* no overflow if it succeeded */
    return p;
}

static void *traced_realloc(void *old, size_t size, void *hook, void *from) {
    mt_held held;
    mt_tracer_hold(old, &held);
    void *p = mt_next_get(realloc)(old, size);
    if (!p && size) {
        mt_tracer_restore(&held);
        return NULL;
    }
    mt_tracer_release(&held);
    mt_tracer_record(p, size, hook, from);
    return p;
}

EXPORT void *realloc(void *p, size_t size) {
    if (PASSING) return mt_next_get(realloc)(p, size);
    COUNT(realloc);
    return traced_realloc(p, size, (void *)realloc, FROM);
}

/* Not passed to a reallocarray behind us: libc's would call our realloc again, and another
 * allocator may have none. */
EXPORT void *reallocarray(void *p, size_t n, size_t size) {
    size_t bytes;
    bool overflows = __builtin_mul_overflow(n, size, &bytes);
    if (!PASSING) COUNT(reallocarray);
    if (overflows) return errno = ENOMEM, NULL;
    if (PASSING) return mt_next_get(realloc)(p, bytes);
    return traced_realloc(p, bytes, (void *)reallocarray, FROM);
}

EXPORT void free(void *p) {
    if (!PASSING && p) {
        COUNT(free);
        mt_tracer_forget(p);
    }
    mt_next_get(free)(p);
}

void free_sized(void *p, size_t size);
EXPORT void free_sized(void *p, size_t size) {
    if (!PASSING && p) {
        COUNT(free_sized);
        mt_tracer_forget(p);
    }
    mt_next_get(free_sized)(p, size);
}

void free_aligned_sized(void *p, size_t align, size_t size);
EXPORT void free_aligned_sized(void *p, size_t align, size_t size) {
    if (!PASSING && p) {
        COUNT(free_aligned_sized);
        mt_tracer_forget(p);
    }
    mt_next_get(free_aligned_sized)(p, align, size);
}

EXPORT int posix_memalign(void **out, size_t align, size_t size) {
    if (PASSING) return mt_next_get(posix_memalign)(out, align, size);
    COUNT(posix_memalign);
    int failed = mt_next_get(posix_memalign)(out, align, size);
    if (!failed) mt_tracer_record(*out, size, (void *)posix_memalign, FROM);
    return failed;
}

EXPORT void *aligned_alloc(size_t align, size_t size) {
    if (PASSING) return mt_next_get(aligned_alloc)(align, size);
    COUNT(aligned_alloc);
    void *p = mt_next_get(aligned_alloc)(align, size);
    mt_tracer_record(p, size, (void *)aligned_alloc, FROM);
    return p;
}

EXPORT void *memalign(size_t align, size_t size) {
    if (PASSING) return mt_next_get(memalign)(align, size);
    COUNT(memalign);
    void *p = mt_next_get(memalign)(align, size);
    mt_tracer_record(p, size, (void *)memalign, FROM);
    return p;
}

EXPORT void *valloc(size_t size) {
    if (PASSING) return mt_next_get(valloc)(size);
    COUNT(valloc);
    void *p = mt_next_get(valloc)(size);
    mt_tracer_record(p, size, (void *)valloc, FROM);
    return p;
}

EXPORT void *pvalloc(size_t size) {
    if (PASSING) return mt_next_get(pvalloc)(size);
    COUNT(pvalloc);
    void *p = mt_next_get(pvalloc)(size);
    mt_tracer_record(p, size, (void *)pvalloc, FROM);
    return p;
}

EXPORT size_t malloc_usable_size(void *p) {
    if (!PASSING) COUNT(malloc_usable_size);
    return mt_next_get(malloc_usable_size)(p);
}

/* Counters only: the copy itself comes from malloc, which records it. */
EXPORT char *strdup(const char *s) {
    if (!PASSING) COUNT(strdup);
    return mt_next_get(strdup)(s);
}

EXPORT char *strndup(const char *s, size_t n) {
    if (!PASSING) COUNT(strndup);
    return mt_next_get(strndup)(s, n);
}

/* Programs built with old headers call these names (bits/string2.h). */
EXPORT char *__strdup(const char *s) {
    return strdup(s);
}
EXPORT char *__strndup(const char *s, size_t n) {
    return strndup(s, n);
}

/* A callback that allocates while another thread unwinds would wait for libunwind's lock with
 * the loader's in its hand, and the other the reverse: nothing is recorded in a callback. */
EXPORT int dl_iterate_phdr(mt_phdr_callback *f, void *context) {
    mt_tls_mine.guard++;
    int result = mt_next_get(dl_iterate_phdr)(f, context);
    mt_tls_mine.guard--;
    return result;
}
