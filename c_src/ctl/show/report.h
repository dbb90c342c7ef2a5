/* report: a view as text for people, and the parts of it that a comparison shows too. */
#ifndef MT_CTL_REPORT_H
#define MT_CTL_REPORT_H

#include <stdio.h>

#include "view.h"

/* The whole report: one list for each order of `show`, then the totals. Sorts the view. */
void mt_report_write(mt_view *view, const mt_show *show, FILE *out);

/* The frames of one site, innermost first, one a line, and an empty line. */
void mt_report_stack(const mt_view *view, const mt_census_site *site, const mt_show *show,
                     FILE *out);

/* "5879 (node script.js)": the process, on a line of its own or in one. */
void mt_report_process(const mt_census *census, FILE *out);

/* What a note below a report says of files without names. */
void mt_report_notes(const mt_view *view, FILE *out);

void mt_report_rule(FILE *out);

#endif
