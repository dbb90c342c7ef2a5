/* sites: see the header. The orderings: a key that says READY is stored with release after the
 * stack and loaded with acquire before it. A reference is taken with a compare-and-swap on the
 * word that also holds the hash and the state, so a row cannot change hands in between; and
 * while references are above 0 nobody writes it. Dropping is a release, evicting an acquire:
 * what a former holder read, it read before the row is written again. */
#include "sites.h"

#include <stdbool.h>
#include <stddef.h>

#include "chunks.h"
#include "real.h"
#include "region.h"
#include "site_row.h"
#include "word.h"

#define FREE       MT_ROW_FREE
#define WRITING    MT_ROW_WRITING
#define READY      MT_ROW_READY
#define STATE      MT_ROW_STATE
#define REFERENCE  MT_ROW_REFERENCE
#define REFERENCES MT_ROW_REFERENCES

int mt_sites_at(mt_sites *sites, void *memory, uint32_t rows, uint32_t depth) {
    enum { LINE = 64 };
    size_t stride = offsetof(mt_site, stack) + (size_t)depth * sizeof(uintptr_t), all;
    stride = (stride + LINE - 1) / LINE * LINE;
    if (__builtin_mul_overflow((size_t)rows + 1, stride, &all) ||
        __builtin_add_overflow(all, 2 * (size_t)rows, &sites->bytes))
        return -1;
    sites->rows = rows;
    sites->depth = depth;
    sites->stride = (uint32_t)stride;
    sites->row = memory;
    if (!memory) return 0;
    sites->used = (_Atomic uint8_t *)(sites->row + all);
    sites->level = sites->used + rows;
    return 0;
}

int mt_sites_init(mt_sites *sites, uint32_t rows, uint32_t depth) {
    if (mt_sites_at(sites, NULL, rows, depth) != 0) return -1;
    void *memory = mt_region_take(MT_REGION_SITES, sites->bytes, rows, depth);
    return memory ? mt_sites_at(sites, memory, rows, depth) : -1;
}

void mt_sites_fini(mt_sites *sites) {
    mt_region_return(sites->row, sites->bytes);
    sites->rows = 0;
}

static inline _Atomic uint64_t *key_of(const mt_sites *sites, uint32_t row) {
    return &mt_sites_row(sites, row)->key;
}

/* Of a hash; never 0. Which row a stack goes to, and the part in the key, are of other bits. */
static inline uint8_t fingerprint(uint64_t h) {
    uint8_t f = (uint8_t)(h >> 24);
    return f ? f : 1;
}

static inline uint8_t used(const mt_sites *sites, uint32_t row) {
    return atomic_load_explicit(&sites->used[row], memory_order_relaxed);
}

static inline uint64_t mix(uint64_t h, uint64_t x) {
    h = (h ^ x) * 0x9e3779b97f4a7c15ull;
    return h ^ h >> 32;
}

/* In four parts, which the processor computes side by side; each is mixed at the end. */
static inline uint64_t hash(void *const *stack, uint32_t frames) {
    const uint64_t by = 0xd6e8feb86659fd93ull;
    uint64_t a = frames, b = 0, c = 0, d = 0;
    void *const *end = stack + frames;
    for (; end - stack >= 4; stack += 4) {
        a = a * by + (uintptr_t)stack[0];
        b = b * by + (uintptr_t)stack[1];
        c = c * by + (uintptr_t)stack[2];
        d = d * by + (uintptr_t)stack[3];
    }
    if (stack < end) a = a * by + (uintptr_t)*stack++;
    if (stack < end) b = b * by + (uintptr_t)*stack++;
    if (stack < end) c = c * by + (uintptr_t)*stack;
    return mix(mix(mix(a, b), c), d);
}

static bool same(const mt_site *s, void *const *stack, uint32_t frames) {
    if (atomic_load_explicit(&s->frames, memory_order_relaxed) != frames) return false;
    uintptr_t different = 0;
    for (uint32_t i = 0; i < frames; i++)
        different |=
            atomic_load_explicit(&s->stack[i], memory_order_relaxed) ^ (uintptr_t)stack[i];
    return different == 0;
}

uint32_t mt_sites_references(const mt_sites *sites, uint32_t row) {
    uint64_t k = atomic_load_explicit(key_of(sites, row), memory_order_relaxed);
    return (uint32_t)((k & REFERENCES) / REFERENCE);
}

