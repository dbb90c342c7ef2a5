/* collapsed: stacks as flamegraph.pl and others read them, one a line, the outermost function
 * first: "main;read_all;malloc 4096". Lines may be equal: who reads them sums up. */
#ifndef MT_CTL_COLLAPSED_H
#define MT_CTL_COLLAPSED_H

#include "ctl/bytes.h"
#include "view.h"

/* The bytes of all sites of the view, or of the first `top`, in its order. */
void mt_collapsed_write(const mt_view *view, uint32_t top, mt_bytes *out);

#endif
