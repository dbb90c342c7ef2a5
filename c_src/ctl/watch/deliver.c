/* deliver: see the header. The text is made in memory first: reports of several processes do
 * not mix, and nothing is written where there is nothing to say. */
#include "deliver.h"

#include <stdlib.h>
#include <string.h>

#include "ctl/commands.h"

/* Names of files may contain %p and %c. */
static const char *expand(const char *pattern, const mt_target *t) {
    return pattern ? mt_outfile_expand(pattern, t->pid, t->name) : NULL;
}

static mt_shown show_expanded(const mt_census *census, const mt_show *show, const mt_target *t,
                              FILE *to) {
    mt_show s = *show;
    s.collapsed_path = expand(show->collapsed_path, t);
    s.pprof_path = expand(show->pprof_path, t);
    s.save_path = expand(show->save_path, t);
    mt_shown shown = mt_show_census(census, &s, to);
    free((char *)s.collapsed_path);
    free((char *)s.pprof_path);
    free((char *)s.save_path);
    return shown;
}

static void write_out(const mt_target *t, const mt_delivery *d, const char *text, size_t n) {
    char *whole = NULL;
    size_t bytes;
    FILE *to = open_memstream(&whole, &bytes);
    if (!to) return;
    fwrite(text, 1, n, to);
    if (d->ending && !d->show->flame_graph) fprintf(to, "%s\n", d->ending);
    if (fclose(to) == 0) mt_outfile_write(d->outfile, t->pid, t->name, whole, bytes);
    else d->outfile->failed = true;
    free(whole);
    if (d->ending && d->show->flame_graph) mt_say("%s", d->ending);
}

mt_shown mt_deliver(mt_target *t, const mt_delivery *d) {
    char *text = NULL;
    size_t n = 0;
    mt_shown shown = MT_SHOWN_FAILED;
    mt_census *census = mt_target_census(t, d->show->leaks_only_ns);
    FILE *to = census ? open_memstream(&text, &n) : NULL;
    if (to) {
        shown = show_expanded(census, d->show, t, to);
        if (fclose(to) == 0 && n > 0) write_out(t, d, text, n);
    } else {
        mt_say("no memory for a report of %d", (int)t->pid);
    }
    free(text);
    mt_census_free(census);
    return shown;
}

int mt_deliver_once(mt_target *t, const mt_show *show, mt_outfile *outfile) {
    mt_delivery d = {.show = show, .outfile = outfile};
    mt_target_look(t, false);
    mt_shown shown = mt_deliver(t, &d);
    return mt_outfile_close(outfile) != 0 || shown == MT_SHOWN_FAILED ? MT_EXIT_FAILED : 0;
}
