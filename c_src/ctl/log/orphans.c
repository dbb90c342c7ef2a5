/* log_orphans: --orphans SECONDS, what was allocated longer before the end of the log and not
 * freed, and what was freed without having been allocated; everything that was freed as it
 * should be is gone from it. As text by stack, or as rows (--csv) as malloc-trace flushes them:
 * the frees when they are met, then the allocations, the oldest first.
 */
#include <stdlib.h>

#include "frames.h"
#include "rows.h"

static void stray_row(void *context, const mt_logged_event *free) {
    mt_logged_rows *rows = context;
    if (!mt_logged_ignored(rows->log, free->stack, free->time)) mt_logged_row(rows, free);
}

static int older(const void *a, const void *b) {
    const mt_logged_chunk *x = a, *y = b;
    if (x->time != y->time) return x->time < y->time ? -1 : 1;
    return x->address < y->address ? -1 : x->address > y->address;
}

static bool is_orphan(const mt_logged *log, const mt_logged_account *a,
                      const mt_logged_chunk *chunk) {
    if (!chunk->address || (log->counts && !log->counts[chunk->thread])) return false;
    uint64_t end = mt_logged_file_ns(&log->file, a->end);
    uint64_t born = mt_logged_file_ns(&log->file, chunk->time);
    return born <= end && end - born >= log->options->orphan_ns;
}

/* The table of live chunks is not needed any more: it is sorted where it stands. */
static void allocation_rows(mt_logged *log, mt_logged_rows *rows, mt_logged_account *a) {
    mt_logged_chunk *chunk = a->live.cell;
    uint64_t n = 0;
    for (uint64_t i = 0; i < a->live.cells; i++)
        if (is_orphan(log, a, &chunk[i])) chunk[n++] = chunk[i];
    qsort(chunk, n, sizeof *chunk, older);
    for (uint64_t i = 0; i < n; i++) {
        mt_logged_event e = {chunk[i].time,  chunk[i].address, chunk[i].size, 0,
                             chunk[i].stack, chunk[i].thread,  MT_LOG_ALLOC};
        if (!mt_logged_ignored(log, e.stack, e.time)) mt_logged_row(rows, &e);
    }
}

static int as_rows(mt_logged *log) {
    mt_logged_rows rows;
    mt_logged_rows_open(&rows, log);
    mt_logged_account account = {.on_stray = stray_row, .context = &rows};
    mt_logged_books(log, &account);
    allocation_rows(log, &rows, &account);
    mt_logged_rows_close(&rows);
    mt_logged_account_close(&account);
    return 0;
}

static void allocations(mt_logged *log, const mt_logged_account *a) {
    mt_logged_left *left = mt_logged_what_is_left(log, a, log->options->orphan_ns);
    mt_out_print(log->out, "Allocated more than %g s before the end, and not freed:\n",
                 (double)log->options->orphan_ns / 1e9);
    mt_logged_list(log, a, left);
    free(left);
}

static void frees(mt_logged *log, const mt_logged_account *a) {
    mt_logged_left *stray = mt_out_need(calloc(log->stacks.count, sizeof *stray));
    for (uint32_t i = 0; i < log->stacks.count; i++) stray[i].count = a->site[i].stray;
    mt_out_str(log->out, "\nFreed without having been allocated:\n");
    mt_logged_list(log, a, stray);
    free(stray);
}

int mt_logged_orphans(mt_logged *log) {
    if (log->options->csv) return as_rows(log);
    mt_logged_account account = {0};
    mt_logged_books(log, &account);
    allocations(log, &account);
    frees(log, &account);
    mt_logged_account_close(&account);
    return 0;
}
