/* log_diff: --diff OTHER, whose memory grew between two runs, or two versions of a program.
 *
 * What is left at the end of FILE is set against what is left at the end of OTHER, the earlier
 * one. Stacks are the same if their names are: library and function, frame by frame, as
 * addresses and lines change from run to run and from version to version.
 */
#include <stdlib.h>
#include <string.h>

#include "ctl/commands.h"
#include "frames.h"
#include "groups.h"

enum { AFTER, BEFORE };

static int64_t growth(const mt_logged_group *g) {
    return (int64_t)(g->bytes[AFTER] - g->bytes[BEFORE]);
}

static int grew_more(const void *a, const void *b) {
    const mt_logged_group *x = *(mt_logged_group *const *)a, *y = *(mt_logged_group *const *)b;
    if (growth(x) != growth(y)) return growth(x) < growth(y) ? 1 : -1;
    return strcmp(x->name, y->name);
}

/* Adds what one log has left to the groups; its total. */
static uint64_t add(mt_logged *log, mt_logged_groups *groups, int side,
                    mt_logged_account *account) {
    uint64_t total = 0;
    uint32_t n;
    mt_logged_books(log, account);
    mt_logged_left *left =
        mt_logged_what_is_left(log, account, log->options->show.leaks_only_ns);
    uint32_t *order = mt_logged_order(log, left, account->site, &n);
    mt_out name;
    mt_out_open(&name, -1);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t at = account->site[order[i]].first;
        name.used = 0;
        mt_out_str(&name, mt_logged_frames_called(log, order[i], at, MT_LOG_ALLOC));
        mt_out_str(&name, " < ");
        mt_logged_frames_callers(log, &name, order[i], at, log->options->depth, true);
        mt_out_put(&name, "", 1);
        mt_logged_group *g = mt_logged_groups_get(groups, name.bytes);
        g->count[side] += left[order[i]].count;
        g->bytes[side] += left[order[i]].bytes;
        if (side == AFTER) g->stack = order[i] + 1;
        total += left[order[i]].bytes;
    }
    mt_out_close(&name);
    free(order);
    free(left);
    return total;
}

static void change(mt_logged *log, const mt_logged_group *g) {
    int64_t bytes = growth(g);
    mt_out_print(log->out, "%c", bytes < 0 ? '-' : '+');
    mt_out_size(log->out, (uint64_t)(bytes < 0 ? -bytes : bytes));
    mt_out_print(log->out, " (%+lld blocks)  ",
                 (long long)(g->count[AFTER] - g->count[BEFORE]));
    mt_out_size(log->out, g->bytes[BEFORE]);
    mt_out_str(log->out, " -> ");
    mt_out_size(log->out, g->bytes[AFTER]);
    mt_out_print(log->out, ", %llu -> %llu blocks%s\n", (unsigned long long)g->count[BEFORE],
                 (unsigned long long)g->count[AFTER],
                 g->count[BEFORE] == 0  ? "  (new)"
                 : g->count[AFTER] == 0 ? "  (gone)"
                                        : "");
}

static void show(mt_logged *log, const mt_logged_account *a, const mt_logged_groups *groups) {
    mt_logged_group **sorted = mt_logged_groups_sorted(groups, grew_more);
    uint32_t shown = 0, changed = 0, top = log->options->show.top;
    for (uint32_t i = 0; i < groups->count; i++) {
        const mt_logged_group *g = sorted[i];
        if (g->bytes[AFTER] == g->bytes[BEFORE] && g->count[AFTER] == g->count[BEFORE])
            continue;
        if (changed++ >= top && top) continue;
        shown++;
        change(log, g);
        if (g->stack)
            mt_logged_frames_text(log, g->stack - 1, a->site[g->stack - 1].first,
                                  log->options->depth);
        else {
            mt_out_str(log->out, "  ");
            mt_out_str(log->out, g->name);
            mt_out_str(log->out, "\n\n");
        }
    }
    if (changed > shown) mt_out_print(log->out, "(%u more, see --top)\n", changed - shown);
    if (changed == 0) mt_out_str(log->out, "Nothing grew or shrank.\n");
    free(sorted);
}

int mt_logged_diff(mt_logged *log) {
    mt_logged other;
    mt_logged_groups groups = {0};
    mt_logged_account before = {0}, after = {0};
    mt_logged_options options = *log->options;
    options.maps = NULL;
    int status = MT_EXIT_FAILED;
    if (mt_logged_open(&other, options.other, &options, log->out) == 0) {
        uint64_t was = add(&other, &groups, BEFORE, &before);
        uint64_t is = add(log, &groups, AFTER, &after);
        mt_out_str(log->out, "Left at the end: ");
        mt_out_size(log->out, was);
        mt_out_str(log->out, " -> ");
        mt_out_size(log->out, is);
        mt_out_str(log->out, "\n");
        show(log, &after, &groups);
        status = mt_logged_tell(&other);
        mt_logged_account_close(&before);
        mt_logged_account_close(&after);
    }
    mt_logged_groups_close(&groups);
    mt_logged_close(&other);
    return status;
}
