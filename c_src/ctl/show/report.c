/* report: see the header. The headings of the sites are those that users of heaptrace know. */
#include "report.h"

#include <inttypes.h>
#include <string.h>

#include "ctl/plain.h"
#include "record/seen.h"
#include "record/sites.h"
#include "shorten.h"
#include "sizes.h"

enum { NAME = 96, WIDE = 4096, COMMAND = 160, NOTES = 8 };

#define PREFIX "[mtracectl] "

void mt_report_rule(FILE *out) {
    fputs("=================================================================\n", out);
}

void mt_report_process(const mt_census *census, FILE *out) {
    char command[COMMAND];
    mt_plain(command, sizeof command, census->command ? census->command : "");
    fprintf(out, "%" PRIu32 " (%s)", census->pid, command);
}

/* " ± 12" after a number that is an estimate. */
static mt_text error_text(const mt_census *census, double variance, bool bytes) {
    mt_text t = {""};
    if (census->exact) return t;
    uint64_t error = mt_view_error(variance);
    if (bytes) snprintf(t.text, sizeof t.text, " ± %.40s", mt_size_text(error).text);
    else snprintf(t.text, sizeof t.text, " ± %" PRIu64, error);
    return t;
}

static void heading(const mt_view *view, const mt_census_site *s, uint32_t number,
                    mt_show_sort sort, FILE *out) {
    const mt_census *c = view->census;
    fprintf(out,
            "=== backtrace #%" PRIu32 " === [count/peak: %" PRIu64 "%s/%" PRIu64
            "] [size/peak: %s%s/%s] [age: %s]",
            number, s->count, error_text(c, s->count_variance, false).text, s->peak_count,
            mt_size_text(s->bytes).text, error_text(c, s->bytes_variance, true).text,
            mt_size_text(s->peak_bytes).text,
            mt_time_text(c->now_ns > s->oldest_ns ? c->now_ns - s->oldest_ns : 0).text);
    if (sort == MT_SORT_ALLOCS)
        fprintf(out, " [allocs: %" PRIu64 "/%s]", s->allocated,
                mt_size_text(s->allocated_bytes).text);
    fputc('\n', out);
}

/* The last two names of a path say enough, unless the whole is wanted. */
static const char *shortened(const char *path, const mt_show *show) {
    const char *last = mt_view_last_name(path), *slash = last;
    if (show->wide) return path;
    if (slash > path) slash--;
    while (slash > path && slash[-1] != '/') slash--;
    return slash > path + 1 ? slash : path;
}

static void write_frame(const mt_names_frame *frame, const mt_names_place *place,
                        const mt_show *show, bool hook, FILE *out) {
    char text[WIDE];
    size_t room = show->wide ? WIDE : NAME;
    if (frame->function) {
        if (show->wide) mt_plain(text, room, frame->function);
        else mt_shorten(text, room, frame->function);
        if (frame->inlined) fprintf(out, "%s (inlined)", text);
        else fprintf(out, "%s +%#" PRIx64, text, frame->offset);
    }
    if (hook) return;
    if (place->object && !frame->inlined) {
        mt_plain(text, room, show->wide ? place->object : mt_view_last_name(place->object));
        if (frame->function) fprintf(out, " (%s)", text);
        else fprintf(out, "%s (+%#" PRIx64 ")", text, place->in_file);
    } else if (!place->object) fputs("(in no file)", out);
    if (frame->file && !show->no_lines) {
        mt_plain(text, room, shortened(frame->file, show));
        fprintf(out, " %s", text);
        if (frame->line) fprintf(out, ":%" PRIu32, frame->line);
    }
}

void mt_report_stack(const mt_view *view, const mt_census_site *site, const mt_show *show,
                     FILE *out) {
    for (uint32_t i = 0; i < site->frames; i++) {
        const mt_names_place *place = mt_view_place(view, site, i);
        bool hook = mt_view_is_hook(place, i);
        for (uint32_t f = mt_view_first(view, place, i); f < place->frames; f++) {
            fprintf(out, "%2" PRIu32 " [%#14" PRIx64 "] ", i, site->stack[i]);
            write_frame(&place->frame[f], place, show, hook, out);
            fputc('\n', out);
        }
    }
    fputc('\n', out);
}

static void list(mt_view *view, const mt_show *show, mt_show_sort sort, FILE *out) {
    static const char *const name[MT_SORTS] = {"size", "count", "age", "allocs"};
    const mt_census *c = view->census;
    uint64_t bytes = 0;
    uint32_t n = show->top && show->top < view->sites ? show->top : view->sites;
    mt_view_sort(view, sort);
    fprintf(out, PREFIX "%s in %s not freed", mt_size_text(view->shown.bytes).text,
            mt_count_text(view->shown.count, "chunk").text);
    if (!c->ended) fprintf(out, " after %s", mt_time_text(c->now_ns - c->start_ns).text);
    fputs(c->ended ? " at the end of process " : " by process ", out);
    mt_report_process(c, out);
    fprintf(out, ", by %s\n", name[sort]);
    for (uint32_t i = 0; i < n; i++) {
        heading(view, view->site[i], i + 1, sort, out);
        mt_report_stack(view, view->site[i], show, out);
        bytes += view->site[i]->bytes;
    }
    if (n < view->sites)
        fprintf(out, PREFIX "%s in %s more: --top 0 shows all\n\n",
                mt_size_text(view->shown.bytes - bytes).text,
                mt_count_text(view->sites - n, "stack").text);
}

