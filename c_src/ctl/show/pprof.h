/* pprof: a view as pprof reads it: the message Profile of proto/profile.proto in
 * github.com/google/pprof, compressed by gzip (gzip.h). The numbers of the fields are those of
 * that file; types and order of the values those of Go's heap profiles.
 *
 * Our own hook is left out, so that what is "flat" is who called malloc.
 */
#ifndef MT_CTL_PPROF_H
#define MT_CTL_PPROF_H

#include "view.h"

/* All sites of the view. 0, or -1 and it has been said. */
int mt_pprof_write(const mt_view *view, const char *path);

#endif
