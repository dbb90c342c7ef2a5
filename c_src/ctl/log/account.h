/* log_account: goes through a log once and keeps the books: what is live, and by stack what was
 * allocated, freed, at its peak, there at the program's peak, and freed at once.
 *
 * The peak is the most bytes that were live at one moment. What each stack had then is known
 * without a second reading: a stack's figure is put aside at its first change after a peak;
 * where it is still that of the last peak, or there was no change, it holds.
 *
 * An allocation is temporary if its thread made no other before it freed it (as heaptrack
 * counts them). An allocation at an address that is live means that a free was missed: the old
 * chunk ends there.
 *
 * When a chunk goes from thread to thread within a microsecond the times of its free and of the
 * allocation that was given its address may stand in the wrong order, as processors run ahead
 * of themselves and their clocks are not quite one. So a free that finds nothing, and what an
 * allocation took the place of, wait that long for the other. One thread.
 */
#ifndef MT_CTL_LOG_ACCOUNT_H
#define MT_CTL_LOG_ACCOUNT_H

#include "live.h"
#include "merge.h"

typedef struct mt_logged_site {
    uint64_t live, live_bytes;
    uint64_t allocated, allocated_bytes, temporary;
    uint64_t most, most_bytes;       /* each at its own moment */
    uint64_t at_peak, at_peak_bytes; /* at the program's peak, once the account is finished */
    uint64_t aside;                  /* the number of the peak that those are of */
    uint64_t first;                  /* ticks of its first event */
    uint64_t stray;                  /* frees without an allocation */
} mt_logged_site;

/* One of equal shares of the log's time. */
typedef struct mt_logged_slice {
    uint64_t live, live_bytes; /* at its end */
    uint64_t most_bytes;       /* within */
    uint64_t allocated, freed, temporary;
} mt_logged_slice;

/* What waits, the newest last. */
enum { MT_LOG_WAITING = 8, MT_LOG_APART_NS = 2000 };
typedef struct mt_logged_waiting {
    mt_logged_event event[MT_LOG_WAITING];
    uint32_t n;
} mt_logged_waiting;

typedef struct mt_logged_account {
    mt_logged_live live;
    mt_logged_site *site; /* by a stack's number */
    uint64_t allocated, allocated_bytes, freed, reallocs, failed, temporary;
    uint64_t stray;        /* frees without an allocation */
    uint64_t replaced;     /* chunks whose free was missed */
    uint64_t count, bytes; /* live now, of what counts */
    uint64_t peak, peak_bytes, peak_time;
    uint64_t peaks;                             /* how often there was a new one */
    uint64_t events, before_damage, begin, end; /* begin, end: ticks */
    mt_logged_slice *slice;                     /* or NULL */
    uint32_t slices, now;
    uint64_t width, slice_end;
    /* What the caller wants. */
    const bool *counts; /* by a thread's number: whose allocations count; NULL: all */
    void (*on_stray)(void *context, const mt_logged_event *free); /* or NULL */
    void *context;
    mt_logged_waiting early;     /* frees that found nothing */
    mt_logged_waiting replacing; /* allocations at an address that was live; `from`: of whom */
    uint64_t apart;              /* ticks that it may wait */
    uint64_t *last;              /* by a thread's number: what it allocated last */
} mt_logged_account;

/* Reads the whole log. Before: counts, on_stray, context and slices (0: none) are set, all else
 * is 0. */
void mt_logged_account_run(mt_logged_account *account, mt_logged_file *file,
                           const mt_logged_stacks *stacks);

void mt_logged_account_close(mt_logged_account *account);

#endif
