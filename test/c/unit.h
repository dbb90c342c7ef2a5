/* unit: what every unit test starts with: cmocka, and random numbers that can be repeated. */
#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* cmocka's own has other names in other versions. */
#define unit_in_range(x, lo, hi) assert_true((x) >= (lo) && (x) <= (hi))

/* SEED in the environment repeats a run; otherwise the clock's, printed. */
static inline uint64_t unit_seed(void) {
    const char *given = getenv("SEED");
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)t.tv_nsec | 1;
    printf("   seed: SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

/* xorshift64* (Marsaglia 2003, Vigna 2016). */
static inline uint64_t unit_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dull;
}

#endif
