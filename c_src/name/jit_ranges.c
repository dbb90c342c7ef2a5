/* jit_ranges: see the header. */
#include "jit_ranges.h"

#include <string.h>

#include "memory.h"

bool mt_jit_cut_prologue(char *name, size_t n) {
    static const char suffix[] = "-CodeInfoPrologue";
    size_t cut = sizeof suffix - 1;
    if (n <= cut || memcmp(name + n - cut, suffix, cut) != 0) return false;
    name[n - cut] = '\0';
    return true;
}

static int by_address(const void *a, const void *b) {
    const mt_jit_span *x = a, *y = b;
    if (x->lo != y->lo) return x->lo < y->lo ? -1 : 1;
    return x->age < y->age ? -1 : x->age > y->age;
}

/* Those kept so far are disjoint and sorted, so that only the last ones can reach into the
 * next: it takes the place of all that are older, unless one is newer. */
uint32_t mt_jit_settle(mt_jit_span *span, uint32_t n) {
    uint32_t kept = 0;
    mt_memory_sort(span, n, sizeof *span, by_address);
    for (uint32_t i = 0; i < n; i++) {
        if (span[i].lo >= span[i].hi) continue;
        while (kept && span[kept - 1].hi > span[i].lo && span[kept - 1].age > span[i].age)
            kept--;
        if (!kept || span[kept - 1].hi <= span[i].lo) span[kept++] = span[i];
    }
    return kept;
}

const mt_jit_range *mt_jit_range_find(const mt_jit_range *range, uint32_t n,
                                      uintptr_t address) {
    size_t below = mt_memory_search(range, n, sizeof *range, address);
    return below && address < range[below - 1].hi ? &range[below - 1] : NULL;
}
