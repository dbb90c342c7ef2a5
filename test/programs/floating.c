/* Allocates in a floating-point environment of its own: rounding upwards, no flag up and, where
 * the processor can, a trap for every operation that is inexact. A hook's own arithmetic must
 * neither trap nor be seen. */
#include <fenv.h>
#include <string.h>

#include "traced.h"

enum { ROUNDS = 20000, HELD = 64 };

static void check(void) {
    CHECK(fegetround() == FE_UPWARD);
    CHECK(fetestexcept(FE_ALL_EXCEPT) == 0);
}

int main(void) {
    static void *held[HELD];
    uint64_t before = traced_count(MT_COUNT_recorded);
    fesetround(FE_UPWARD);
    feclearexcept(FE_ALL_EXCEPT);
    feenableexcept(FE_ALL_EXCEPT);
    for (size_t i = 0; i < ROUNDS; i++) {
        void **p = &held[i % HELD];
        size_t n = 24 + i % 3000;
        free(*p);
        *p = i % 3 == 0 ? malloc(n) : i % 3 == 1 ? calloc(1, n) : realloc(malloc(8), n);
        check();
    }
    fesetenv(FE_DFL_ENV);
    CHECK(traced_count(MT_COUNT_recorded) > before + ROUNDS / 100); /* some with p < 1 */
    puts("floating: well");
    return 0;
}