uint32_t mt_sites_level(const mt_sites *sites, uint32_t row) {
    return atomic_load_explicit(&sites->level[row], memory_order_relaxed);
}

void mt_sites_set_level(mt_sites *sites, uint32_t row, uint32_t level) {
    atomic_store_explicit(&sites->level[row], (uint8_t)level, memory_order_relaxed);
}

/* Makes the row ours to write if nobody needs it: what it was, FREE or READY, or -1. */
static int seize(_Atomic uint64_t *key, bool evict) {
    uint64_t k = atomic_load_explicit(key, memory_order_relaxed);
    bool usable = (k & STATE) == FREE || (evict && (k & STATE) == READY && !(k & REFERENCES));
    bool seized = usable && atomic_compare_exchange_strong_explicit(
                                key, &k, WRITING, memory_order_acquire, memory_order_relaxed);
    return seized ? (int)(k & STATE) : -1;
}

/* The fence orders the stores after the row stopped being READY (see chunks.c). */
static void fill(mt_sites *sites, uint32_t row, void *const *stack, uint32_t frames,
                 uint64_t h) {
    mt_site *s = mt_sites_row(sites, row);
    atomic_thread_fence(memory_order_release);
    mt_sites_move_sums(sites, row, sites->rows);
    for (uint32_t i = 0; i < frames; i++)
        atomic_store_explicit(&s->stack[i], (uintptr_t)stack[i], memory_order_relaxed);
    atomic_store_explicit(&s->frames, frames, memory_order_relaxed);
    atomic_store_explicit(&s->peak_count, 1, memory_order_relaxed);
    mt_sites_set_level(sites, row, 0);
    atomic_store_explicit(&sites->used[row], fingerprint(h), memory_order_relaxed);
    atomic_store_explicit(key_of(sites, row), h >> 32 << 32 | REFERENCE | READY,
                          memory_order_release);
}

/* The rows that a stack is looked for among, fewer first. */
static inline uint32_t fewest(const mt_sites *sites) {
    return sites->rows < MT_SITES_FIRST ? sites->rows : MT_SITES_FIRST;
}

static inline uint32_t more(const mt_sites *sites, uint32_t rows) {
    return rows >= sites->rows / 16 ? sites->rows : rows * 16;
}

/* Where a window among so many rows begins: not among those that were tried before. */
static inline uint32_t begin(uint64_t h, uint32_t rows, uint32_t tried) {
    uint32_t row = (uint32_t)h & (rows - 1);
    return row < tried ? row + rows / 2 : row;
}

static inline uint32_t window(const mt_sites *sites, uint32_t rows) {
    if (rows < sites->rows) return MT_SITES_NARROW;
    return rows < MT_SITES_WINDOW ? rows : MT_SITES_WINDOW;
}

/* -1 if there is no such row. Where one is free the stack would be there, not further on. */
static inline int32_t find(mt_sites *sites, void *const *stack, uint32_t frames, uint64_t h) {
    uint32_t rows = fewest(sites), tried = 0;
    uint8_t print = fingerprint(h);
    for (;; tried = rows, rows = more(sites, rows)) {
        uint32_t first = begin(h, rows, tried);
        bool free_row = false;
        for (uint32_t i = 0, n = window(sites, rows); i < n; i++) {
            uint32_t row = (first + i) & (rows - 1);
            uint8_t byte = used(sites, row);
            free_row |= byte == 0;
            if (byte != print) continue;
            uint64_t k = atomic_load_explicit(key_of(sites, row), memory_order_acquire);
            uint32_t count =
                mt_row_hold(mt_word_is_alone(), mt_sites_row(sites, row), k, h >> 32);
            if (!count) continue;
            mt_site *s = mt_sites_row(sites, row);
            if (same(s, stack, frames)) {
                mt_row_raise_peak(s, count);
                return (int32_t)row;
            }
            mt_sites_drop(sites, row);
        }
        if (free_row || rows == sites->rows) return -1;
    }
}

static __attribute__((noinline)) int32_t insert(mt_sites *sites, void *const *stack,
                                                uint32_t frames, uint64_t h) {
    for (int evict = 0; evict <= 1; evict++) {
        uint32_t rows = fewest(sites), tried = 0;
        for (;; tried = rows, rows = more(sites, rows)) {
            uint32_t first = begin(h, rows, tried);
            for (uint32_t i = 0, n = window(sites, rows); i < n; i++) {
                uint32_t row = (first + i) & (rows - 1);
                if (used(sites, row) && !evict) continue;
                int was = seize(key_of(sites, row), evict);
                if (was < 0) continue;
                if (was == READY) {
                    atomic_fetch_add_explicit(key_of(sites, sites->rows), 1,
                                              memory_order_relaxed);
                    atomic_fetch_add_explicit(&sites->age, 1, memory_order_relaxed);
                }
                fill(sites, row, stack, frames, h);
                return (int32_t)row;
            }
            if (rows == sites->rows) break;
        }
    }
    return -1;
}

