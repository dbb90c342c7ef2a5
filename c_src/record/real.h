/* real: the little floating-point arithmetic that recording needs, without libm and without a
 * trace in the program's floating-point environment.
 */
#ifndef MT_RECORD_REAL_H
#define MT_RECORD_REAL_H

#include <stdint.h>

/* The program may have chosen a rounding mode, may trap on inexact results, or may look at the
 * flags of its last operation: between enter and leave the environment is the default one.
 * A few ns. */
typedef struct mt_real_environment {
    uint64_t control, status;
} mt_real_environment;

static inline mt_real_environment mt_real_enter(void) {
    mt_real_environment saved = {0, 0};
#if defined __x86_64__
    saved.control = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(0x1f80); /* all exceptions masked, to nearest */
#elif defined __aarch64__
    __asm__ volatile("mrs %0, fpcr\n mrs %1, fpsr" : "=r"(saved.control), "=r"(saved.status));
    __asm__ volatile("msr fpcr, xzr");
#endif
    return saved;
}

static inline void mt_real_leave(mt_real_environment saved) {
#if defined __x86_64__
    __builtin_ia32_ldmxcsr((unsigned)saved.control);
#elif defined __aarch64__
    __asm__ volatile("msr fpcr, %0\n msr fpsr, %1" ::"r"(saved.control), "r"(saved.status));
#else
    (void)saved;
#endif
}

/* The natural logarithm of x > 0, to 1e-14 relative. */
double mt_real_log(double x);

/* 1 - exp(-x) for x >= 0, to 1e-14 relative, for small x too. */
double mt_real_share(double x);

#define MT_REAL_ONE 0x3ff0000000000000ull /* the bits of 1.0 */

/* Doubles in atomic words. */
static inline uint64_t mt_real_bits(double x) {
    union {
        double d;
        uint64_t u;
    } both = {.d = x};
    return both.u;
}

static inline double mt_real_of(uint64_t bits) {
    union {
        uint64_t u;
        double d;
    } both = {.u = bits};
    return both.d;
}

#endif
