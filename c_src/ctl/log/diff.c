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

/* What was called, then its callers: nothing that changes from run to run. */
static void name(mt_logged *log, mt_out *to, uint32_t stack, uint64_t at) {
    mt_out_str(to, mt_logged_frames_called(log, stack, at, MT_LOG_ALLOC));
    mt_out_str(to, " < ");
    mt_logged_frames_callers(log, to, stack, at, log->options->depth, true);
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
        if (g->stack[AFTER]) {
            uint32_t stack = g->stack[AFTER] - 1;
            mt_logged_frames_text(log, stack, a->site[stack].first, log->options->depth);
        } else {
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
        uint64_t was = mt_logged_groups_left(&groups, BEFORE, &other, &before, name);
        uint64_t is = mt_logged_groups_left(&groups, AFTER, log, &after, name);
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
