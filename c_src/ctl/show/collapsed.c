/* collapsed: see the header. A frame has no ';', no line's end, and no space at its ends. */
#include "collapsed.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/plain.h"
#include "shorten.h"

enum { NAME = 512 };

static void add_frame(const mt_names_frame *frame, const mt_names_place *place, mt_bytes *out) {
    char name[NAME + 32];
    if (frame->function) mt_shorten(name, NAME, frame->function);
    else if (place->object) {
        size_t n = mt_plain(name, NAME, mt_view_last_name(place->object));
        snprintf(name + n, 32, "+%#" PRIx64, place->in_file);
    } else strcpy(name, "[unknown]");
    for (char *c = name; (c = strchr(c, ';')); c++) *c = ':';
    mt_bytes_add(out, name, strlen(name));
}

static void add_site(const mt_view *view, const mt_census_site *site, mt_bytes *out) {
    char number[32];
    const char *between = "";
    for (uint32_t i = site->frames; i-- > 0;) {
        const mt_names_place *place = mt_view_place(view, site, i);
        uint32_t least = mt_view_first(view, place, i);
        for (uint32_t f = place->frames; f-- > least;) {
            mt_bytes_add(out, between, strlen(between));
            add_frame(&place->frame[f], place, out);
            between = ";";
        }
    }
    if (site->frames == 0) mt_bytes_add(out, "[unknown]", 9);
    int n = snprintf(number, sizeof number, " %" PRIu64 "\n", site->bytes);
    mt_bytes_add(out, number, (size_t)n);
}

void mt_collapsed_write(const mt_view *view, uint32_t top, mt_bytes *out) {
    uint32_t n = top && top < view->sites ? top : view->sites;
    for (uint32_t i = 0; i < n; i++) add_site(view, view->site[i], out);
}
