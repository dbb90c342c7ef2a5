/* Allocates in ways whose every figure is known in advance, each from a function of its own:
 * what exact mode, valgrind's dhat and heaptrack are held against each other with. Built
 * without optimisation, so that no function is inlined or left by a jump.
 *
 * Under the preload it prints a line for each site that has something alive:
 *
 *   function offset allocations bytes peak-chunks peak-bytes live-chunks live-bytes
 *
 * offset: of the return address in this program. Live figures are counted chunk by chunk. Under
 * another tool it prints nothing, so that it allocates nothing else.
 */
#include <malloc.h>
#include <string.h>

#include "traced.h"

/* Functions of their own, which dladdr finds. */
#define SITE(name, ...) void *name(__VA_ARGS__)

SITE(leaks_all, size_t n) {
    return malloc(n);
}

SITE(freed_in_a_heap, size_t n) {
    return malloc(n);
}

SITE(one_at_a_time, size_t n) {
    return calloc(3, n);
}

SITE(grows, void *p, size_t n) {
    return realloc(p, n);
}

SITE(grows_as_array, void *p, size_t n) {
    return reallocarray(p, n, 8);
}

SITE(made_here, size_t n) {
    return malloc(n);
}

SITE(moved_there, void *p, size_t n) {
    return realloc(p, n);
}

SITE(aligned_posix, size_t n) {
    void *p = NULL;
    return posix_memalign(&p, 64, n) == 0 ? p : NULL;
}

SITE(aligned_c11, size_t n) {
    return aligned_alloc(256, n);
}

SITE(aligned_old, size_t n) {
    return memalign(1024, n);
}

SITE(copies, const char *text) {
    return strdup(text);
}

SITE(mixed_sizes, size_t n) {
    return malloc(n);
}

SITE(many, size_t n) {
    return malloc(n);
}

/* Two sites in one function. */
SITE(two_lines, int which) {
    if (which) return malloc(11);
    return malloc(13);
}

/* As many stacks as it is deep. */
void recurses(int depth, void **kept) {
    if (depth == 0) return;
    *kept = malloc((size_t)depth);
    recurses(depth - 1, kept + 1);
}

enum { HEAP = 50, MANY = 20000, DEPTH = 8 };

static void *heap[MANY];

static void plain_ones(void) {
    for (int i = 0; i < 10; i++) leaks_all(100);
    for (int i = 0; i <= 1000; i++) {
        void *p = one_at_a_time(7);
        if (i < 1000) free(p);
    }
    /* The last one stays, from the same place: what was freed is not forgotten. */
    for (int i = 0; i <= HEAP; i++) {
        heap[i] = freed_in_a_heap(64);
        for (int k = 0; i == HEAP - 1 && k < HEAP; k++) free(heap[k]);
    }
}

static void moving_ones(void) {
    void *p = NULL, *q = NULL;
    for (size_t n = 16; n <= 32768; n *= 2) p = grows(p, n);
    for (size_t n = 1000; n; n /= 10) q = grows_as_array(q, n);
    for (int i = 0; i < 5; i++) heap[i] = made_here(40);
    for (int i = 0; i < 3; i++) moved_there(heap[i], 4000);
    for (int i = 0; i < 2; i++) heap[i] = aligned_posix(1000);
    free(heap[1]);
    for (int i = 0; i < 4; i++) heap[i] = aligned_c11(512);
    free(heap[0]);
    aligned_old(3000);
    for (int i = 0; i < 6; i++) heap[i] = copies("nineteen characters");
    for (int i = 0; i < 3; i++) free(heap[i]);
}

/* Most chunks and most bytes are there at different moments. */
static void mixed_ones(void) {
    static const size_t size[] = {1, 1, 1, 1, 5000, 9000, 2};
    for (int i = 0; i < 7; i++) {
        if (i == 4)
            for (int k = 0; k < 4; k++) free(heap[k]);
        if (i == 6) free(heap[4]), free(heap[5]);
        heap[i] = mixed_sizes(size[i]);
    }
}

/* In an order that is not that of their addresses. */
static void many_ones(void) {
    for (int i = 0; i < MANY; i++) heap[i] = many(8 + (size_t)i % 100);
    for (int i = 0; i < MANY; i++) {
        int k = (int)((unsigned)i * 7919u % MANY);
        if (k % 4) free(heap[k]);
    }
}

static void two_ones(void) {
    for (int i = 0; i < 7; i++) two_lines(i % 2);
}

typedef struct {
    const mt_record *first;
    uint64_t chunks, bytes;
} alive;

static const void *place_in_program(const mt_record *r, Dl_info *info) {
    Dl_info own;
    dladdr((void *)leaks_all, &own);
    for (uint32_t i = 1; i < r->frames; i++)
        if (dladdr((void *)(r->stack[i] - 1), info) && info->dli_fbase == own.dli_fbase)
            return (void *)r->stack[i];
    return NULL;
}

static void print(const alive *a) {
    Dl_info info;
    const void *at = place_in_program(a->first, &info);
    const mt_site_totals *t = &a->first->totals;
    if (!at || !info.dli_sname) return;
    CHECK(t->live == a->chunks && t->live_bytes == (double)a->bytes);
    printf("%s %zx %.0f %.0f %u %.0f %llu %llu\n", info.dli_sname,
           (size_t)((char *)at - (char *)info.dli_fbase), t->allocated, t->allocated_bytes,
           t->peak_count, t->peak_bytes, (unsigned long long)a->chunks,
           (unsigned long long)a->bytes);
}

static void report(void) {
    static mt_record records[1 << 14];
    static alive site[1 << 20];
    uint32_t n = traced_core()->snapshot(records, 1 << 14);
    mt_stats stats;
    traced_core()->stats(&stats);
    CHECK(stats.count[MT_COUNT_ignored] == 0);
    for (uint32_t i = 0; i < n; i++) {
        alive *a = &site[records[i].chunk.site];
        if (!a->first) a->first = &records[i];
        a->chunks++;
        a->bytes += records[i].chunk.size;
    }
    for (uint32_t i = 0; i < 1 << 20; i++)
        if (site[i].first) print(&site[i]);
}

/* What needs more comes later: dhat (3.19) notes a site's peak only where the program's is. */
int main(void) {
    void *kept[DEPTH];
    two_ones();
    recurses(DEPTH, kept);
    for (int i = 0; i < DEPTH; i += 2) free(kept[i]);
    plain_ones();
    moving_ones();
    mixed_ones();
    many_ones();
    if (dlsym(RTLD_DEFAULT, "mtrace_core")) report();
    return 0;
}
