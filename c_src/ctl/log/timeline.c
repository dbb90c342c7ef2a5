/* log_timeline: --timeline, live bytes over time as a graph of 80 columns, the peak with the
 * stacks that made it, and who allocates only to free at once; with --csv the points:
 *
 *   ms;live_bytes;live_blocks;most_bytes;allocations;frees;temporary
 *
 * with these names in the first line; ms since the log's begin, at the end of each share of it.
 */
#include <stdlib.h>
#include <string.h>

#include "frames.h"

enum { ROWS = 24, POINTS = 1000, BAR = 50 };

static uint64_t since_begin(const mt_logged *log, const mt_logged_account *a, uint64_t ticks) {
    return mt_logged_file_ns(&log->file, ticks) - mt_logged_file_ns(&log->file, a->begin);
}

static void points(mt_logged *log, const mt_logged_account *a) {
    mt_out_str(log->out, "ms;live_bytes;live_blocks;most_bytes;allocations;frees;temporary\n");
    for (uint32_t i = 0; i < a->slices; i++) {
        const mt_logged_slice *s = &a->slice[i];
        uint64_t ns = since_begin(log, a, a->begin + (i + 1) * a->width);
        mt_out_print(log->out, "%.3f;", (double)ns / 1e6);
        const uint64_t n[] = {s->live_bytes, s->live,  s->most_bytes,
                              s->allocated,  s->freed, s->temporary};
        for (int f = 0; f < 6; f++) {
            mt_out_number(log->out, n[f]);
            mt_out_str(log->out, f < 5 ? ";" : "\n");
        }
    }
}

/* Of the whole log; the columns have three digits after the point. */
static const char *unit_of(uint64_t ns, double *in_ns) {
    *in_ns = ns < 1000000 ? 1e3 : ns < 1000000000 ? 1e6 : 1e9;
    return ns < 1000000 ? "us" : ns < 1000000000 ? "ms" : "s ";
}

/* A line a share of the time: what was live at its end as #, the most within it as a dash. */
static void graph(mt_logged *log, const mt_logged_account *a) {
    mt_out_str(log->out,
               "Live bytes: # at the end of each line's time, - at most within it\n\n");
    double in_ns;
    const char *unit = unit_of(since_begin(log, a, a->end), &in_ns);
    for (uint32_t i = 0; i < a->slices; i++) {
        const mt_logged_slice *s = &a->slice[i];
        char bar[BAR + 1];
        double scale = a->peak_bytes ? (double)BAR / (double)a->peak_bytes : 0;
        int live = (int)((double)s->live_bytes * scale + 0.5);
        int most = (int)((double)s->most_bytes * scale + 0.5);
        if (most > BAR) most = BAR;
        if (live > most) live = most;
        memset(bar, '#', (size_t)live);
        memset(bar + live, '-', (size_t)(most - live));
        bar[most] = 0;
        uint64_t ns = since_begin(log, a, a->begin + (i + 1) * a->width);
        mt_out_print(log->out, "%10.3f %s ", (double)ns / in_ns, unit);
        mt_out size;
        mt_out_open(&size, -1);
        mt_out_size(&size, s->live_bytes);
        mt_out_print(log->out, "%11.*s%s%s\n", (int)size.used, size.bytes, most ? " " : "",
                     bar);
        mt_out_close(&size);
    }
}

static void peak(mt_logged *log, const mt_logged_account *a) {
    mt_logged_left *at_peak = mt_out_need(calloc(log->stacks.count, sizeof *at_peak));
    for (uint32_t i = 0; i < log->stacks.count; i++)
        at_peak[i] = (mt_logged_left){a->site[i].at_peak, a->site[i].at_peak_bytes, 0, 0};
    mt_out_str(log->out, "\nThe peak: ");
    mt_out_size(log->out, a->peak_bytes);
    mt_out_print(log->out, " in %llu blocks, after ", (unsigned long long)a->peak);
    mt_out_age(log->out, a->peak ? since_begin(log, a, a->peak_time) : 0);
    mt_out_str(log->out, "\n\n");
    mt_logged_list(log, a, at_peak);
    free(at_peak);
}

static void temporary(mt_logged *log, const mt_logged_account *a) {
    mt_logged_left *made = mt_out_need(calloc(log->stacks.count, sizeof *made));
    for (uint32_t i = 0; i < log->stacks.count; i++) made[i].count = a->site[i].temporary;
    mt_out_print(log->out,
                 "\nTemporary allocations, freed before their thread made another: %llu of "
                 "%llu (%.1f %%)\n%s",
                 (unsigned long long)a->temporary, (unsigned long long)a->allocated,
                 a->allocated ? 100.0 * (double)a->temporary / (double)a->allocated : 0.0,
                 a->temporary ? "\n" : "");
    if (a->temporary) mt_logged_list(log, a, made);
    free(made);
}

int mt_logged_timeline(mt_logged *log) {
    mt_logged_account account = {.slices = log->options->points};
    if (account.slices == 0) account.slices = log->options->csv ? POINTS : ROWS;
    mt_logged_books(log, &account);
    if (log->options->csv) points(log, &account);
    else {
        graph(log, &account);
        peak(log, &account);
        temporary(log, &account);
    }
    mt_logged_account_close(&account);
    return 0;
}
