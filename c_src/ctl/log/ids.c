/* log_ids: open addressing, at most half full. */
#include "ids.h"

#include <stdlib.h>

#include "out.h"

static struct mt_logged_id *cell_of(const mt_logged_ids *ids, uint32_t id) {
    uint32_t at = (id * 0x9e3779b1u ^ id >> 15) & (ids->cells - 1);
    while (ids->cell[at].index && ids->cell[at].id != id) at = (at + 1) & (ids->cells - 1);
    return &ids->cell[at];
}

uint32_t mt_logged_ids_find(const mt_logged_ids *ids, uint32_t id) {
    return ids->cells ? cell_of(ids, id)->index - 1 : MT_LOG_NO_ID;
}

static void grow(mt_logged_ids *ids) {
    mt_logged_ids old = *ids;
    ids->cells = old.cells ? old.cells * 2 : 256;
    ids->cell = mt_out_need(calloc(ids->cells, sizeof *ids->cell));
    for (uint32_t i = 0; i < old.cells; i++)
        if (old.cell[i].index) *cell_of(ids, old.cell[i].id) = old.cell[i];
    free(old.cell);
}

uint32_t mt_logged_ids_add(mt_logged_ids *ids, uint32_t id) {
    if (ids->count >= ids->cells / 2) grow(ids);
    struct mt_logged_id *cell = cell_of(ids, id);
    if (!cell->index) *cell = (struct mt_logged_id){id, ++ids->count};
    return cell->index - 1;
}

void mt_logged_ids_close(mt_logged_ids *ids) {
    free(ids->cell);
    *ids = (mt_logged_ids){0};
}
