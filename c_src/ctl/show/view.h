/* view: a census with the names of its stacks, less what is not to be shown.
 *
 * One thread. The census and what it came from stay the caller's, and must outlive it.
 */
#ifndef MT_CTL_VIEW_H
#define MT_CTL_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "census.h"
#include "names.h"
#include "saved.h"
#include "show.h"

/* How much of what it is. */
typedef struct mt_view_sum {
    uint64_t sites, count, bytes;
    double count_variance, bytes_variance;
} mt_view_sum;

typedef struct mt_view {
    const mt_census *census;
    const mt_saved *saved;       /* where the names come from, if not NULL */
    mt_names *names;             /* else from here */
    const mt_census_site **site; /* those to be shown */
    uint32_t sites;
    bool no_lines;                     /* what was saved may have some */
    mt_view_sum shown, ignored, young; /* young: left out for show.leaks_only_ns */
} mt_view;

/* `saved` is NULL for a census of a program that has not been saved. 0, or -1 and it has been
 * said: without memory, or the patterns cannot be read. To be closed in any case. */
int mt_view_open(mt_view *view, const mt_census *census, const mt_saved *saved,
                 const mt_show *show);
void mt_view_close(mt_view *view);

/* Sorts the sites, those with most first. */
void mt_view_sort(mt_view *view, mt_show_sort sort);

/* What frame i of this site, one of the census's, is called. */
const mt_names_place *mt_view_place(const mt_view *view, const mt_census_site *site,
                                    uint32_t i);

/* Is frame i our own hook, whose function says what was called? */
bool mt_view_is_hook(const mt_names_place *place, uint32_t i);

/* The first of the place's frames that is shown: of our hook, and without lines, only the last,
 * which is no inlined one. */
uint32_t mt_view_first(const mt_view *view, const mt_names_place *place, uint32_t i);

/* The last name of a path, the whole if it has none. */
const char *mt_view_last_name(const char *path);

/* The standard error whose square this is, as an integer. */
uint64_t mt_view_error(double variance);

#endif
