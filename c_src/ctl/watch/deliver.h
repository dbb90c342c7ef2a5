/* deliver: one report of one target, made and written where it is wanted. */
#ifndef MT_CTL_DELIVER_H
#define MT_CTL_DELIVER_H

#include "ctl/outfile.h"
#include "ctl/show/show.h"
#include "target.h"

typedef struct mt_delivery {
    const mt_show *show;
    mt_outfile *outfile;
    const char *ending; /* how it ended, for a note below it; NULL: none */
} mt_delivery;

/* Takes a census and shows it. Where nothing is left nothing is written. What goes wrong is
 * said on stderr. */
mt_shown mt_deliver(mt_target *target, const mt_delivery *delivery);

/* The one report of a command: what the target holds now; then the outfile is closed. 0, or
 * MT_EXIT_FAILED. */
int mt_deliver_once(mt_target *target, const mt_show *show, mt_outfile *outfile);

#endif
