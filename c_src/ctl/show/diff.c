/* diff: see the header. Both sides become entries with a key of their names; entries with the
 * same key are added up. */
#include "diff.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl/commands.h"
#include "ctl/plain.h"
#include "report.h"
#include "sizes.h"

/* One different stack, of before, after or both. */
typedef struct {
    uint64_t key, rough;                  /* of its names with and without lines */
    const mt_census_site *before, *after; /* one of the sites that it stands for, or NULL */
    uint64_t count[2], bytes[2];
    double variance[2];
} entry;

typedef struct {
    const mt_view *before, *after;
    entry *entry;
    size_t n;
    mt_show_sort sort;
} comparison;

static uint64_t mix(uint64_t h, uint64_t x) {
    h = (h ^ x) * 0x9e3779b97f4a7c15ull;
    return h ^ h >> 29;
}

static uint64_t mix_text(uint64_t h, const char *text) {
    for (; text && *text; text++) h = (h ^ (uint8_t)*text) * 0x100000001b3ull;
    return mix(h, 0x100);
}

/* A frame without a name is known by its address in the file, which another build of it has
 * elsewhere. Our own hook is the same in every stack. */
static void key_of(const mt_view *view, const mt_census_site *site, entry *e) {
    for (uint32_t i = 0; i < site->frames; i++) {
        const mt_names_place *place = mt_view_place(view, site, i);
        bool hook = mt_view_is_hook(place, i);
        for (uint32_t f = mt_view_first(view, place, i); f < place->frames; f++) {
            const mt_names_frame *frame = &place->frame[f];
            e->rough =
                mix_text(e->rough, place->object ? mt_view_last_name(place->object) : "");
            if (frame->function) e->rough = mix_text(e->rough, frame->function);
            else if (place->object) e->rough = mix(e->rough, place->in_file);
            e->key = mix(mix(e->key, e->rough), hook || view->no_lines ? 0 : frame->line);
        }
    }
}

static void add_side(comparison *c, int side) {
    const mt_view *view = side ? c->after : c->before;
    for (uint32_t i = 0; i < view->sites; i++) {
        const mt_census_site *site = view->site[i];
        entry *e = &c->entry[c->n++];
        *e = (entry){.before = side ? NULL : site, .after = side ? site : NULL};
        e->count[side] = site->count;
        e->bytes[side] = site->bytes;
        e->variance[side] = site->bytes_variance;
        key_of(view, site, e);
    }
}

static void join(entry *to, const entry *e) {
    if (!to->before) to->before = e->before;
    if (!to->after) to->after = e->after;
    for (int side = 0; side < 2; side++) {
        to->count[side] += e->count[side];
        to->bytes[side] += e->bytes[side];
        to->variance[side] += e->variance[side];
    }
}

static int by_key(const void *a, const void *b) {
    const entry *x = a, *y = b;
    return x->key < y->key ? -1 : x->key > y->key;
}

/* Those that have a partner come behind all that may still find one. */
static int by_rough(const void *a, const void *b) {
    const entry *x = a, *y = b;
    bool whole_x = x->before && x->after, whole_y = y->before && y->after;
    if (whole_x != whole_y) return whole_x ? 1 : -1;
    return x->rough < y->rough ? -1 : x->rough > y->rough;
}

static void join_equal(comparison *c) {
    size_t kept = 0;
    qsort(c->entry, c->n, sizeof *c->entry, by_key);
    for (size_t i = 0; i < c->n; i++)
        if (kept && c->entry[kept - 1].key == c->entry[i].key)
            join(&c->entry[kept - 1], &c->entry[i]);
        else c->entry[kept++] = c->entry[i];
    c->n = kept;
}

/* Only where there is something on both sides: two new sites in one function stay two. */
static void join_rough(comparison *c) {
    size_t kept = 0;
    qsort(c->entry, c->n, sizeof *c->entry, by_rough);
    for (size_t i = 0, end; i < c->n; i = end) {
        bool before = false, after = false, whole = c->entry[i].before && c->entry[i].after;
        for (end = i; end < c->n && !whole && c->entry[end].rough == c->entry[i].rough &&
                      !(c->entry[end].before && c->entry[end].after);
             end++) {
            before |= c->entry[end].before != NULL;
            after |= c->entry[end].after != NULL;
        }
        if (end == i) end = i + 1;
        bool all = before && after;
        size_t first = kept;
        for (size_t k = i; k < end; k++)
            if (all && k > i) join(&c->entry[first], &c->entry[k]);
            else c->entry[kept++] = c->entry[k];
    }
    c->n = kept;
}

static int64_t growth(const entry *e, bool count) {
    const uint64_t *x = count ? e->count : e->bytes;
    return (int64_t)(x[1] - x[0]);
}

static int by_growth(const entry *x, const entry *y, bool count) {
    for (int i = 0; i < 2; i++, count = !count) {
        int64_t a = growth(x, count), b = growth(y, count);
        if (a != b) return a > b ? -1 : 1;
    }
    return x->key < y->key ? -1 : x->key > y->key;
}

