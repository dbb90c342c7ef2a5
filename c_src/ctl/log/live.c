/* log_live: the table. */
#include "live.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "out.h"

enum { FIRST_BITS = 14 };

static void map(mt_logged_live *live, unsigned bits) {
    live->cells = 1ull << bits;
    live->shift = 64 - bits;
    live->count = 0;
    size_t bytes = live->cells * sizeof *live->cell;
    live->cell = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mt_out_need(live->cell == MAP_FAILED ? NULL : live->cell);
    madvise(live->cell, bytes, MADV_HUGEPAGE);
}

void mt_logged_live_open(mt_logged_live *live) {
    map(live, FIRST_BITS);
}

void mt_logged_live_close(mt_logged_live *live) {
    munmap(live->cell, live->cells * sizeof *live->cell);
}

/* Where this address is, or would be put. */
static uint64_t find(const mt_logged_live *live, uint64_t address) {
    uint64_t at = mt_logged_live_home(live, address);
    while (live->cell[at].address && live->cell[at].address != address)
        at = (at + 1) & (live->cells - 1);
    return at;
}

static void grow(mt_logged_live *live) {
    mt_logged_live old = *live;
    map(live, 64 - old.shift + 1);
    live->count = old.count;
    for (uint64_t i = 0; i < old.cells; i++)
        if (old.cell[i].address) live->cell[find(live, old.cell[i].address)] = old.cell[i];
    mt_logged_live_close(&old);
}

bool mt_logged_live_put(mt_logged_live *live, const mt_logged_chunk *chunk,
                        mt_logged_chunk *before) {
    mt_logged_chunk *cell = &live->cell[find(live, chunk->address)];
    bool was = cell->address != 0;
    if (was) *before = *cell;
    *cell = *chunk;
    live->count += !was;
    if (live->count > live->cells / 8 * 5) grow(live);
    return was;
}

bool mt_logged_live_take(mt_logged_live *live, uint64_t address, mt_logged_chunk *chunk) {
    uint64_t hole = find(live, address), mask = live->cells - 1;
    if (!live->cell[hole].address) return false;
    *chunk = live->cell[hole];
    live->count--;
    for (uint64_t at = (hole + 1) & mask; live->cell[at].address; at = (at + 1) & mask) {
        uint64_t home = mt_logged_live_home(live, live->cell[at].address);
        if (((at - home) & mask) < ((at - hole) & mask)) continue;
        live->cell[hole] = live->cell[at];
        hole = at;
    }
    live->cell[hole].address = 0;
    return true;
}
