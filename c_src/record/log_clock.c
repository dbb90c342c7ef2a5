/* log_clock: see the header. */
#include "log_clock.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000ull

mt_log_clock mt_log_clock_state = {.second = SECOND};

#define clock (&mt_log_clock_state)

static uint64_t read_clock(clockid_t which) {
    struct timespec t;
    clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

uint64_t mt_log_clock_ns(void) {
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t mt_log_clock_wall_ns(void) {
    return read_clock(CLOCK_REALTIME);
}

/* Whether this is the clock that the kernel reads itself. */
static bool kernel_reads(const char *name) {
    char text[32] = {0};
    long file = syscall(SYS_openat, AT_FDCWD,
                        "/sys/devices/system/clocksource/clocksource0/current_clocksource",
                        O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    long n = syscall(SYS_read, (int)file, text, sizeof text - 1);
    syscall(SYS_close, (int)file);
    return n > 0 && strncmp(text, name, strlen(name)) == 0 && text[strlen(name)] == '\n';
}

/* A processor's counter is of the order of nanoseconds on x86: half of what it tells is enough
 * to tell two events of one chunk apart, and a larger pause fits into an event. */
void mt_log_clock_start(void) {
#if defined __x86_64__
    clock->is_cpu = kernel_reads("tsc");
    clock->shift = clock->is_cpu;
    clock->second = SECOND >> clock->shift;
#elif defined __aarch64__
    clock->is_cpu = kernel_reads("arch_sys_counter");
    if (clock->is_cpu) __asm__ volatile("mrs %0, cntfrq_el0" : "=r"(clock->second));
#else
    (void)kernel_reads;
#endif
    clock->ns = mt_log_clock_ns();
    clock->ticks = mt_log_clock_ticks();
}

void mt_log_clock_learn(uint64_t ticks, uint64_t ns) {
    uint64_t passed = ns - clock->ns;
    if (!clock->is_cpu || passed < SECOND / 100 || passed > SECOND * 1000000) return;
    uint64_t second = (ticks - clock->ticks) / (passed / 1000000 + 1) * 1000 >> clock->shift;
    __atomic_store_n(&clock->second, second, __ATOMIC_RELAXED);
}

uint64_t mt_log_clock_then(uint64_t ticks, uint64_t now_ns, uint64_t ns) {
    uint64_t ago = now_ns > ns ? now_ns - ns : 0;
    if (!clock->is_cpu) return ns;
    if (ns < clock->ns) return clock->ticks;
    uint64_t passed = now_ns > clock->ns ? now_ns - clock->ns : 1;
    /* at most a few hours in 64 bits, hence in two steps */
    uint64_t per_us = (ticks - clock->ticks) / (passed / 1000 + 1);
    uint64_t back = ago / 1000 * per_us;
    return back < ticks - clock->ticks ? ticks - back : clock->ticks;
}
