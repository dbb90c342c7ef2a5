/* log_clock: what the event log's times are of: the processor's own counter where the kernel
 * itself relies on it (the same on all processors, at a constant rate), which takes half as
 * long to read as CLOCK_MONOTONIC; else that.
 */
#ifndef MT_RECORD_LOG_CLOCK_H
#define MT_RECORD_LOG_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "word.h"

typedef struct mt_log_clock {
    bool is_cpu;
    uint32_t shift;  /* of a tick, to the units that times are kept in */
    uint64_t second; /* in units; a guess until some time has passed */
    uint64_t ticks, ns;
} mt_log_clock;

extern mt_log_clock mt_log_clock_state __attribute__((visibility("hidden")));

/* Chooses, with two system calls. From the constructor. */
void mt_log_clock_start(void);

/* CLOCK_MONOTONIC and CLOCK_REALTIME, in nanoseconds. */
uint64_t mt_log_clock_ns(void);
uint64_t mt_log_clock_wall_ns(void);

static inline uint64_t mt_log_clock_ticks(void) {
#if defined __x86_64__
    if (__builtin_expect(mt_log_clock_state.is_cpu, 1)) return __builtin_ia32_rdtsc();
#elif defined __aarch64__
    uint64_t ticks;
    if (__builtin_expect(mt_log_clock_state.is_cpu, 1)) {
        __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
        return ticks;
    }
#endif
    return mt_log_clock_ns();
}

static inline uint64_t mt_log_clock_units(void) {
    return mt_log_clock_ticks() >> mt_log_clock_state.shift;
}

/* The same, but where there are other threads not before everything that came earlier is done.
 * For frees: a processor that runs ahead reads the clock before it has the address that another
 * thread has just handed over, and the free then stands before the allocation (100 to 1000 of a
 * million in a program that does nothing else; none with the wait, which takes some 10 ns). An
 * allocation's time is read after its stack, far from where its address came from; and what is
 * stored later, to be seen by others, is stored later. */
static inline uint64_t mt_log_clock_units_after(void) {
#if defined __x86_64__
    if (!mt_word_is_alone()) __builtin_ia32_lfence();
#elif defined __aarch64__
    __asm__ volatile("isb" ::: "memory");
#endif
    return mt_log_clock_units();
}

/* Learns the rate from a moment that is known on both clocks. Any thread. */
void mt_log_clock_learn(uint64_t ticks, uint64_t ns);

/* What the ticks were when CLOCK_MONOTONIC was `ns`, the two being these `now`. */
uint64_t mt_log_clock_then(uint64_t ticks, uint64_t now_ns, uint64_t ns);

#endif
