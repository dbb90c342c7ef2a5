/* log_stacks: see the header. Runs inside malloc and free. */
#include "log_stacks.h"

#include <stdatomic.h>
#include <stddef.h>

#include "private.h"

typedef struct {
    _Atomic uint64_t first;   /* 0: free; whoever puts his hash here has the entry */
    _Atomic uint64_t second;  /* 0: not there yet */
    _Atomic uint64_t number;  /* and its stamp in the low half; 0: not there yet */
    _Atomic uint64_t definer; /* whose buffer has the definition << 16 | blocks of it that were
                                 written by then; 0: not there yet */
} entry;

enum { LEVELS = 3, PROBES = 4 };
static const uint32_t bits[LEVELS] = {14, 17, 20};

static entry *_Atomic level[LEVELS];
static uint64_t random_word[2][MT_DEPTH_MAX + 1];
static _Atomic uint32_t numbers;
static _Atomic uint64_t full;

/* Another may have mapped it meanwhile. */
static __attribute__((noinline)) entry *map_level(int i) {
    entry *e = NULL, *fresh;
    size_t bytes = (sizeof *e << bits[i]) + PROBES * sizeof *e;
    if (!(fresh = mt_private_take(bytes))) return e;
    if (atomic_compare_exchange_strong_explicit(&level[i], &e, fresh, memory_order_acq_rel,
                                                memory_order_acquire))
        return fresh;
    mt_private_return(fresh, bytes);
    return e;
}

static inline entry *level_at(int i) {
    entry *e = atomic_load_explicit(&level[i], memory_order_acquire);
    return __builtin_expect(e != NULL, 1) ? e : map_level(i);
}

/* splitmix64 (Steele et al., OOPSLA 2014), always the same ones: nobody picks addresses so that
 * they collide. */
int mt_log_stacks_start(void) {
    uint64_t x = 0x6d74726163656c67ull;
    for (int h = 0; h < 2; h++)
        for (int i = 0; i <= MT_DEPTH_MAX; i++) {
            uint64_t z = x += 0x9e3779b97f4a7c15ull;
            z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
            z = (z ^ z >> 27) * 0x94d049bb133111ebull;
            random_word[h][i] = (z ^ z >> 31) | 1;
        }
    return level_at(0) ? 0 : -1;
}

/* A number for who has none that holds; of several who want to define it one does. */
static uint32_t renew(entry *e, uint64_t word, uint32_t stamp, bool *defines) {
    uint64_t fresh = atomic_fetch_add_explicit(&numbers, 1, memory_order_relaxed) + 1;
    fresh = fresh << 32 | stamp;
    *defines = atomic_compare_exchange_strong_explicit(
        &e->number, &word, fresh, memory_order_acq_rel, memory_order_acquire);
    return (uint32_t)((*defines ? fresh : word) >> 32);
}

/* It is in the file, or in the caller's own buffer, and will come no later than what the caller
 * writes next. Acquire, with the writer's release: not that it matters in this process, but who
 * reads the file of a killed one finds it there. */
static bool is_defined(entry *e, const mt_log_writer *mine) {
    uint64_t who = atomic_load_explicit(&e->definer, memory_order_relaxed);
    const mt_log_writer *w = (const mt_log_writer *)(uintptr_t)(who >> 16);
    if (w == mine) return true;
    if (w && (uint16_t)atomic_load_explicit(&w->written, memory_order_acquire) != (uint16_t)who)
        return true;
    return false;
}

static void will_define(entry *e, const mt_log_writer *mine) {
    uint32_t written = atomic_load_explicit(&mine->written, memory_order_relaxed);
    atomic_store_explicit(&e->definer, (uint64_t)(uintptr_t)mine << 16 | (uint16_t)written,
                          memory_order_relaxed);
}

/* The number, and who defines it. */
static uint32_t number_in(entry *e, uint32_t stamp, const mt_log_writer *mine, bool *defines) {
    uint64_t word = atomic_load_explicit(&e->number, memory_order_relaxed);
    bool holds = (uint32_t)word == stamp && word >> 32;
    uint32_t number = holds ? (uint32_t)(word >> 32) : renew(e, word, stamp, defines);
    if (!*defines) *defines = !is_defined(e, mine);
    if (*defines) will_define(e, mine);
    return number;
}

/* Relaxed: an entry holds nothing but itself. One that is being made by another thread looks
 * like another stack's; then this one gets two entries, and two numbers. */
static uint32_t look(int i, uint64_t first, uint64_t second, uint32_t stamp,
                     const mt_log_writer *mine, bool *defines) {
    entry *e = level_at(i);
    if (!e) return 0;
    e += first >> (64 - bits[i]);
    for (entry *end = e + PROBES; e < end; e++) {
        uint64_t there = atomic_load_explicit(&e->first, memory_order_relaxed);
        if (there == 0 &&
            atomic_compare_exchange_strong_explicit(&e->first, &there, first,
                                                    memory_order_relaxed, memory_order_relaxed))
            atomic_store_explicit(&e->second, second, memory_order_relaxed);
        else if (there != first ||
                 atomic_load_explicit(&e->second, memory_order_relaxed) != second)
            continue;
        return number_in(e, stamp, mine, defines);
    }
    return 0;
}

uint32_t mt_log_stacks_number(void *const *stack, uint32_t frames, uint32_t stamp,
                              const mt_log_writer *mine, bool *defines) {
    uint64_t first = random_word[0][MT_DEPTH_MAX] * frames;
    uint64_t second = random_word[1][MT_DEPTH_MAX] * frames;
    *defines = false;
    for (uint32_t i = 0; i < frames; i++) {
        first += (uintptr_t)stack[i] * random_word[0][i];
        second += (uintptr_t)stack[i] * random_word[1][i];
    }
    /* The high bits choose the place, and depend on all. None is 0. */
    first = (first ^ first >> 32) * 0xd6e8feb86659fd93ull | 1;
    second |= 1;
    for (int i = 0; i < LEVELS; i++) {
        uint32_t number = look(i, first, second, stamp, mine, defines);
        if (number) return number;
    }
    atomic_fetch_add_explicit(&full, 1, memory_order_relaxed);
    return 0;
}

uint64_t mt_log_stacks_full(void) {
    return atomic_load_explicit(&full, memory_order_relaxed);
}
