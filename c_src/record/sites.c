/* sites: see the header. The orderings: a key that says READY is stored with release after the
 * stack and loaded with acquire before it. A reference is taken with a compare-and-swap on the
 * word that also holds the hash and the state, so a row cannot change hands in between; and
 * while references are above 0 nobody writes it. Dropping is a release, evicting an acquire:
 * what a former holder read, it read before the row is written again. */
#include "sites.h"

#include <stdbool.h>
#include <stddef.h>

#include "real.h"
#include "region.h"
#include "word.h"

enum { FREE = 0, WRITING = 1, READY = 2, STATE = 3 };

#define BYTE_UNITS 16.0
#define REFERENCE  4ull
#define REFERENCES 0x00000000fffffffcull

/* Where the arrays lie, behind one another. 0: too many. */
static size_t lay_out(mt_sites *sites, char *memory, uint32_t rows, uint32_t depth) {
    size_t sums = (rows + (size_t)1) * sizeof(mt_site_sums), stacks, bytes;
    size_t words = sums + (size_t)rows * (sizeof(uint64_t) + sizeof(uint32_t));
    if (__builtin_mul_overflow((size_t)rows, depth * sizeof(uintptr_t), &stacks) ||
        __builtin_add_overflow(words + rows, stacks, &bytes))
        return 0;
    if (!memory) return bytes;
    sites->rows = rows;
    sites->depth = depth;
    sites->bytes = bytes;
    sites->sums = (mt_site_sums *)memory;
    sites->key = (_Atomic uint64_t *)(memory + sums);
    sites->frames = (_Atomic uint32_t *)(memory + sums + rows * sizeof(uint64_t));
    sites->stack = (_Atomic uintptr_t *)(memory + words);
    sites->level = (_Atomic uint8_t *)(memory + words + stacks);
    return bytes;
}

int mt_sites_init(mt_sites *sites, uint32_t rows, uint32_t depth) {
    size_t bytes = lay_out(sites, NULL, rows, depth);
    char *memory = bytes ? mt_region_take(MT_REGION_SITES, bytes, rows, depth) : NULL;
    return memory && lay_out(sites, memory, rows, depth) ? 0 : -1;
}

size_t mt_sites_view(mt_sites *sites, void *memory, uint32_t rows, uint32_t depth) {
    return lay_out(sites, memory, rows, depth);
}

void mt_sites_fini(mt_sites *sites) {
    mt_region_return(sites->sums, sites->bytes);
    sites->rows = 0;
}

static inline uint64_t mix(uint64_t h, void *pc) {
    h = (h ^ (uintptr_t)pc) * 0x9e3779b97f4a7c15ull;
    return h ^ h >> 32;
}

/* In two halves, which the processor computes side by side. */
static uint64_t hash(void *const *stack, uint32_t frames) {
    uint64_t h = frames, even = 0, odd = 0;
    uint32_t i = 0;
    for (; i + 1 < frames; i += 2) {
        even = mix(even, stack[i]);
        odd = mix(odd, stack[i + 1]);
    }
    if (i < frames) even = mix(even, stack[i]);
    return mix(mix(h, (void *)even), (void *)odd);
}

static bool same(const mt_sites *sites, uint32_t row, void *const *stack, uint32_t frames) {
    if (atomic_load_explicit(&sites->frames[row], memory_order_relaxed) != frames) return false;
    const _Atomic uintptr_t *own = &sites->stack[(size_t)row * sites->depth];
    uintptr_t different = 0;
    for (uint32_t i = 0; i < frames; i++)
        different |= atomic_load_explicit(&own[i], memory_order_relaxed) ^ (uintptr_t)stack[i];
    return different == 0;
}

/* One more reference to a READY row with this hash; false if it is something else, or if its
 * references are so many that the count could overflow. */
static bool hold(_Atomic uint64_t *key, uint64_t h32) {
    uint64_t k = atomic_load_explicit(key, memory_order_acquire);
    while ((k & STATE) == READY && k >> 32 == h32 && (k & REFERENCES) < REFERENCES)
        if (mt_word_exchange(key, &k, k + REFERENCE)) return true;
    return false;
}

