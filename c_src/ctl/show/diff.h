/* diff: whose memory grew between two runs, or two moments of one.
 *
 * Sites of the two are the same if the names in their stacks are: object file, function and
 * line. So they may be of two versions of a program, at other addresses. What is left on both
 * sides is compared once more without the lines, which move when a file is edited.
 */
#ifndef MT_CTL_DIFF_H
#define MT_CTL_DIFF_H

#include <stdio.h>

#include "view.h"

/* Prints it. MT_SHOWN_LEFT if a site grew or is new. `path`: of the earlier one, as the heading
 * names it. */
mt_shown mt_diff_write(const mt_view *before, const mt_view *after, const char *path,
                       const mt_show *show, FILE *out);

#endif
