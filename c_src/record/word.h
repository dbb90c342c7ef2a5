/* word: the read-modify-write operations that recording does on words that threads share.
 *
 * A locked instruction takes some 20 cycles, and a record that begins and ends needs nine. In a
 * process with one thread an instruction without the lock does: nobody but a signal handler of
 * the same thread can come between, and that not within an instruction. glibc's malloc leaves
 * its own locks out by the same rule (__libc_single_threaded, since 2.32): who makes threads
 * behind the C library's back cannot call malloc in them anyway.
 *
 * The ordering is that of the locked form: acquire and release. Among the stores of one thread
 * there is none to keep.
 */
#ifndef MT_RECORD_WORD_H
#define MT_RECORD_WORD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#if defined __x86_64__ && defined __has_include
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#pragma weak __libc_single_threaded
#define MT_WORD_ALONE (&__libc_single_threaded && __libc_single_threaded)
#endif
#endif

/* This process has one thread, as far as it is known. */
static inline bool mt_word_is_alone(void) {
#ifdef MT_WORD_ALONE
    return MT_WORD_ALONE;
#else
    return false;
#endif
}

/* `alone` is what mt_word_is_alone said: asked once for what one hook does, as the allocator
 * itself asks once.
 *
 * Exchanges if the word is `*expected`; else stores what it is there, and returns false. */
static inline bool mt_word_exchange(bool alone, _Atomic uint64_t *word, uint64_t *expected,
                                    uint64_t to) {
#ifdef MT_WORD_ALONE
    if (alone) {
        bool done;
        __asm__ volatile("cmpxchgq %3, %1"
                         : "=@ccz"(done), "+m"(*word), "+a"(*expected)
                         : "r"(to)
                         : "memory");
        return done;
    }
#else
    (void)alone;
#endif
    return atomic_compare_exchange_strong_explicit(word, expected, to, memory_order_acq_rel,
                                                   memory_order_acquire);
}

/* Adds, and returns what was there before; n may be negative. */
static inline uint64_t mt_word_add(bool alone, _Atomic uint64_t *word, uint64_t n) {
#ifdef MT_WORD_ALONE
    if (alone) {
        __asm__ volatile("xaddq %0, %1" : "+r"(n), "+m"(*word)::"memory", "cc");
        return n;
    }
#else
    (void)alone;
#endif
    return atomic_fetch_add_explicit(word, n, memory_order_acq_rel);
}

/* The same where nobody wants to know. */
static inline void mt_word_increase(bool alone, _Atomic uint64_t *word, uint64_t n) {
#ifdef MT_WORD_ALONE
    if (alone) {
        __asm__ volatile("addq %1, %0" : "+m"(*word) : "er"(n) : "memory", "cc");
        return;
    }
#else
    (void)alone;
#endif
    atomic_fetch_add_explicit(word, n, memory_order_acq_rel);
}

#endif
