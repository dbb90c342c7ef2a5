/* log: the list of stacks that summary, orphans and timeline share, and --ignore. */
#include <stdlib.h>

#include "log.h"
#include "frames.h"

bool mt_logged_ignored(mt_logged *log, uint32_t stack, uint64_t at) {
    if (!log->ignore) return false;
    if (!log->ignored) log->ignored = mt_out_need(calloc(log->stacks.count, 1));
    if (log->ignored[stack]) return log->ignored[stack] == 2;
    const uint64_t *address = mt_logged_stacks_addresses(&log->stacks, stack);
    bool found = false;
    for (uint32_t i = 0; i < log->stacks.stack[stack].frames && !found; i++)
        found = mt_ignore_place(log->ignore, mt_names_find(log->names, address[i], at));
    log->ignored[stack] = found ? 2 : 1;
    return found;
}

static int by_bytes(const void *a, const void *b, void *left) {
    const mt_logged_left *x = (mt_logged_left *)left + *(const uint32_t *)a;
    const mt_logged_left *y = (mt_logged_left *)left + *(const uint32_t *)b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    if (x->count != y->count) return x->count < y->count ? 1 : -1;
    return *(const uint32_t *)a < *(const uint32_t *)b ? -1 : 1;
}

uint32_t *mt_logged_order(mt_logged *log, const mt_logged_left *left,
                          const mt_logged_site *site, uint32_t *count) {
    uint32_t *order = mt_out_need(malloc(log->stacks.count * sizeof *order)), n = 0;
    for (uint32_t i = 0; i < log->stacks.count; i++)
        if (left[i].count && !mt_logged_ignored(log, i, site[i].first)) order[n++] = i;
    qsort_r(order, n, sizeof *order, by_bytes, (void *)left);
    *count = n;
    return order;
}

/* What stands at the head of a stack: its share, and since when. */
static void head(mt_logged *log, const mt_logged_account *a, uint32_t number,
                 const mt_logged_left *l) {
    mt_out_print(log->out, "#%u: %llu block%s", number, (unsigned long long)l->count,
                 l->count == 1 ? "" : "s");
    if (l->bytes) {
        mt_out_str(log->out, ", ");
        mt_out_size(log->out, l->bytes);
    }
    if (l->oldest) {
        uint64_t end = mt_logged_file_ns(&log->file, a->end);
        mt_out_str(log->out, ", age ");
        mt_out_age(log->out, end - mt_logged_file_ns(&log->file, l->youngest));
        if (l->count > 1) {
            mt_out_str(log->out, " to ");
            mt_out_age(log->out, end - mt_logged_file_ns(&log->file, l->oldest));
        }
    }
    mt_out_str(log->out, "\n");
}

void mt_logged_list(mt_logged *log, const mt_logged_account *a, const mt_logged_left *left) {
    uint32_t n, top = log->options->show.top;
    uint32_t *order = mt_logged_order(log, left, a->site, &n);
    mt_logged_left all = {0}, shown = {0};
    if (n == 0) {
        mt_out_str(log->out, "none\n");
        free(order);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        const mt_logged_left *l = &left[order[i]];
        all.count += l->count;
        all.bytes += l->bytes;
        if (top && i >= top) continue;
        shown.count += l->count;
        head(log, a, i + 1, l);
        mt_logged_frames_text(log, order[i], a->site[order[i]].first, log->options->depth);
    }
    mt_out_print(log->out, "%llu block%s", (unsigned long long)all.count,
                 all.count == 1 ? "" : "s");
    if (all.bytes) {
        mt_out_str(log->out, ", ");
        mt_out_size(log->out, all.bytes);
    }
    mt_out_print(log->out, " in all, of %u stack%s", n, n == 1 ? "" : "s");
    if (all.count > shown.count) mt_out_print(log->out, "; the first %u are shown", top);
    mt_out_str(log->out, "\n");
    free(order);
}
