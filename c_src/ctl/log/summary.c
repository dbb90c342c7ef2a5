/* log_summary: what a log tells at first sight. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "frames.h"

typedef unsigned long long ull;

/* Program and arguments on one line. */
static void command(mt_logged *log) {
    const mt_logged_stacks *s = &log->stacks;
    for (uint64_t at = 0; at < s->command_bytes; at += strlen(s->command + at) + 1) {
        if (at) mt_out_str(log->out, " ");
        mt_out_plain(log->out, s->command + at);
    }
    mt_out_str(log->out, s->command_bytes ? "\n" : "(the log's start is lost)\n");
}

/* Number 0 is no thread: what is written before the first one. */
static uint32_t threads(const mt_logged_stacks *s) {
    return s->threads.count - (mt_logged_ids_find(&s->threads, 0) != MT_LOG_NO_ID);
}

static void moment(mt_logged *log, const mt_logged_account *a) {
    const mt_logged_stacks *s = &log->stacks;
    time_t seconds = (time_t)(s->start.wall_ns / 1000000000);
    struct tm local;
    char when[64];
    if (s->has_start && localtime_r(&seconds, &local) &&
        strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &local))
        mt_out_print(log->out, "pid %llu, from %s for ", (ull)s->start.pid, when);
    mt_out_age(log->out,
               mt_logged_file_ns(&log->file, a->end) - mt_logged_file_ns(&log->file, a->begin));
    mt_out_print(log->out, ", %u thread%s\n%llu event%s in %u block%s, ", threads(s),
                 threads(s) == 1 ? "" : "s", (ull)a->events, a->events == 1 ? "" : "s",
                 log->file.parts, log->file.parts == 1 ? "" : "s");
    mt_out_size(log->out, log->file.size);
    mt_out_print(log->out, ", %u different stack%s\n", s->count - 1, s->count == 2 ? "" : "s");
}

static void ending(mt_logged *log) {
    static const char *const endings[] = {
        "The program ended.", "It ends here because the limit on its size was reached.",
        "It ends here because the program was told to trace no more."};
    static const char *const beginnings[] = {
        NULL,
        "It was started over when the limit on its size was reached: what was before is gone.",
        "It was begun anew when the file before had been moved away: what was before is there."};
    const mt_logged_stacks *s = &log->stacks;
    uint64_t dropped = log->file.dropped > s->dropped ? log->file.dropped : s->dropped;
    if (s->has_start && s->start.reason > 0 && s->start.reason < 3)
        mt_out_print(log->out, "%s\n", beginnings[s->start.reason]);
    if (s->has_end && s->ending < 3) mt_out_print(log->out, "%s\n", endings[s->ending]);
    if (!s->has_end)
        mt_out_str(log->out,
                   "It has no end: the program was killed, ended by _exit, executed another "
                   "one, or still runs; the last events of its threads are not in it.\n");
    if (dropped)
        mt_out_print(log->out, "%llu event%s could not be written.\n", (ull)dropped,
                     dropped == 1 ? "" : "s");
    if (log->file.former)
        mt_out_print(log->out, "%llu block%s of a former log %s left out.\n",
                     (ull)log->file.former, log->file.former == 1 ? "" : "s",
                     log->file.former == 1 ? "is" : "are");
}

static void row(mt_logged *log, const char *name, uint64_t count, uint64_t bytes) {
    mt_out_print(log->out, "%-14s %12llu", name, (ull)count);
    if (bytes) {
        mt_out_str(log->out, "   ");
        mt_out_size(log->out, bytes);
    }
}

static void figures(mt_logged *log, const mt_logged_account *a) {
    mt_out *out = log->out;
    row(log, "\nallocations", a->allocated, a->allocated_bytes);
    mt_out_print(out, ", %llu by realloc\n", (ull)a->reallocs);
    row(log, "frees", a->freed, 0);
    mt_out_print(out, "   %llu by realloc", (ull)a->reallocs);
    if (a->stray) mt_out_print(out, ", %llu of nothing that the log has", (ull)a->stray);
    mt_out_str(out, "\n");
    row(log, "temporary", a->temporary, 0);
    mt_out_str(out, "   freed before their thread made another\n");
    if (a->failed) mt_out_print(out, "%-14s %12llu\n", "failed reallocs", (ull)a->failed);
    if (a->replaced)
        mt_out_print(out, "%-14s %12llu   their addresses were given out again\n",
                     "missed frees", (ull)a->replaced);
    row(log, "peak", a->peak, a->peak_bytes);
    mt_out_str(out, ", after ");
    mt_out_age(out, a->peak ? mt_logged_file_ns(&log->file, a->peak_time) -
                                  mt_logged_file_ns(&log->file, a->begin)
                            : 0);
    mt_out_str(out, "\n");
    row(log, "left at the end", a->count, a->bytes);
    mt_out_str(out, "\n\n");
}

int mt_logged_summary(mt_logged *log) {
    mt_logged_account account = {0};
    mt_logged_books(log, &account);
    command(log);
    moment(log, &account);
    ending(log);
    figures(log, &account);
    mt_logged_left *left =
        mt_logged_what_is_left(log, &account, log->options->show.leaks_only_ns);
    if (account.count) {
        mt_out_str(log->out, "What is left, the most bytes first:\n\n");
        mt_logged_list(log, &account, left);
    }
    free(left);
    mt_logged_account_close(&account);
    return 0;
}
