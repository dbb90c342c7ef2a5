/* aligned: the functions of the malloc family whose callers ask for an alignment. The law of
 * the hooks (malloc.c) holds for every line.
 */
#include <malloc.h>
#include <stdlib.h>

#include "family.h"

MT_OWN(posix_memalign);
MT_OWN(aligned_alloc);
MT_OWN(memalign);
MT_OWN(valloc);
MT_OWN(pvalloc);

/* The alignment that a drawn chunk gets: our boundary, if it asks for less. One that is invalid
 * stays: then the allocator says so. */
static size_t wider(size_t align) {
    bool valid = align >= sizeof(void *) && (align & (align - 1)) == 0;
    return valid && align < MT_BOUNDARY && mt_tracer_aligns() ? MT_BOUNDARY : align;
}

SLOW int slow_posix_memalign(void **out, size_t align, size_t size) {
    mt_draw draw;
    if (!mt_tracer_on() || !mt_tracer_draws(MT_COUNT_posix_memalign, size, &draw))
        return NEXT(posix_memalign)(out, align, size);
    int failed = NEXT(posix_memalign)(out, wider(align), size);
    RECORD(failed ? NULL : *out, size, &draw, posix_memalign);
    return failed;
}

EXPORT int posix_memalign(void **out, size_t align, size_t size) {
    return LIKELY(mt_family_passes(MT_COUNT_posix_memalign, size))
               ? NEXT(posix_memalign)(out, align, size)
               : slow_posix_memalign(out, align, size);
}

#define ALIGNED(name)                                                                          \
    SLOW void *slow_##name(size_t align, size_t size) {                                        \
        mt_draw draw;                                                                          \
        if (!mt_tracer_on() || !mt_tracer_draws(MT_COUNT_##name, size, &draw))                 \
            return NEXT(name)(align, size);                                                    \
        size_t wide = wider(align);                                                            \
        void *p = wide != align ? NEXT(memalign)(wide, size) : NEXT(name)(align, size);        \
        RECORD(p, size, &draw, name);                                                          \
        return p;                                                                              \
    }                                                                                          \
    EXPORT void *name(size_t align, size_t size) {                                             \
        return LIKELY(mt_family_passes(MT_COUNT_##name, size)) ? NEXT(name)(align, size)       \
                                                               : slow_##name(align, size);     \
    }
ALIGNED(aligned_alloc)
ALIGNED(memalign)

/* valloc, pvalloc: on a page, hence on a boundary. */
#define PAGED(name)                                                                            \
    SLOW void *slow_##name(size_t size) {                                                      \
        mt_draw draw;                                                                          \
        if (!mt_tracer_on() || !mt_tracer_draws(MT_COUNT_##name, size, &draw))                 \
            return NEXT(name)(size);                                                           \
        void *p = NEXT(name)(size);                                                            \
        RECORD(p, size, &draw, name);                                                          \
        return p;                                                                              \
    }                                                                                          \
    EXPORT void *name(size_t size) {                                                           \
        return LIKELY(mt_family_passes(MT_COUNT_##name, size)) ? NEXT(name)(size)              \
                                                               : slow_##name(size);            \
    }
PAGED(valloc)
PAGED(pvalloc)
