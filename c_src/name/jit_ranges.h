/* jit_ranges: pieces of JIT code with their names, and which of two that claim the same
 * addresses is the newer. */
#ifndef MT_NAME_JIT_RANGES_H
#define MT_NAME_JIT_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* [lo, hi), and what lies there. Lines: see jit_symfile. */
typedef struct mt_jit_range {
    uint64_t lo, hi; /* lo first: mt_memory_search */
    const char *name;
    uintptr_t base;    /* what the offsets of the lines count from */
    const char *lines; /* checked records */
    uint32_t line_count;
} mt_jit_range;

/* The JIT lays a piece before each function and calls it lists:foldl/3-CodeInfoPrologue: cuts
 * that suffix off a name of n bytes; whether it was there. */
bool mt_jit_cut_prologue(char *name, size_t n);

/* An item of somebody's array, by the addresses that it claims. */
typedef struct mt_jit_span {
    uintptr_t lo, hi;
    uint32_t age; /* unique; 0 is the newest */
    uint32_t item;
} mt_jit_span;

/* Sorts n spans by address and drops what a newer one overlaps: code that was freed, and its
 * memory given to newer code, without a word (OTP 25; a perf map). Returns how many are left:
 * disjoint. What only dropped spans overlap may stay: no code has come there since that is
 * known. n log n. */
uint32_t mt_jit_settle(mt_jit_span *span, uint32_t n);

/* The range of n, sorted and disjoint, that holds the address, or NULL. */
const mt_jit_range *mt_jit_range_find(const mt_jit_range *range, uint32_t n, uintptr_t address);

#endif
