/* residency: which bytes of this process are in memory, and which of them malloc's arenas hold.
 * Reads what the kernel knows of pages, in pieces, and touches none of them. Never fails on a
 * mapping that goes away meanwhile: what is not there is not counted.
 *
 *   anonymous memory   mincore(2), which tells of private anonymous memory whether a page is
 *                      present: pieces of 16 MiB, for each of which the kernel holds its lock
 *                      of the address space. Needs no file and no privilege
 *   mapped files       /proc/self/pagemap (Documentation/admin-guide/mm/pagemap.rst of Linux):
 *                      pages that are present, apart by whether they are the file's or copies
 * of it that were written to. mincore would tell what the page cache holds. Where that cannot
 * be read, they count as 0
 *
 * Only the zero page is told wrong: anonymous memory that was read and never written counts
 * here, and not in the kernel's RSS.
 *
 * Any thread, each with its own mt_residency; not for hooks.
 */
#ifndef MT_SERVE_RESIDENCY_H
#define MT_SERVE_RESIDENCY_H

#include <stdbool.h>
#include <stdint.h>

#include "record/peek.h"

/* Mappings larger than this are not looked at: reservations, as sanitizers make them. */
#define MT_RESIDENCY_MAX (1ull << 40)

typedef struct mt_residency {
    int pagemap; /* or -1 */
    uintptr_t page;
    mt_peek peek;
} mt_residency;

typedef struct mt_resident {
    uint64_t anonymous; /* bytes present; of a file: copies of its pages */
    uint64_t file;      /* of the file itself, or of shared memory */
    uint64_t arenas;    /* part of `anonymous` in heaps of malloc's arenas, see below */
} mt_resident;

/* To be closed in any case. */
void mt_residency_open(mt_residency *r);
void mt_residency_close(mt_residency *r);

/* Of the pages from start to end, a mapping or part of one. Anonymous memory is looked through
 * for heaps of glibc's arenas, which begin at multiples of 64 MiB with a heap_info
 * (malloc/arena.c):
 *
 *   {arena *, heap_info *prev, size_t size, size_t mprotect_size, ...}
 *
 * the first of an arena is followed by the arena itself, the others lead to it by `prev`. The
 * kernel may have joined neighbours to one mapping, so that the mapping alone does not tell. */
mt_resident mt_residency_of(const mt_residency *r, uintptr_t start, uintptr_t end, bool file);

#endif
