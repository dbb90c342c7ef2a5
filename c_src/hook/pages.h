/* pages: what the kernel says of the protection of this process's pages, and a way to write to
 * one that is read-only and leave it as it was.
 *
 * Opens /proc/self/maps; keeps 24 bytes a mapping until mt_pages_empty. Nothing here allocates
 * through malloc. One thread at a time for each mt_pages; not for hooks.
 */
#ifndef MT_HOOK_PAGES_H
#define MT_HOOK_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mt_mapping {
    uintptr_t lo, hi;
    int protection; /* PROT_* */
} mt_mapping;

/* Zero-initialised is empty. */
typedef struct mt_pages {
    mt_mapping *mapping; /* sorted by address */
    size_t n, room;
    bool asked;
    uintptr_t open; /* a page that was made writable, or 0 */
    int before;     /* its protection */
} mt_pages;

/* The protection of the page that holds `address` when the first question was asked since
 * mt_pages_empty; -1 if nothing is mapped there or the kernel does not tell. */
int mt_pages_protection(mt_pages *pages, uintptr_t address);

/* Makes the page of `address` writable, whose protection was `before`, and restores the one
 * that was opened last unless it is the same. 0, or -1 if the kernel refused. */
int mt_pages_open(mt_pages *pages, uintptr_t address, int before);

/* Gives the page that is open its protection back. */
void mt_pages_close(mt_pages *pages);

/* Closes, and forgets what was read. */
void mt_pages_empty(mt_pages *pages);

#endif
