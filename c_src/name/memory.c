/* memory: pages, an arena of them, and a sort without malloc. */
#include "memory.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

enum { BLOCK_BYTES = 65536, MAX_ITEM = 64 };

struct mt_arena_block {
    struct mt_arena_block *older;
    size_t bytes, used;
};

static size_t page_round(size_t bytes) {
    return (bytes + 4095 + !bytes) & ~(size_t)4095;
}

void *mt_memory_map(size_t bytes) {
    if (bytes > SIZE_MAX - 4096) return NULL;
    void *p = mmap(NULL, page_round(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void mt_memory_unmap(void *memory, size_t bytes) {
    if (memory) munmap(memory, page_round(bytes));
}

void *mt_arena_take(mt_arena *arena, size_t bytes) {
    struct mt_arena_block *b = arena->blocks;
    size_t head = (sizeof *b + 15) & ~(size_t)15;
    if (bytes > SIZE_MAX / 2) return NULL;
    bytes = (bytes + 15) & ~(size_t)15;
    if (!b || b->bytes - b->used < bytes) {
        size_t want = head + bytes > BLOCK_BYTES ? head + bytes : BLOCK_BYTES;
        b = mt_memory_map(want);
        if (!b) return NULL;
        *b = (struct mt_arena_block){arena->blocks, want, head};
        arena->blocks = b;
        arena->bytes += want;
    }
    void *p = (char *)b + b->used;
    b->used += bytes;
    return p;
}

char *mt_arena_string(mt_arena *arena, const char *string) {
    size_t n = strlen(string) + 1;
    char *copy = mt_arena_take(arena, n);
    return copy ? memcpy(copy, string, n) : NULL;
}

void mt_arena_empty(mt_arena *arena) {
    while (arena->blocks) {
        struct mt_arena_block *b = arena->blocks;
        arena->blocks = b->older;
        mt_memory_unmap(b, b->bytes);
    }
    arena->bytes = 0;
}

static void swap(char *a, char *b, size_t bytes) {
    char t[MAX_ITEM];
    memcpy(t, a, bytes);
    memcpy(a, b, bytes);
    memcpy(b, t, bytes);
}

static void sift(char *items, size_t root, size_t n, size_t bytes,
                 int (*compare)(const void *, const void *)) {
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && compare(items + child * bytes, items + (child + 1) * bytes) < 0)
            child++;
        if (compare(items + root * bytes, items + child * bytes) >= 0) return;
        swap(items + root * bytes, items + child * bytes, bytes);
    }
}

void mt_memory_sort(void *items, size_t n, size_t bytes,
                    int (*compare)(const void *, const void *)) {
    for (size_t i = n / 2; i-- > 0;) sift(items, i, n, bytes, compare);
    for (size_t end = n; end-- > 1;) {
        swap(items, (char *)items + end * bytes, bytes);
        sift(items, 0, end, bytes, compare);
    }
}

size_t mt_memory_search(const void *items, size_t n, size_t bytes, uint64_t address) {
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        uint64_t begin;
        memcpy(&begin, (const char *)items + mid * bytes, sizeof begin);
        if (begin <= address) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}
