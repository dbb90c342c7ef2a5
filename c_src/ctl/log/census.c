/* log_census: what is left at the end of a log as a census, so that it can be shown and saved
 * as that of a program that runs (show.h): --report, --flame-graph, --pprof, --save. */
#include <stdlib.h>
#include <string.h>

#include "ctl/commands.h"
#include "log.h"

static void add_sites(mt_logged *log, const mt_logged_account *a, mt_census *census) {
    mt_logged_left *left = mt_logged_what_is_left(log, a, log->options->show.leaks_only_ns);
    census->site = mt_out_need(calloc(log->stacks.count, sizeof *census->site));
    for (uint32_t i = 0; i < log->stacks.count; i++) {
        const mt_logged_site *s = &a->site[i];
        if (!left[i].count) continue;
        census->site[census->sites++] =
            (mt_census_site){.stack = mt_logged_stacks_addresses(&log->stacks, i),
                             .frames = log->stacks.stack[i].frames,
                             .count = left[i].count,
                             .bytes = left[i].bytes,
                             .peak_count = s->most,
                             .peak_bytes = s->most_bytes,
                             .allocated = s->allocated,
                             .allocated_bytes = s->allocated_bytes,
                             .oldest_ns = mt_logged_file_ns(&log->file, left[i].oldest),
                             .youngest_ns = mt_logged_file_ns(&log->file, left[i].youngest)};
        census->count += left[i].count;
        census->bytes += left[i].bytes;
    }
    free(left);
}

static void add_objects(mt_logged *log, mt_census *census) {
    const mt_logged_stacks *s = &log->stacks;
    census->object = mt_out_need(calloc(s->objects + 1, sizeof *census->object));
    census->objects = s->objects;
    for (uint32_t i = 0; i < s->objects; i++) {
        const mt_logged_object *o = &s->object[i];
        census->object[i] =
            (mt_census_object){o->lo,
                               o->hi,
                               o->base,
                               mt_logged_file_ns(&log->file, o->since),
                               o->until ? mt_logged_file_ns(&log->file, o->until) : 0,
                               o->path,
                               o->build_id,
                               o->build_id_bytes};
    }
}

/* Path and arguments with spaces between. */
static char *command_of(const mt_logged_stacks *s) {
    char *command = mt_out_need(calloc(1, s->command_bytes + 1));
    for (uint64_t i = 0; i < s->command_bytes; i++)
        command[i] = s->command[i] ? s->command[i] : ' ';
    return command;
}

int mt_logged_census(mt_logged *log) {
    mt_logged_account a = {0};
    mt_logged_books(log, &a);
    char *command = command_of(&log->stacks);
    mt_census census = {.pid = (uint32_t)log->stacks.start.pid,
                        .command = command,
                        .start_ns = mt_logged_file_ns(&log->file, a.begin),
                        .now_ns = mt_logged_file_ns(&log->file, a.end),
                        .wall_ns = mt_logged_file_wall(&log->file, &log->stacks, a.end),
                        .exact = true,
                        .ended = true,
                        .recorded = a.live.count,
                        .allocations = a.allocated,
                        .frees = a.freed};
    add_sites(log, &a, &census);
    add_objects(log, &census);
    mt_out_flush(log->out);
    mt_shown shown = mt_show_census(&census, &log->options->show, stdout);
    free(census.site);
    free(census.object);
    free(command);
    mt_logged_account_close(&a);
    return shown == MT_SHOWN_FAILED ? MT_EXIT_FAILED : 0;
}
