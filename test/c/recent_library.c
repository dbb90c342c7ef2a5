/* A library for recent_test that calls back, so that the stack leads through it. Built twice,
 * with frames of another size: one takes the other's place. */
#include <stdint.h>

#ifndef FRAME
#define FRAME 0x8000
#endif

void calls(void (*f)(uint32_t), uint32_t max);
void calls(void (*f)(uint32_t), uint32_t max) {
    char frame[FRAME];
    __asm__ volatile("" ::"r"(frame) : "memory");
    f(max);
    __asm__ volatile("" ::"r"(frame) : "memory");
}
