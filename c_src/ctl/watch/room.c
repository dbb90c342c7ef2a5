/* room: see the header. */
#include "room.h"

static bool was_full(const mt_chunks *table, uint32_t set) {
    for (uint32_t i = 0; i < MT_CELLS; i++)
        if (!atomic_load_explicit(&table->cell[(size_t)set * MT_CELLS + i].tag,
                                  memory_order_relaxed))
            return false;
    return true;
}

static bool lacks_slots(const mt_tables *t) {
    if (!t->levels) return false;
    const mt_chunks *last = &t->level[t->levels - 1];
    for (uint32_t set = 0; set < last->sets; set++)
        if (was_full(last, set)) return true;
    return false;
}

/* With fewer than that in use, a window of MT_SITES_WINDOW rows without a free one is not met
 * once in a billion new stacks: 0.7 to the 64th. In a small table one window is all. */
static bool lacks_rows(const mt_sites *sites) {
    uint64_t used = 0, rows = sites->rows, least = (rows * 7 + 9) / 10;
    for (uint32_t row = 0; row < rows; row++)
        used += atomic_load_explicit(&sites->used[row], memory_order_relaxed) != 0;
    return rows && used >= (rows > MT_SITES_WINDOW ? least : rows);
}

mt_room mt_room_lacked(const mt_tables *tables) {
    return (mt_room){lacks_slots(tables), lacks_rows(&tables->sites)};
}
