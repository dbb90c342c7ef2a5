/* Leaves chunks behind, of which every figure is known:
 *
 *   once        1 chunk of 4096 bytes
 *   many        43 of 528 bytes, of 60 that there were at once; with "more" 50 of them
 *   inner       2 of 100 bytes, from a function that is inlined into outer
 *   nothing     nothing, of 1000
 *
 * "none": leaves nothing at all. */
#include <stdlib.h>
#include <string.h>

#define OUT_OF_LINE __attribute__((noinline, noclone))

static void *volatile kept[64];

static OUT_OF_LINE void once(void) {
    kept[60] = malloc(4096);
}

static OUT_OF_LINE void many(int stay) {
    for (int i = 0; i < 60; i++) kept[i] = malloc(528);
    for (int i = stay; i < 60; i++) free(kept[i]);
}

static inline __attribute__((always_inline)) void inner(int i) {
    kept[61 + i] = calloc(1, 100);
}

static OUT_OF_LINE void outer(volatile int n) {
    for (int i = 0; i < n; i++) inner(i);
}

static OUT_OF_LINE void nothing(void) {
    for (int i = 0; i < 1000; i++) free((kept[63] = malloc(64)));
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    if (strcmp(how, "none") != 0) {
        once();
        many(strcmp(how, "more") == 0 ? 50 : 43);
        outer(2);
    }
    nothing();
    return 7;
}
