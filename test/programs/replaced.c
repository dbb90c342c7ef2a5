/* A library with one function of its own beside the one that is asked for. Built twice, with
 * other names: the two are of one shape. */
#include <stdlib.h>

__attribute__((noinline)) void *INNER(size_t n);
void *INNER(size_t n) {
    void *p = malloc(n);
    __asm__ volatile("" : "+r"(p)::"memory");
    return p;
}

void *left_there(size_t n);
void *left_there(size_t n) {
    void *p = INNER(n);
    __asm__ volatile("" : "+r"(p)::"memory");
    return p;
}
