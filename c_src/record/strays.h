/* strays: the last frees of chunks that nobody knows of: allocated before we came, ignored, or
 * freed twice. A ring that a process outside reads; who comes too late has lost the oldest.
 *
 *   | count | stray | stray | ...   MT_STRAYS of them, the i-th in entry i % MT_STRAYS
 *
 * For hooks: no lock, no system call but the clock. Nothing is noted unless it was started.
 */
#ifndef MT_RECORD_STRAYS_H
#define MT_RECORD_STRAYS_H

#include <stdatomic.h>
#include <stdint.h>

enum { MT_STRAYS = 8192 };

/* Copied well if `sequence`, read before (acquire) and after (behind an acquire fence), is the
 * stray's number plus one. */
typedef struct mt_stray {
    _Atomic uint64_t sequence, address, ns; /* CLOCK_MONOTONIC */
    _Atomic uint64_t thread;
} mt_stray;

typedef struct mt_strays {
    _Atomic uint64_t count;
    uint64_t unused[7];
    mt_stray entry[MT_STRAYS];
} mt_strays;

extern mt_strays *_Atomic mt_strays_ring __attribute__((visibility("hidden")));

/* Where the tables are mapped. Without memory nothing is noted. */
void mt_strays_start(void);

/* Notes it; `thread` is the caller's number. */
void mt_strays_put(mt_strays *ring, const void *chunk, uint32_t thread);

static inline void mt_strays_note(const void *chunk, uint32_t thread) {
    mt_strays *ring = atomic_load_explicit(&mt_strays_ring, memory_order_acquire);
    if (__builtin_expect(ring && chunk, 0)) mt_strays_put(ring, chunk, thread);
}

#endif
