/* Built twice, with frames of another size: one library takes the other's place. */
#include <stdlib.h>
#include <string.h>

void *reuse_allocate(void);
void *reuse_allocate(void) {
    char frame[FRAME];
    memset(frame, 0, 64);
    __asm__ volatile("" : : "r"(frame) : "memory");
    void *p = malloc(10);
    __asm__ volatile("" : "+r"(p) : "r"(frame) : "memory");
    return p;
}
