/* log_groups: a table of names. */
#include "groups.h"

#include <stdlib.h>
#include <string.h>

#include "out.h"

static mt_logged_group **cell_of(const mt_logged_groups *groups, const char *name,
                                 uint64_t hash) {
    uint32_t at = (uint32_t)(hash >> 32) & (groups->cells - 1);
    while (groups->cell[at] &&
           (groups->cell[at]->hash != hash || strcmp(groups->cell[at]->name, name) != 0))
        at = (at + 1) & (groups->cells - 1);
    return &groups->cell[at];
}

static void grow(mt_logged_groups *groups) {
    mt_logged_groups old = *groups;
    groups->cells = old.cells ? old.cells * 2 : 256;
    groups->cell = mt_out_need(calloc(groups->cells, sizeof *groups->cell));
    for (uint32_t i = 0; i < old.cells; i++)
        if (old.cell[i]) *cell_of(groups, old.cell[i]->name, old.cell[i]->hash) = old.cell[i];
    free(old.cell);
}

mt_logged_group *mt_logged_groups_get(mt_logged_groups *groups, const char *name) {
    uint64_t hash = 0xcbf29ce484222325ull; /* FNV-1a, then mixed */
    for (const char *c = name; *c; c++) hash = (hash ^ (unsigned char)*c) * 0x100000001b3ull;
    hash *= 0x9e3779b97f4a7c15ull;
    if (groups->count >= groups->cells / 2) grow(groups);
    mt_logged_group **cell = cell_of(groups, name, hash);
    if (!*cell) {
        *cell = mt_out_need(calloc(1, sizeof **cell));
        (*cell)->name = mt_out_need(strdup(name));
        (*cell)->hash = hash;
        groups->count++;
    }
    return *cell;
}

mt_logged_group **mt_logged_groups_sorted(const mt_logged_groups *groups,
                                          int (*order)(const void *, const void *)) {
    mt_logged_group **all = mt_out_need(malloc((groups->count + 1) * sizeof *all));
    uint32_t n = 0;
    for (uint32_t i = 0; i < groups->cells; i++)
        if (groups->cell[i]) all[n++] = groups->cell[i];
    if (n) qsort(all, n, sizeof *all, order);
    return all;
}

void mt_logged_groups_close(mt_logged_groups *groups) {
    for (uint32_t i = 0; i < groups->cells; i++)
        if (groups->cell[i]) {
            free(groups->cell[i]->name);
            free(groups->cell[i]);
        }
    free(groups->cell);
}
