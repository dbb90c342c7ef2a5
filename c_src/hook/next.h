/* next: the allocator that stands behind us, found with dlsym(RTLD_NEXT, ...): libc's, or a
 * jemalloc or tcmalloc that is preloaded after us or linked as a library.
 *
 * Each pointer first holds a function that looks its own symbol up and goes on to it: the
 * first allocation of a process may come before any constructor. dlsym allocates in some
 * versions of glibc (calloc, for its error state); what is asked of us meanwhile is served
 * from a small pool that is never given back. Where the pool has been used, free, realloc and
 * malloc_usable_size go through functions that know its chunks; elsewhere that costs nothing.
 *
 * Looking up takes no lock of ours; two threads may do it at once and find the same.
 */
#ifndef MT_HOOK_NEXT_H
#define MT_HOOK_NEXT_H

#include <link.h>
#include <stdbool.h>
#include <stddef.h>

typedef int mt_phdr_callback(struct dl_phdr_info *info, size_t size, void *context);

/* name, return type, parameters, arguments */
#define MT_NEXT(X)                                                                             \
    X(malloc, void *, (size_t n), (n))                                                         \
    X(calloc, void *, (size_t n, size_t size), (n, size))                                      \
    X(realloc, void *, (void *p, size_t n), (p, n))                                            \
    X(posix_memalign, int, (void **out, size_t align, size_t n), (out, align, n))              \
    X(aligned_alloc, void *, (size_t align, size_t n), (align, n))                             \
    X(memalign, void *, (size_t align, size_t n), (align, n))                                  \
    X(valloc, void *, (size_t n), (n))                                                         \
    X(pvalloc, void *, (size_t n), (n))                                                        \
    X(malloc_usable_size, size_t, (void *p), (p))                                              \
    X(strdup, char *, (const char *s), (s))                                                    \
    X(strndup, char *, (const char *s, size_t n), (s, n))                                      \
    X(dl_iterate_phdr, int, (mt_phdr_callback * f, void *context), (f, context))               \
    X(dlclose, int, (void *handle), (handle))

typedef struct mt_next {
#define X(name, type, parameters, arguments) type(*_Atomic name) parameters;
    MT_NEXT(X)
#undef X
    void (*_Atomic free)(void *p);
    void (*_Atomic free_sized)(void *p, size_t n);
    void (*_Atomic free_aligned_sized)(void *p, size_t align, size_t n);
} mt_next;

extern mt_next mt_next_functions __attribute__((visibility("hidden")));

/* A relaxed load of a pointer that only ever changes from "look it up" to the result. */
#define mt_next_get(name) atomic_load_explicit(&mt_next_functions.name, memory_order_relaxed)

/* Looks everything up now; for the constructor of a traced process. */
void mt_next_start(void);

/* From now on what `behind` tells stands behind us, where it is not NULL: for a process in
 * which we were loaded as a NIF, and RTLD_NEXT finds libc's allocator even where another
 * serves. Not for hooks. */
void mt_next_point(void *(*behind)(const char *symbol));

#endif
