/* futex: waiting on a word of shared memory, and waking who does: futex(2).
 *
 * The word's sides are the traced process and who watches it (region.h), so these are not the
 * private operations. No lock, safe in a signal handler; errno may change.
 */
#ifndef MT_RECORD_FUTEX_H
#define MT_RECORD_FUTEX_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel's time is two longs, whatever the C library's time_t is; but on processors that
 * only ever had the call with 64-bit times. */
#ifdef SYS_futex
#define MT_SYS_FUTEX SYS_futex
typedef long mt_futex_time;
#else
#define MT_SYS_FUTEX SYS_futex_time64
typedef int64_t mt_futex_time;
#endif

/* Returns when the word is woken, at once if it is not `is`, at a signal, or after `most_ns`,
 * unless that is 0: who waits looks at the word again. */
static inline void mt_futex_wait(_Atomic uint32_t *word, uint32_t is, uint64_t most_ns) {
    enum { WAIT = 0 };
    struct {
        mt_futex_time seconds, nanoseconds;
    } most = {(mt_futex_time)(most_ns / 1000000000u), (mt_futex_time)(most_ns % 1000000000u)};
    syscall(MT_SYS_FUTEX, word, WAIT, is, most_ns ? &most : NULL, NULL, 0);
}

/* Wakes at most so many; how many it was, or -1. */
static inline long mt_futex_wake(_Atomic uint32_t *word, int most) {
    enum { WAKE = 1 };
    return syscall(MT_SYS_FUTEX, word, WAKE, most, NULL, NULL, 0);
}

#endif
