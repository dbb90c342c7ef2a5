/* log_remaining: --remaining, blocks that are left and their bytes by who called the allocator,
 * in the words of parse_malloc_trace_log.py:
 *
 *   Num remaining memory blocks and total size:
 *   /usr/lib/libfoo.so::read_all : num blocks: 3 : total size: 300
 *   ---
 *   Total remaining size: 300
 *
 * the largest first; with --depth N by the N innermost callers, ` < ` between.
 */
#include <stdlib.h>
#include <string.h>

#include "frames.h"
#include "groups.h"

static int larger(const void *a, const void *b) {
    const mt_logged_group *x = *(mt_logged_group *const *)a, *y = *(mt_logged_group *const *)b;
    if (x->bytes[0] != y->bytes[0]) return x->bytes[0] < y->bytes[0] ? 1 : -1;
    return strcmp(x->name, y->name);
}

static void group(mt_logged *log, const mt_logged_account *account, mt_logged_groups *groups,
                  uint64_t *total) {
    uint32_t depth = log->options->depth ? log->options->depth : 1, n;
    mt_logged_left *left =
        mt_logged_what_is_left(log, account, log->options->show.leaks_only_ns);
    uint32_t *order = mt_logged_order(log, left, account->site, &n);
    mt_out name;
    mt_out_open(&name, -1);
    for (uint32_t i = 0; i < n; i++) {
        const mt_logged_left *l = &left[order[i]];
        name.used = 0;
        mt_logged_frames_callers(log, &name, order[i], account->site[order[i]].first, depth,
                                 false);
        mt_out_put(&name, "", 1);
        mt_logged_group *g = mt_logged_groups_get(groups, name.bytes);
        g->count[0] += l->count;
        g->bytes[0] += l->bytes;
        *total += l->bytes;
    }
    mt_out_close(&name);
    free(order);
    free(left);
}

int mt_logged_remaining(mt_logged *log) {
    mt_logged_account account = {0};
    mt_logged_groups groups = {0};
    uint64_t total = 0;
    mt_logged_books(log, &account);
    group(log, &account, &groups, &total);
    mt_logged_group **sorted = mt_logged_groups_sorted(&groups, larger);
    mt_out_str(log->out, "Num remaining memory blocks and total size:\n");
    uint32_t top = log->options->show.top;
    for (uint32_t i = 0; i < groups.count && (top == 0 || i < top); i++) {
        mt_out_str(log->out, sorted[i]->name);
        mt_out_print(log->out, " : num blocks: %llu : total size: %llu\n",
                     (unsigned long long)sorted[i]->count[0],
                     (unsigned long long)sorted[i]->bytes[0]);
    }
    if (top && groups.count > top)
        mt_out_print(log->out, "(%u more, see --top)\n", groups.count - top);
    mt_out_print(log->out, "---\nTotal remaining size: %llu\n", (unsigned long long)total);
    free(sorted);
    mt_logged_groups_close(&groups);
    mt_logged_account_close(&account);
    return 0;
}