uint32_t mt_sites_references(const mt_sites *sites, uint32_t row) {
    uint64_t k = atomic_load_explicit(&sites->key[row], memory_order_relaxed);
    return (uint32_t)((k & REFERENCES) / REFERENCE);
}

uint32_t mt_sites_level(const mt_sites *sites, uint32_t row) {
    return atomic_load_explicit(&sites->level[row], memory_order_relaxed);
}

void mt_sites_set_level(mt_sites *sites, uint32_t row, uint32_t level) {
    atomic_store_explicit(&sites->level[row], (uint8_t)level, memory_order_relaxed);
}

/* Makes the row ours to write if nobody needs it. */
static bool seize(_Atomic uint64_t *key, bool evict) {
    uint64_t k = atomic_load_explicit(key, memory_order_relaxed);
    bool usable = (k & STATE) == FREE || (evict && (k & STATE) == READY && !(k & REFERENCES));
    return usable && atomic_compare_exchange_strong_explicit(
                         key, &k, WRITING, memory_order_acquire, memory_order_relaxed);
}

/* A sum of doubles in a word. Other threads may add at the same time: the loop ends for each
 * as soon as it is the one that succeeds. */
static void add(_Atomic uint64_t *sum, double x) {
    uint64_t bits = atomic_load_explicit(sum, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(sum, &bits,
                                                  mt_real_bits(mt_real_of(bits) + x),
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

static void move_word(_Atomic uint64_t *from, _Atomic uint64_t *to) {
    uint64_t bits = atomic_exchange_explicit(from, 0, memory_order_relaxed);
    if (bits && to) add(to, mt_real_of(bits));
}

static void move_count(_Atomic uint64_t *from, _Atomic uint64_t *to) {
    uint64_t n = atomic_exchange_explicit(from, 0, memory_order_relaxed);
    if (n && to) atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

/* Empties the sums of a row, into the row of those evicted if there is one. */
static void move_sums(mt_site_sums *from, mt_site_sums *to) {
    move_count(&from->all, to ? &to->all : NULL);
    move_count(&from->all_bytes, to ? &to->all_bytes : NULL);
    move_word(&from->allocated, to ? &to->allocated : NULL);
    move_word(&from->allocated_bytes, to ? &to->allocated_bytes : NULL);
    move_word(&from->allocated_variance, to ? &to->allocated_variance : NULL);
    move_word(&from->allocated_bytes_variance, to ? &to->allocated_bytes_variance : NULL);
    atomic_store_explicit(&from->peak_bytes, 0, memory_order_relaxed);
}

/* The fence orders the stores after the row stopped being READY (see chunks.c). */
static void fill(mt_sites *sites, uint32_t row, void *const *stack, uint32_t frames,
                 uint64_t h32) {
    atomic_thread_fence(memory_order_release);
    mt_real_environment saved = mt_real_enter();
    move_sums(&sites->sums[row], &sites->sums[sites->rows]);
    mt_real_leave(saved);
    _Atomic uintptr_t *own = &sites->stack[(size_t)row * sites->depth];
    for (uint32_t i = 0; i < frames; i++)
        atomic_store_explicit(&own[i], (uintptr_t)stack[i], memory_order_relaxed);
    atomic_store_explicit(&sites->frames[row], frames, memory_order_relaxed);
    mt_sites_set_level(sites, row, 0);
    atomic_store_explicit(&sites->key[row], h32 << 32 | REFERENCE | READY,
                          memory_order_release);
}

int32_t mt_sites_hold(mt_sites *sites, void *const *stack, uint32_t frames) {
    if (frames > sites->depth) frames = sites->depth;
    uint64_t h = hash(stack, frames);
    uint64_t h32 = h >> 32;
    uint32_t mask = sites->rows - 1;
    uint32_t window = sites->rows < MT_SITES_WINDOW ? sites->rows : MT_SITES_WINDOW;
    for (uint32_t i = 0; i < window; i++) {
        uint32_t row = ((uint32_t)h + i) & mask;
        if (!hold(&sites->key[row], h32)) continue;
        if (same(sites, row, stack, frames)) return (int32_t)row;
        mt_sites_drop(sites, row);
    }
    for (int evict = 0; evict <= 1; evict++)
        for (uint32_t i = 0; i < window; i++) {
            uint32_t row = ((uint32_t)h + i) & mask;
            if (!seize(&sites->key[row], evict)) continue;
            fill(sites, row, stack, frames, h32);
            return (int32_t)row;
        }
    return -1;
}

void mt_sites_drop(mt_sites *sites, uint32_t row) {
    mt_word_add(&sites->key[row], -REFERENCE);
}

void mt_sites_allocated(mt_sites *sites, uint32_t row, double p, uint64_t size) {
    mt_site_sums *sums = &sites->sums[row];
    if (mt_real_bits(p) == MT_REAL_ONE) {
        mt_word_add(&sums->all, 1);
        mt_word_add(&sums->all_bytes, size);
        return;
    }
    mt_real_environment saved = mt_real_enter();
    double w = 1 / p, x = (double)size;
    add(&sums->allocated, w);
    add(&sums->allocated_bytes, w * x);
    add(&sums->allocated_variance, w * (w - 1));
    add(&sums->allocated_bytes_variance, w * (w - 1) * x * x);
    mt_real_leave(saved);
}

void mt_sites_live(mt_sites *sites, uint32_t row, int sign, uint64_t weight, uint64_t size) {
    mt_site_sums *sums = &sites->sums[row];
    unsigned __int128 product = (unsigned __int128)weight * size;
    int64_t bytes = sign * (int64_t)(product / MT_SITES_BYTES);
    int64_t now = (int64_t)mt_word_add(&sums->live_bytes, (uint64_t)bytes) + bytes;
    uint64_t peak = atomic_load_explicit(&sums->peak_bytes, memory_order_relaxed);
    while (now > (int64_t)peak && !mt_word_exchange(&sums->peak_bytes, &peak, (uint64_t)now))
        ;
}

static double real(const _Atomic uint64_t *sum) {
    return mt_real_of(atomic_load_explicit(sum, memory_order_relaxed));
}

static double signed_real(const _Atomic uint64_t *n) {
    return (double)(int64_t)atomic_load_explicit(n, memory_order_relaxed);
}

static double count(const _Atomic uint64_t *n) {
    return (double)atomic_load_explicit(n, memory_order_relaxed);
}

mt_site_totals mt_sites_totals(const mt_sites *sites, uint32_t row) {
    const mt_site_sums *s = &sites->sums[row];
    return (mt_site_totals){
        .live_bytes = signed_real(&s->live_bytes) / BYTE_UNITS,
        .peak_bytes =
            (double)atomic_load_explicit(&s->peak_bytes, memory_order_relaxed) / BYTE_UNITS,
        .allocated = real(&s->allocated) + count(&s->all),
        .allocated_bytes = real(&s->allocated_bytes) + count(&s->all_bytes),
        .allocated_variance = real(&s->allocated_variance),
        .allocated_bytes_variance = real(&s->allocated_bytes_variance),
    };
}

void mt_sites_reset(mt_sites *sites) {
    for (uint32_t row = 0; row <= sites->rows; row++) {
        if (row < sites->rows && seize(&sites->key[row], 1))
            atomic_store_explicit(&sites->key[row], FREE, memory_order_release);
        if (row < sites->rows) mt_sites_set_level(sites, row, 0);
        move_sums(&sites->sums[row], NULL);
    }
}

uint32_t mt_sites_copy(const mt_sites *sites, uint32_t row, uintptr_t *stack, uint32_t max) {
    if (row >= sites->rows) return 0;
    uint32_t frames = atomic_load_explicit(&sites->frames[row], memory_order_relaxed);
    if (frames > sites->depth) frames = sites->depth;
    if (frames > max) frames = max;
    const _Atomic uintptr_t *own = &sites->stack[(size_t)row * sites->depth];
    for (uint32_t i = 0; i < frames; i++)
        stack[i] = atomic_load_explicit(&own[i], memory_order_relaxed);
    return frames;
}

uint32_t mt_sites_held(const mt_sites *sites) {
    uint32_t n = 0;
    for (uint32_t row = 0; row < sites->rows; row++)
        n += (atomic_load_explicit(&sites->key[row], memory_order_relaxed) & REFERENCES) != 0;
    return n;
}