int32_t mt_sites_hold(mt_sites *sites, void *const *stack, uint32_t frames) {
    if (frames > sites->depth) frames = sites->depth;
    uint64_t h = hash(stack, frames);
    int32_t row = find(sites, stack, frames, h);
    return row >= 0 ? row : insert(sites, stack, frames, h);
}

/* By its innermost frames, some of which all stacks may have in common. */
static inline uint32_t near_of(void *const *stack, uint32_t frames) {
    uint64_t h = frames;
    for (uint32_t i = 1; i < 6 && i < frames; i++) h = h * 5 + (uintptr_t)stack[i];
    return (uint32_t)(h * 0x9e3779b97f4a7c15ull >> 58);
}

/* Not to be relied on: the row is not held. */
static inline bool looks_like(const mt_site *s, void *const *stack, uint32_t frames) {
    return atomic_load_explicit(&s->frames, memory_order_relaxed) == frames &&
           atomic_load_explicit(&s->stack[1], memory_order_relaxed) == (uintptr_t)stack[1] &&
           atomic_load_explicit(&s->stack[2], memory_order_relaxed) == (uintptr_t)stack[2];
}

int32_t mt_sites_hold_near(mt_sites *sites, void *const *stack, uint32_t frames,
                           uint32_t *near) {
    uint32_t *guess = &near[near_of(stack, frames)], row = *guess;
    mt_site *s = mt_sites_row(sites, row);
    if (frames > 3 && looks_like(s, stack, frames)) {
        uint64_t k = atomic_load_explicit(key_of(sites, row), memory_order_acquire);
        uint32_t count = mt_row_hold(mt_word_is_alone(), mt_sites_row(sites, row), k, k >> 32);
        if (count && same(s, stack, frames)) {
            mt_row_raise_peak(s, count);
            return (int32_t)row;
        }
        if (count) mt_sites_drop(sites, row);
    }
    int32_t found = mt_sites_hold(sites, stack, frames);
    if (found >= 0) *guess = (uint32_t)found;
    return found;
}

void mt_sites_drop(mt_sites *sites, uint32_t row) {
    mt_word_increase(mt_word_is_alone(), key_of(sites, row), -REFERENCE);
}

uint64_t mt_sites_evicted(const mt_sites *sites) {
    return atomic_load_explicit(key_of(sites, sites->rows), memory_order_relaxed);
}

/* Rows that were never used are not touched. */
void mt_sites_reset(mt_sites *sites) {
    for (uint32_t row = 0; row < sites->rows; row++) {
        if (!used(sites, row)) continue;
        bool seized = seize(key_of(sites, row), true) >= 0;
        if (seized) atomic_fetch_add_explicit(&sites->age, 1, memory_order_relaxed);
        mt_sites_set_level(sites, row, 0);
        mt_sites_forget_sums(sites, row);
        if (!seized) continue;
        atomic_store_explicit(&sites->used[row], 0, memory_order_relaxed);
        atomic_store_explicit(key_of(sites, row), FREE, memory_order_release);
    }
    mt_sites_forget_sums(sites, sites->rows);
    atomic_store_explicit(key_of(sites, sites->rows), 0, memory_order_relaxed);
}

uint32_t mt_sites_copy(const mt_sites *sites, uint32_t row, uintptr_t *stack, uint32_t max) {
    if (row >= sites->rows) return 0;
    const mt_site *s = mt_sites_row(sites, row);
    uint32_t frames = atomic_load_explicit(&s->frames, memory_order_relaxed);
    if (frames > sites->depth) frames = sites->depth;
    if (frames > max) frames = max;
    for (uint32_t i = 0; i < frames; i++)
        stack[i] = atomic_load_explicit(&s->stack[i], memory_order_relaxed);
    return frames;
}

uint32_t mt_sites_held(const mt_sites *sites) {
    uint32_t n = 0;
    for (uint32_t row = 0; row < sites->rows; row++)
        n += used(sites, row) && mt_sites_references(sites, row) != 0;
    return n;
}
