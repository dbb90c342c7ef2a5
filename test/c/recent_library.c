/* A library for recent_test that calls back, so that the stack leads through it. */
#include <stdint.h>

void calls(void (*f)(uint32_t), uint32_t max);
void calls(void (*f)(uint32_t), uint32_t max) {
    f(max);
    __asm__ volatile("" ::: "memory");
}
