/* log_merge: one decoder a thread, and the heap over them. */
#include "merge.h"

#include <stdlib.h>

#include "out.h"

struct mt_logged_stream {
    uint64_t time;  /* of the next event, in units of the clock: what the heap is ordered by */
    uint64_t limit; /* no event of this block is later */
    const uint64_t *at, *end; /* the next event, all of it; the block's end */
    uint64_t *words;
    size_t room;
    uint32_t thread, part; /* part: the next one to be loaded, MT_LOG_NO_ID: none */
    bool waits;            /* its next block has not been loaded: time is when that begins */
    bool ended;
    bool damaged_before; /* the block stands behind the first damaged place */
    uint64_t from;       /* the chunk that a realloc was called with */
};

/* Words of an event, by its op. */
static const uint8_t words_of[16] = {1, 2, 3, 2, 1, 2, 3, 2, 1};

/* Puts the time to where the next part begins, or ends the stream. */
static void wait_for_next(const mt_logged_merge *merge, mt_logged_stream *s) {
    s->waits = s->part != MT_LOG_NO_ID;
    s->ended = !s->waits;
    if (!s->waits) {
        free(s->words);
        s->words = NULL;
        return;
    }
    uint64_t begin = merge->file->part[s->part].begin_ticks >> merge->shift;
    if (begin > s->time) s->time = begin;
}

/* Goes to the next event of this block. False: there is none. */
static bool find_event(mt_logged_merge *merge, mt_logged_stream *s) {
    for (; s->at < s->end; s->at++) {
        unsigned op = *s->at & 15;
        if (op == MT_LOG_PAD) continue;
        uint64_t more =
            op == MT_LOG_TIME ? *s->at >> 4 : *s->at >> 4 & ((1u << MT_LOG_DELTA_BITS) - 1);
        s->time = more > s->limit - s->time ? s->limit : s->time + more;
        if (op == MT_LOG_TIME) continue;
        if (op > MT_LOG_TIME || words_of[op] > s->end - s->at) break;
        merge->events++;
        merge->before_damage += !s->damaged_before;
        return true;
    }
    if (s->at < s->end) merge->file->strange++;
    s->at = s->end;
    return false;
}

/* Loads the part that the stream waits for, and those behind it that have no event. */
static void load(mt_logged_merge *merge, mt_logged_stream *s) {
    mt_logged_file *file = merge->file;
    while (s->waits) {
        const mt_logged_part *part = &file->part[s->part];
        s->part = part->next ? part->next : MT_LOG_NO_ID;
        if (part->bytes > s->room) {
            free(s->words);
            s->words = mt_out_need(malloc(part->bytes));
            s->room = part->bytes;
        }
        bool there = mt_logged_file_read(file, part, s->words) == 0;
        s->at = s->words;
        s->end = s->words + (there ? part->event_bytes / 8 : 0);
        s->limit = part->end_ticks >> merge->shift;
        if (s->limit < s->time) s->limit = s->time;
        s->damaged_before = file->damaged && part->offset > file->damaged_at;
        s->waits = false;
        if (!find_event(merge, s)) wait_for_next(merge, s);
    }
}

static void advance(mt_logged_merge *merge, mt_logged_stream *s) {
    s->at += words_of[*s->at & 15];
    if (!find_event(merge, s)) wait_for_next(merge, s);
}

/* What the next event of a thread will be once its block is there. */
static mt_log_op next_op(mt_logged_merge *merge, mt_logged_stream *s) {
    load(merge, s);
    return s->ended ? MT_LOG_PAD : (mt_log_op)(*s->at & 15);
}

/* Takes the next event of a stream that has one. False: it is nothing that a reader meets. */
static bool decode(mt_logged_merge *merge, mt_logged_stream *s, mt_logged_event *e) {
    const uint64_t *w = s->at;
    *e = (mt_logged_event){.time = s->time << merge->shift,
                           .address = w[0] >> MT_LOG_ADDRESS_SHIFT << 3,
                           .thread = s->thread,
                           .op = (mt_log_op)(w[0] & 15)};
    unsigned words = words_of[e->op];
    if (words > 1) {
        e->size = (uint32_t)w[1];
        uint32_t id = (uint32_t)(w[1] >> 32);
        if (id) e->stack = mt_logged_stacks_number(merge->stacks, id);
    }
    if (words > 2) {
        e->size = w[2];
        e->op--;
    }
    advance(merge, s);
    if (e->op == MT_LOG_REALLOC_FROM) {
        s->from = e->address;
        mt_log_op next = next_op(merge, s);
        if (next == MT_LOG_REALLOC_FAILED || s->ended) return false;
        if (next != MT_LOG_REALLOC_TO && next != MT_LOG_REALLOC_TO_LARGE) e->op = MT_LOG_FREE;
    } else {
        if (e->op == MT_LOG_REALLOC_TO) e->from = s->from;
        s->from = 0;
    }
    return e->address != 0;
}

static void sift(mt_logged_merge *merge, uint32_t at) {
    const mt_logged_stream *stream = merge->stream;
    uint32_t *heap = merge->heap, moving = heap[at];
    for (uint32_t child; (child = 2 * at + 1) < merge->size; at = child) {
        if (child + 1 < merge->size && stream[heap[child + 1]].time < stream[heap[child]].time)
            child++;
        if (stream[heap[child]].time >= stream[moving].time) break;
        heap[at] = heap[child];
    }
    heap[at] = moving;
}

void mt_logged_merge_open(mt_logged_merge *merge, mt_logged_file *file,
                          const mt_logged_stacks *stacks) {
    uint32_t threads = stacks->threads.count;
    *merge = (mt_logged_merge){.file = file, .stacks = stacks};
    merge->shift = stacks->start.tick_shift & 31;
    merge->stream = mt_out_need(calloc(threads, sizeof *merge->stream));
    merge->heap = mt_out_need(calloc(threads, sizeof *merge->heap));
    for (uint32_t t = 0; t < threads; t++) {
        mt_logged_stream *s = &merge->stream[t];
        s->thread = t;
        s->part = t < file->threads_room ? file->first[t] : MT_LOG_NO_ID;
        wait_for_next(merge, s);
        if (!s->ended) merge->heap[merge->size++] = t;
    }
    for (uint32_t i = merge->size / 2; i-- > 0;) sift(merge, i);
}

/* Until when the first stream stays first: the earliest time of any other. */
static uint64_t turn(const mt_logged_merge *merge) {
    uint64_t until = UINT64_MAX;
    for (uint32_t i = 1; i < 3 && i < merge->size; i++) {
        uint64_t time = merge->stream[merge->heap[i]].time;
        if (time < until) until = time;
    }
    return until;
}

uint32_t mt_logged_merge_next(mt_logged_merge *merge, mt_logged_event *events, uint32_t room) {
    uint32_t n = 0;
    while (n < room && merge->size) {
        mt_logged_stream *s = &merge->stream[merge->heap[0]];
        uint64_t until = turn(merge);
        if (s->waits) load(merge, s);
        while (n < room && !s->ended && !s->waits && s->time <= until)
            n += decode(merge, s, &events[n]);
        if (s->ended) merge->heap[0] = merge->heap[--merge->size];
        if (merge->size) sift(merge, 0);
    }
    return n;
}

void mt_logged_merge_close(mt_logged_merge *merge) {
    uint32_t threads = merge->stacks->threads.count;
    for (uint32_t t = 0; t < threads; t++) free(merge->stream[t].words);
    free(merge->stream);
    free(merge->heap);
}