static void figure(const char *what, FILE *out) {
    fprintf(out, PREFIX "%-27s: ", what);
}

static void left_out(const char *what, const mt_view_sum *sum, FILE *out) {
    if (!sum->sites) return;
    figure(what, out);
    fprintf(out, "%s in %s\n", mt_size_text(sum->bytes).text,
            mt_count_text(sum->sites, "stack").text);
}

/* What may have lacked room is told with what makes more of it. */
static void not_recorded(const mt_census *c, FILE *out) {
    fprintf(out, PREFIX "%s not recorded: these figures are too low\n",
            mt_count_text(c->ignored, "chunk").text);
    if (c->no_slots) {
        fprintf(out, PREFIX "no room: %" PRIu64 " slots for chunks; ", c->slots);
        if (c->slots_asked)
            fprintf(out, "there was no memory for the %" PRIu64 " of --slots: give --sample\n",
                    c->slots_asked);
        else fputs("give more --slots, or --sample\n", out);
    }
    if (c->no_rows) {
        fprintf(out, PREFIX "no room: %" PRIu64 " different stacks; give ", c->rows);
        if (c->rows < MT_SITES_MOST) fputs("more --slots, ", out);
        fputs("a smaller --depth, so that more of them are alike, or --sample\n", out);
    }
    if (!c->no_slots && !c->no_rows)
        fputs(PREFIX "there was room: they were allocated in a callback of dl_iterate_phdr, in "
                     "threads for which no memory was left, or at odd addresses\n",
              out);
}

static void coverage(const mt_census *c, FILE *out) {
    figure("coverage", out);
    if (c->exact) fputs("exact", out);
    else fprintf(out, "estimated, one drawn every %s", mt_size_text(c->interval).text);
    fprintf(out, "; %s known, %" PRIu64 " ignored", mt_count_text(c->recorded, "chunk").text,
            c->ignored);
    if (!c->exact) fprintf(out, ", %" PRIu64 " thinned", c->thinned);
    fputc('\n', out);
    if (c->exact && c->ignored) not_recorded(c, out);
    figure("calls", out);
    fprintf(out, "%" PRIu64 " of malloc, realloc and the like, %" PRIu64 " of free\n",
            c->allocations, c->frees);
}

static void known(const char *what, uint64_t bytes, FILE *out) {
    if (!bytes) return;
    figure(what, out);
    fprintf(out, "%s\n", mt_size_text(bytes).text);
}

static void totals(const mt_view *view, FILE *out) {
    const mt_census *c = view->census;
    const mt_view_sum *s = &view->shown;
    figure("traced stacks", out);
    fprintf(out, "%" PRIu64 "\n", s->sites);
    figure("traced size", out);
    fprintf(out, "%s%s in ", mt_size_text(s->bytes).text,
            error_text(c, s->bytes_variance, true).text);
    if (c->exact) fprintf(out, "%s\n", mt_count_text(s->count, "chunk").text);
    else
        fprintf(out, "%" PRIu64 "%s chunks\n", s->count,
                error_text(c, s->count_variance, false).text);
    left_out("ignored by patterns", &view->ignored, out);
    left_out("too young", &view->young, out);
    known("allocator (virtual)", c->allocator_virtual, out);
    known("allocator (resident)", c->allocator_resident, out);
    if (c->vss || c->rss) {
        figure("process (VSS/RSS/shared)", out);
        fprintf(out, "%s / %s / %s\n", mt_size_text(c->vss).text, mt_size_text(c->rss).text,
                mt_size_text(c->shared).text);
    }
    coverage(c, out);
}

void mt_report_notes(const mt_view *view, FILE *out) {
    const char *why;
    char text[WIDE];
    if (view->census->unnoted)
        fprintf(out,
                PREFIX "no names: %" PRIu64
                       " files were mapped when %d places had been noted\n",
                view->census->unnoted, MT_SEEN_ENTRIES);
    for (uint32_t i = 0; view->names && (why = mt_names_missing(view->names, i)); i++) {
        if (i == NOTES) {
            fputs(PREFIX "and more files\n", out);
            return;
        }
        mt_plain(text, sizeof text, why);
        fprintf(out, PREFIX "no names: %s\n", text);
    }
}

void mt_report_write(mt_view *view, const mt_show *show, FILE *out) {
    mt_report_rule(out);
    for (uint32_t i = 0; i < show->sorts; i++) list(view, show, show->sort[i], out);
    totals(view, out);
    mt_report_notes(view, out);
    mt_report_rule(out);
}
