/* log_account: the books. */
#include "account.h"

#include <stdlib.h>
#include <string.h>

#include "out.h"

enum { BATCH = 512, AHEAD = 12 };

static inline bool counts(const mt_logged_account *a, uint32_t thread) {
    return !a->counts || a->counts[thread];
}

/* Before a site changes: what it had at the last peak. */
static inline mt_logged_site *change(mt_logged_account *a, uint32_t stack) {
    mt_logged_site *site = &a->site[stack];
    if (site->aside != a->peaks) {
        site->at_peak = site->live;
        site->at_peak_bytes = site->live_bytes;
        site->aside = a->peaks;
    }
    return site;
}

static void end(mt_logged_account *a, const mt_logged_chunk *chunk) {
    if (!counts(a, chunk->thread)) return;
    mt_logged_site *site = change(a, chunk->stack);
    site->live--;
    site->live_bytes -= chunk->size;
    a->bytes -= chunk->size;
    a->count--;
}

/* Takes out what waits at this address for an event of another thread. */
static bool take_waiting(mt_logged_account *a, mt_logged_waiting *w, const mt_logged_event *e,
                         mt_logged_event *was) {
    for (uint32_t i = 0; i < w->n; i++) {
        *was = w->event[i];
        if (was->address != e->address || was->thread == e->thread ||
            e->time - was->time > a->apart)
            continue;
        w->n--;
        memmove(&w->event[i], &w->event[i + 1], (w->n - i) * sizeof *was);
        return true;
    }
    return false;
}

static void stray(mt_logged_account *a, const mt_logged_event *e) {
    if (!counts(a, e->thread)) return;
    a->freed++;
    a->stray++;
    mt_logged_site *site = &a->site[e->stack];
    if (site->stray++ == 0 && !site->first) site->first = e->time;
    if (a->on_stray) a->on_stray(a->context, e);
}

/* Makes room in what waits: those that have waited long enough go, or the oldest. */
static void settle(mt_logged_account *a, mt_logged_waiting *w, uint64_t time) {
    uint32_t go = 0;
    while (go < w->n && time - w->event[go].time > a->apart) go++;
    if (go == 0 && w->n == MT_LOG_WAITING) go = 1;
    for (uint32_t i = 0; w == &a->early && i < go; i++) stray(a, &w->event[i]);
    w->n -= go;
    memmove(&w->event[0], &w->event[go], w->n * sizeof w->event[0]);
}

static void wait_for_other(mt_logged_account *a, mt_logged_waiting *w,
                           const mt_logged_event *e) {
    settle(a, w, e->time);
    w->event[w->n++] = *e;
}

static void freed(mt_logged_account *a, const mt_logged_event *e) {
    mt_logged_chunk chunk;
    mt_logged_event other;
    bool last = a->last[e->thread] == e->address;
    if (last) a->last[e->thread] = 0;
    if (a->replacing.n && take_waiting(a, &a->replacing, e, &other)) {
        /* That of the chunk whose place was taken: it has ended. */
        a->replaced--;
        a->freed += counts(a, (uint32_t)other.from);
    } else if (mt_logged_live_take(&a->live, e->address, &chunk)) {
        end(a, &chunk);
        if (!counts(a, chunk.thread)) return;
        a->freed++;
        if (last && chunk.thread == e->thread) {
            a->site[chunk.stack].temporary++;
            a->temporary++;
        }
    } else wait_for_other(a, &a->early, e);
}

static void add(mt_logged_account *a, const mt_logged_event *e) {
    mt_logged_site *site = change(a, e->stack);
    if (site->allocated++ == 0 && !site->first) site->first = e->time;
    site->allocated_bytes += e->size;
    site->live_bytes += e->size;
    if (++site->live > site->most) site->most = site->live;
    if (site->live_bytes > site->most_bytes) site->most_bytes = site->live_bytes;
    a->allocated++;
    a->allocated_bytes += e->size;
    a->bytes += e->size;
    a->count++;
    if (a->bytes > a->peak_bytes) {
        a->peak_bytes = a->bytes;
        a->peak = a->count;
        a->peak_time = e->time;
        a->peaks++;
    }
}

static void allocated(mt_logged_account *a, const mt_logged_event *e) {
    mt_logged_chunk chunk = {e->address, e->size, e->time, e->stack, e->thread}, before;
    mt_logged_event other;
    if (mt_logged_live_put(&a->live, &chunk, &before)) {
        a->replaced++;
        end(a, &before);
        other = *e;
        other.from = before.thread;
        wait_for_other(a, &a->replacing, &other);
    }
    a->last[e->thread] = e->address;
    if (counts(a, e->thread)) add(a, e);
    if (a->early.n && take_waiting(a, &a->early, e, &other)) freed(a, &other);
}

