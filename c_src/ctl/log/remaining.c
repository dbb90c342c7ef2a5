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

static void name(mt_logged *log, mt_out *to, uint32_t stack, uint64_t at) {
    uint32_t depth = log->options->depth;
    mt_logged_frames_callers(log, to, stack, at, depth ? depth : 1, false);
}

int mt_logged_remaining(mt_logged *log) {
    mt_logged_account account = {0};
    mt_logged_groups groups = {0};
    uint64_t total = mt_logged_groups_left(&groups, 0, log, &account, name);
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
