/* log_groups: a table of names: see the header. */
#include "groups.h"

#include <stdlib.h>
#include <string.h>

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

/* The group of this name, made where there is none. */
static mt_logged_group *get(mt_logged_groups *groups, const char *name) {
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

uint64_t mt_logged_groups_left(mt_logged_groups *groups, int side, mt_logged *log,
                               mt_logged_account *account, mt_logged_namer *name) {
    uint64_t total = 0;
    uint32_t n;
    mt_logged_books(log, account);
    mt_logged_left *left =
        mt_logged_what_is_left(log, account, log->options->show.leaks_only_ns);
    uint32_t *order = mt_logged_order(log, left, account->site, &n);
    mt_out text;
    mt_out_open(&text, -1);
    for (uint32_t i = 0; i < n; i++) {
        const mt_logged_left *l = &left[order[i]];
        text.used = 0;
        name(log, &text, order[i], account->site[order[i]].first);
        mt_out_put(&text, "", 1);
        mt_logged_group *g = get(groups, text.bytes);
        g->count[side] += l->count;
        g->bytes[side] += l->bytes;
        g->stack[side] = order[i] + 1;
        total += l->bytes;
    }
    mt_out_close(&text);
    free(order);
    free(left);
    return total;
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
