/* A static function that allocates, with another inlined into it. */
#include <stdlib.h>

#define KEEP(p) __asm__ volatile("" : "+r"(p)::"memory")

static inline __attribute__((always_inline)) void *inlined_leak(unsigned long size) {
    void *p = malloc(size); /* the innermost line */
    KEEP(p);
    return p;
}

static __attribute__((noinline)) void *static_leak(unsigned long size) {
    void *p = inlined_leak(size); /* the line of the call */
    KEEP(p);
    return p;
}

void *fixture_leak(unsigned long size) {
    void *p = static_leak(size);
    KEEP(p);
    return p;
}
