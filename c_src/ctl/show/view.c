/* view: see the header. */
#include "view.h"

#include <stdlib.h>
#include <string.h>

#include "ctl/commands.h"
#include "ignore.h"

const mt_names_place *mt_view_place(const mt_view *view, const mt_census_site *site,
                                    uint32_t i) {
    if (view->saved) return mt_saved_named(view->saved, site, i);
    return mt_names_find(view->names, site->stack[i], site->youngest_ns);
}

const char *mt_view_last_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

bool mt_view_is_hook(const mt_names_place *place, uint32_t i) {
    return i == 0 && place->object &&
           strcmp(mt_view_last_name(place->object), "mtrace.so") == 0;
}

uint32_t mt_view_first(const mt_view *view, const mt_names_place *place, uint32_t i) {
    return view->no_lines || mt_view_is_hook(place, i) ? place->frames - 1 : 0;
}

/* By Newton's method, so that no mathematical library is needed: to a unit is enough. */
uint64_t mt_view_error(double variance) {
    if (!(variance >= 1) || variance > 1e36) return variance > 1e36 ? UINT64_MAX : 0;
    double x = variance;
    for (int i = 0; i < 200; i++) {
        double y = (x + variance / x) / 2;
        if (y >= x) break;
        x = y;
    }
    return (uint64_t)(x + 0.5);
}

static void add(mt_view_sum *sum, const mt_census_site *site) {
    sum->sites++;
    sum->count += site->count;
    sum->bytes += site->bytes;
    sum->count_variance += site->count_variance;
    sum->bytes_variance += site->bytes_variance;
}

static bool is_ignored(const mt_view *view, mt_ignore *ignore, const mt_census_site *site) {
    for (uint32_t i = 0; i < site->frames; i++)
        if (mt_ignore_place(ignore, mt_view_place(view, site, i))) return true;
    return false;
}

static bool is_young(const mt_census *census, const mt_show *show, const mt_census_site *site) {
    uint64_t now = census->now_ns;
    return show->leaks_only_ns &&
           (site->oldest_ns > now || now - site->oldest_ns < show->leaks_only_ns);
}

static void choose(mt_view *view, const mt_show *show, mt_ignore *ignore) {
    for (uint32_t i = 0; i < view->census->sites; i++) {
        const mt_census_site *site = &view->census->site[i];
        if (is_young(view->census, show, site)) add(&view->young, site);
        else if (ignore && is_ignored(view, ignore, site)) add(&view->ignored, site);
        else {
            add(&view->shown, site);
            view->site[view->sites++] = site;
        }
    }
}

static int open_names(mt_view *view, const mt_show *show) {
    view->names = mt_names_open(show->folders);
    if (!view->names) return -1;
    if (show->no_lines) mt_names_no_lines(view->names);
    mt_names_keep(view->names, show->kept);
    for (uint32_t i = 0; i < view->census->objects; i++) {
        const mt_census_object *o = &view->census->object[i];
        mt_names_object(view->names, o->lo, o->hi, o->base, o->since_ns, o->until_ns, o->path,
                        o->build_id, o->build_id_bytes);
    }
    return 0;
}

int mt_view_open(mt_view *view, const mt_census *census, const mt_saved *saved,
                 const mt_show *show) {
    *view = (mt_view){.census = census, .saved = saved, .no_lines = show->no_lines};
    view->site = calloc(census->sites ? census->sites : 1, sizeof *view->site);
    if (!view->site || (!saved && open_names(view, show) != 0)) {
        mt_say("there is not enough memory for the report");
        return -1;
    }
    mt_ignore *ignore = show->ignore_path ? mt_ignore_read(show->ignore_path) : NULL;
    if (show->ignore_path && !ignore) return -1;
    choose(view, show, ignore);
    mt_ignore_free(ignore);
    return 0;
}

void mt_view_close(mt_view *view) {
    mt_names_close(view->names);
    free(view->site);
    *view = (mt_view){0};
}

#define SITES(a, b)                                                                            \
    const mt_census_site *x = *(const mt_census_site *const *)(a);                             \
    const mt_census_site *y = *(const mt_census_site *const *)(b)

/* Most first. */
static int most(uint64_t a, uint64_t b) {
    return a > b ? -1 : a < b;
}

/* The end of every order, so that it is always the same. */
static int by_stack(const mt_census_site *x, const mt_census_site *y) {
    for (uint32_t i = 0; i < x->frames && i < y->frames; i++)
        if (x->stack[i] != y->stack[i]) return x->stack[i] < y->stack[i] ? -1 : 1;
    return x->frames < y->frames ? -1 : x->frames > y->frames;
}

static int first_of(int a, int b, int c) {
    return a ? a : b ? b : c;
}

static int by_size(const void *a, const void *b) {
    SITES(a, b);
    return first_of(most(x->bytes, y->bytes), most(x->count, y->count), by_stack(x, y));
}

static int by_count(const void *a, const void *b) {
    SITES(a, b);
    return first_of(most(x->count, y->count), most(x->bytes, y->bytes), by_stack(x, y));
}

static int by_age(const void *a, const void *b) {
    SITES(a, b);
    return first_of(-most(x->oldest_ns, y->oldest_ns), most(x->bytes, y->bytes),
                    by_stack(x, y));
}

static int by_allocs(const void *a, const void *b) {
    SITES(a, b);
    return first_of(most(x->allocated, y->allocated),
                    most(x->allocated_bytes, y->allocated_bytes), by_stack(x, y));
}

void mt_view_sort(mt_view *view, mt_show_sort sort) {
    static int (*const by[MT_SORTS])(const void *, const void *) = {by_size, by_count, by_age,
                                                                    by_allocs};
    qsort(view->site, view->sites, sizeof *view->site, by[sort]);
}
