/* memory: what naming needs, straight from the kernel, so that naming never goes through the
 * hooks whose chunks it names. */
#ifndef MT_NAME_MEMORY_H
#define MT_NAME_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* Pages of zeroes, or NULL; n = 0 is rounded up to a page. */
void *mt_memory_map(size_t bytes);
void mt_memory_unmap(void *memory, size_t bytes);

/* An arena: small pieces that are given back all at once. Zero-initialised is empty. */
typedef struct mt_arena {
    struct mt_arena_block *blocks;
    size_t bytes; /* mapped in all */
} mt_arena;

/* `bytes` of zeroes, aligned to 16, or NULL without memory. One thread at a time. */
void *mt_arena_take(mt_arena *arena, size_t bytes);

/* A copy of the string, or NULL. */
char *mt_arena_string(mt_arena *arena, const char *string);

/* Gives back everything. */
void mt_arena_empty(mt_arena *arena);

/* Sorts `n` items of `bytes` each in place, as qsort does (which may call malloc): heapsort
 * (Williams, CACM 7, 1964), never worse than n log n. Items are at most 64 bytes. */
void mt_memory_sort(void *items, size_t n, size_t bytes,
                    int (*compare)(const void *, const void *));

/* How many of `n` items, of `bytes` each, begin at `address` or below it: they are sorted by
 * where they begin, which is their first member, a uint64_t. */
size_t mt_memory_search(const void *items, size_t n, size_t bytes, uint64_t address);

#endif
