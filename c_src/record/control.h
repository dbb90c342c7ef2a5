/* control: switches the tracer on and off, empties it, and sets it otherwise at run time.
 *
 * Not for hooks, but for stop, in the child of a fork.
 */
#ifndef MT_RECORD_CONTROL_H
#define MT_RECORD_CONTROL_H

#include <stdint.h>

#include "options.h"

/* Maps the tables and switches on. 0, or -1 without memory: it then stays off. Once. */
int mt_tracer_start(const mt_options *options);

/* Chunks that are drawn get no boundary from now on: for an allocator that has no memalign of
 * its own. */
void mt_tracer_never_align(void);

/* Switches off and, with empty tables, on again, after a start. What was recorded can be read
 * meanwhile; a call that is under way may still record or end one. Not for hooks. */
void mt_tracer_pause(void);
void mt_tracer_resume(void);

/* Switches off for good: for the child after a fork, where the page does not do it. */
void mt_tracer_stop(void);

/* Empties the tables and starts the sampler anew: records of chunks that are alive are ended,
 * their frees will pass unnoticed. Any thread, while others allocate. */
void mt_tracer_reset(void);

/* For who is about to watch, and while he does: after a burst, a start for one, an adaptive
 * interval stays large until as much has been allocated again. Lowers it to a 16th, to a 4th if
 * more than half of the table is taken, not at all where it is about to be thinned; and has all
 * threads draw their credits anew. Where they are busy they double it again, which costs each
 * step 50 us of recording. Any thread, while others allocate. */
void mt_tracer_sharpen(void);

/* The same for who begins: makes room before (mt_thin_for_watch). */
void mt_tracer_watch(void);

/* Changes interval (MT_ADAPTIVE or fixed), budget and depths at run time; the values must be
 * within the bounds of options.h. A table that was started exact and large keeps its levels,
 * samples without being thinned, and cuts depths at those it was started with. One thread at a
 * time. */
void mt_tracer_configure(uint64_t interval, uint32_t budget_ppm, uint32_t depth,
                         uint32_t erlang_depth);

#endif
