/* log_clock: what the event log's times are of: the processor's own counter where the kernel
 * itself relies on it (the same on all processors, at a constant rate), which takes half as
 * long to read as CLOCK_MONOTONIC; else that.
 */
#ifndef MT_RECORD_LOG_CLOCK_H
#define MT_RECORD_LOG_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

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

/* Learns the rate from a moment that is known on both clocks. Any thread. */
void mt_log_clock_learn(uint64_t ticks, uint64_t ns);

/* What the ticks were when CLOCK_MONOTONIC was `ns`, the two being these `now`. */
uint64_t mt_log_clock_then(uint64_t ticks, uint64_t now_ns, uint64_t ns);

#endif
