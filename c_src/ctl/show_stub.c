/* Stands in for show.c until that is there: remove it then. */
#include <inttypes.h>
#include <string.h>

#include "show.h"

int mt_show_option(mt_show *show, int argc, char **argv) {
    (void)argc;
    if (strcmp(argv[0], "--flame-graph") != 0) return 0;
    show->flame_graph = true;
    return 1;
}
const char *const mt_show_help = "";
int mt_show_check(const mt_show *show) {
    (void)show;
    return 0;
}
mt_shown mt_show_census(const mt_census *c, const mt_show *show, FILE *out) {
    (void)show;
    for (uint32_t i = 0; i < c->sites; i++) {
        const mt_census_site *s = &c->site[i];
        fprintf(out,
                "site %u: count %" PRIu64 "/%" PRIu64 " bytes %" PRIu64 "/%" PRIu64
                " allocated %" PRIu64 "\n",
                i + 1, s->count, s->peak_count, s->bytes, s->peak_bytes, s->allocated);
        for (uint32_t k = 0; k < s->frames; k++) {
            fprintf(out, "  #%u [%#" PRIx64 "]", k, s->stack[k]);
            for (uint32_t o = 0; o < c->objects; o++)
                if (s->stack[k] > c->object[o].lo && s->stack[k] <= c->object[o].hi)
                    fprintf(out, " %s+%#" PRIx64, c->object[o].path,
                            s->stack[k] - c->object[o].base);
            fputc('\n', out);
        }
    }
    if (c->sites)
        fprintf(out,
                "sites %u, count %" PRIu64 " bytes %" PRIu64 " recorded %" PRIu64
                " ignored %" PRIu64 " slots %" PRIu64 " calls %" PRIu64 "/%" PRIu64
                " objects %u exact %d ended %d\nallocator %" PRIu64 "/%" PRIu64 " vss %" PRIu64
                " rss %" PRIu64 " shared %" PRIu64 "\n",
                c->sites, c->count, c->bytes, c->recorded, c->ignored, c->slots, c->allocations,
                c->frees, c->objects, c->exact, c->ended, c->allocator_virtual,
                c->allocator_resident, c->vss, c->rss, c->shared);
    return c->sites ? MT_SHOWN_LEFT : MT_SHOWN_NOTHING;
}