static void event(mt_logged_account *a, const mt_logged_event *e) {
    switch (e->op) {
    case MT_LOG_REALLOC_TO:
        a->reallocs += counts(a, e->thread); /* and */ /* fall through */
    case MT_LOG_ALLOC:
        allocated(a, e);
        break;
    case MT_LOG_FREE:
    case MT_LOG_REALLOC_FROM:
        freed(a, e);
        break;
    case MT_LOG_REALLOC_FAILED:
        a->failed += counts(a, e->thread);
        break;
    default:
        break;
    }
}

/* Closes the slice that is being filled: totals stand in it until they are subtracted. */
static void close_slice(mt_logged_account *a) {
    mt_logged_slice *s = &a->slice[a->now];
    s->live = a->count;
    s->live_bytes = a->bytes;
    s->allocated = a->allocated;
    s->freed = a->freed;
    s->temporary = a->temporary;
}

/* Slices up to the one of this time. */
static void reach(mt_logged_account *a, uint64_t time) {
    while (time >= a->slice_end && a->now + 1 < a->slices) {
        close_slice(a);
        a->slice[++a->now].most_bytes = a->bytes;
        a->slice_end += a->width;
    }
}

static void slice_event(mt_logged_account *a, const mt_logged_event *e) {
    if (e->time >= a->slice_end) reach(a, e->time);
    event(a, e);
    if (a->bytes > a->slice[a->now].most_bytes) a->slice[a->now].most_bytes = a->bytes;
}

static void finish_slices(mt_logged_account *a) {
    reach(a, UINT64_MAX);
    close_slice(a);
    for (uint32_t i = a->slices; i-- > 1;) {
        a->slice[i].allocated -= a->slice[i - 1].allocated;
        a->slice[i].freed -= a->slice[i - 1].freed;
        a->slice[i].temporary -= a->slice[i - 1].temporary;
    }
}

static void prepare(mt_logged_account *a, mt_logged_file *file,
                    const mt_logged_stacks *stacks) {
    mt_logged_live_open(&a->live);
    a->site = mt_out_need(calloc(stacks->count, sizeof *a->site));
    a->last = mt_out_need(calloc(stacks->threads.count, sizeof *a->last));
    a->begin = mt_logged_file_begin(file, stacks);
    a->end = mt_logged_file_end(file);
    if (a->end < a->begin) a->end = a->begin;
    uint64_t ns = mt_logged_file_ns(file, a->end) - mt_logged_file_ns(file, a->begin);
    a->apart =
        ns ? (uint64_t)((double)MT_LOG_APART_NS * (double)(a->end - a->begin) / (double)ns)
           : MT_LOG_APART_NS;
    if (a->slices == 0) return;
    a->slice = mt_out_need(calloc(a->slices, sizeof *a->slice));
    a->width = (a->end - a->begin) / a->slices + 1;
    a->slice_end = a->begin + a->width;
}

void mt_logged_account_run(mt_logged_account *a, mt_logged_file *file,
                           const mt_logged_stacks *stacks) {
    mt_logged_event events[BATCH + AHEAD];
    mt_logged_merge merge;
    prepare(a, file, stacks);
    for (uint32_t i = 0; i < AHEAD; i++) events[BATCH + i].address = 0;
    mt_logged_merge_open(&merge, file, stacks);
    for (uint32_t n; (n = mt_logged_merge_next(&merge, events, BATCH));) {
        for (uint32_t i = 0; i < AHEAD && i < n; i++)
            mt_logged_live_fetch(&a->live, events[i].address);
        for (uint32_t i = 0; i < n; i++) {
            mt_logged_live_fetch(&a->live, events[i + AHEAD].address);
            if (a->slice) slice_event(a, &events[i]);
            else event(a, &events[i]);
        }
    }
    settle(a, &a->early, UINT64_MAX);
    a->events = merge.events;
    a->before_damage = merge.before_damage;
    mt_logged_merge_close(&merge);
    for (uint32_t i = 0; i < stacks->count; i++) change(a, i);
    if (a->slice) finish_slices(a);
}

void mt_logged_account_close(mt_logged_account *a) {
    mt_logged_live_close(&a->live);
    free(a->site);
    free(a->last);
    free(a->slice);
}