static int by_bytes_grown(const void *a, const void *b) {
    return by_growth(a, b, false);
}

static int by_count_grown(const void *a, const void *b) {
    return by_growth(a, b, true);
}

static const char *kind(const entry *e) {
    if (!e->before) return "new";
    if (!e->after) return "gone";
    int64_t bytes = growth(e, false), count = growth(e, true);
    if (bytes == 0 && count == 0) return "same";
    return bytes > 0 || (bytes == 0 && count > 0) ? "grew" : "shrank";
}

/* What lies within twice the standard error of two estimates may be chance. */
static const char *doubt(const comparison *c, const entry *e) {
    if (c->before->census->exact && c->after->census->exact) return "";
    uint64_t error = mt_view_error(e->variance[0] + e->variance[1]);
    int64_t by = growth(e, false);
    return (uint64_t)(by < 0 ? -by : by) / 2 < error ? " [within the error]" : "";
}

static void write_entry(const comparison *c, const entry *e, size_t number, const mt_show *show,
                        FILE *out) {
    fprintf(out,
            "=== backtrace #%zu === [%s: %s] [size: %s -> %s] [count: %" PRIu64 " -> %" PRIu64
            "]%s\n",
            number, kind(e), mt_change_text(e->bytes[0], e->bytes[1]).text,
            mt_size_text(e->bytes[0]).text, mt_size_text(e->bytes[1]).text, e->count[0],
            e->count[1], doubt(c, e));
    if (e->after) mt_report_stack(c->after, e->after, show, out);
    else mt_report_stack(c->before, e->before, show, out);
}

static void heading(const comparison *c, const char *path, FILE *out) {
    char text[512], when[64] = "";
    time_t seconds = (time_t)(c->before->census->wall_ns / 1000000000);
    struct tm tm;
    if (localtime_r(&seconds, &tm)) strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &tm);
    mt_plain(text, sizeof text, path);
    fprintf(out, "[mtracectl] before: %s, of %s, process ", text, when);
    mt_report_process(c->before->census, out);
    fputs("\n[mtracectl] after : process ", out);
    mt_report_process(c->after->census, out);
    fputs("\n\n", out);
}

static void totals(const comparison *c, FILE *out) {
    static const char *const kinds[] = {"grew", "new", "shrank", "gone", "same"};
    const mt_view_sum *before = &c->before->shown, *after = &c->after->shown;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        uint64_t n = 0, bytes[2] = {0};
        for (size_t i = 0; i < c->n; i++)
            if (strcmp(kind(&c->entry[i]), kinds[k]) == 0) {
                n++;
                for (int side = 0; side < 2; side++) bytes[side] += c->entry[i].bytes[side];
            }
        if (n)
            fprintf(out, "[mtracectl] %-6s: %s, %s\n", kinds[k], mt_count_text(n, "stack").text,
                    mt_change_text(bytes[0], bytes[1]).text);
    }
    fprintf(out, "[mtracectl] in all: %s -> %s (%s), %" PRIu64 " -> %" PRIu64 " chunks\n",
            mt_size_text(before->bytes).text, mt_size_text(after->bytes).text,
            mt_change_text(before->bytes, after->bytes).text, before->count, after->count);
}

static mt_shown write_all(comparison *c, const char *path, const mt_show *show, FILE *out) {
    mt_shown shown = MT_SHOWN_NOTHING;
    size_t changed = 0, written = 0;
    mt_report_rule(out);
    heading(c, path, out);
    for (size_t i = 0; i < c->n; i++) {
        const char *what = kind(&c->entry[i]);
        if (strcmp(what, "same") == 0) continue;
        if (strcmp(what, "grew") == 0 || strcmp(what, "new") == 0) shown = MT_SHOWN_LEFT;
        changed++;
        if (!show->top || changed <= show->top) {
            write_entry(c, &c->entry[i], changed, show, out);
            written++;
        }
    }
    if (written < changed)
        fprintf(out, "[mtracectl] %zu more stacks changed: --top 0 shows all\n\n",
                changed - written);
    totals(c, out);
    mt_report_notes(c->after, out);
    mt_report_rule(out);
    return shown;
}

mt_shown mt_diff_write(const mt_view *before, const mt_view *after, const char *path,
                       const mt_show *show, FILE *out) {
    comparison c = {.before = before, .after = after};
    c.entry = calloc((size_t)before->sites + after->sites + 1, sizeof *c.entry);
    if (!c.entry) {
        mt_say("there is not enough memory for the comparison");
        return MT_SHOWN_FAILED;
    }
    add_side(&c, 0);
    add_side(&c, 1);
    join_equal(&c);
    join_rough(&c);
    qsort(c.entry, c.n, sizeof *c.entry,
          show->sort[0] == MT_SORT_COUNT ? by_count_grown : by_bytes_grown);
    mt_shown shown = write_all(&c, path, show, out);
    free(c.entry);
    return shown;
}
