/* A library that is loaded and unloaded under way, and allocates in its constructor. */
#include <stdlib.h>

static void *kept;

__attribute__((constructor)) static void begin(void) {
    kept = malloc(321);
}

__attribute__((destructor)) static void end(void) {
    free(kept);
}

void *loaded_allocate(size_t n);
void *loaded_allocate(size_t n) {
    void *p = malloc(n);
    __asm__ volatile("" : "+r"(p)::"memory");
    return p;
}
