/* log_made: writes event logs by their format's header alone, for tests and measurements of
 * what reads them. In memory; the caller writes the bytes to a file. */
#ifndef LOG_MADE_H
#define LOG_MADE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record/log_format.h"

enum { MADE_THREADS = 64, MADE_WORDS = MT_LOG_BLOCK_MAX / 8 };

typedef struct made_block {
    uint64_t *events, *defs;
    uint32_t n, d, sequence, dropped;
    uint64_t begin, last; /* ticks */
} made_block;

typedef struct log_made {
    char *bytes;
    size_t used, room;
    made_block block[MADE_THREADS];
    uint32_t generation, shift, full; /* full: words of events that make a block */
    uint64_t events;
    FILE *to; /* NULL: it stays in memory */
} log_made;

static inline void made_open(log_made *m, uint32_t shift, uint32_t full) {
    *m = (log_made){.shift = shift, .full = full};
    for (int t = 0; t < MADE_THREADS; t++) m->block[t].begin = UINT64_MAX;
}

static inline void made_close(log_made *m) {
    for (int t = 0; t < MADE_THREADS; t++) {
        free(m->block[t].events);
        free(m->block[t].defs);
    }
    free(m->bytes);
}

static inline void made_bytes(log_made *m, const void *bytes, size_t n) {
    if (m->to) {
        fwrite(bytes, 1, n, m->to);
        return;
    }
    if (m->used + n > m->room) m->bytes = realloc(m->bytes, m->room = 2 * (m->room + n));
    memcpy(m->bytes + m->used, bytes, n);
    m->used += n;
}

static inline made_block *made_ready(log_made *m, uint32_t t) {
    made_block *b = &m->block[t];
    if (b->events) return b;
    b->events = malloc(MADE_WORDS * 8);
    b->defs = malloc(MADE_WORDS * 8);
    return b;
}

static inline void made_flush(log_made *m, uint32_t t, uint64_t now) {
    made_block *b = made_ready(m, t);
    if (b->n == 0 && b->d == 0) return;
    memcpy(b->events + b->n, b->defs, b->d * 8);
    size_t body = 8 * (size_t)(b->n + b->d);
    mt_log_block head = {.magic = MT_LOG_MAGIC,
                         .version = MT_LOG_VERSION,
                         .bytes = (uint32_t)(sizeof head + body),
                         .event_bytes = 8 * b->n,
                         .generation = m->generation,
                         .thread = t,
                         .sequence = b->sequence++,
                         .begin_ticks = b->begin == UINT64_MAX ? now : b->begin,
                         .end_ticks = now,
                         .end_ns = now,
                         .checksum = mt_log_checksum(b->events, body),
                         .dropped = b->dropped};
    made_bytes(m, &head, sizeof head);
    made_bytes(m, b->events, body);
    b->n = b->d = b->dropped = 0;
    b->begin = UINT64_MAX;
}

static inline void made_def(log_made *m, uint32_t t, mt_log_kind kind, uint32_t id,
                            const uint64_t *words, uint32_t n, const char *text,
                            size_t text_bytes) {
    made_block *b = made_ready(m, t);
    uint32_t text_words = (uint32_t)((text_bytes + 7) / 8);
    mt_log_def def = {.kind = kind, .words = 1 + n + text_words, .id = id};
    memset(b->defs + b->d, 0, 8 * (size_t)def.words);
    memcpy(b->defs + b->d, &def, 8);
    if (n) memcpy(b->defs + b->d + 1, words, 8 * n);
    if (text_bytes) memcpy(b->defs + b->d + 1 + n, text, text_bytes);
    b->d += def.words;
}

static inline void made_start(log_made *m, uint32_t t, const mt_log_start *start,
                              const char *command, size_t bytes) {
    uint64_t words[sizeof *start / 8];
    memcpy(words, start, sizeof *start);
    made_def(m, t, MT_LOG_DEF_START, 0, words, sizeof *start / 8, command, bytes);
}

static inline void made_thread(log_made *m, uint32_t t, uint64_t tid, const char *name) {
    made_def(m, t, MT_LOG_DEF_THREAD, t, &tid, 1, name, strlen(name) + 1);
}

static inline void made_stack(log_made *m, uint32_t t, uint32_t id, const uint64_t *addresses,
                              uint32_t n) {
    made_def(m, t, MT_LOG_DEF_STACK, id, addresses, n, NULL, 0);
}

static inline void made_object(log_made *m, uint32_t t, uint64_t lo, uint64_t hi, uint64_t base,
                               uint64_t since, const char *path) {
    uint64_t words[] = {lo, hi, base, since, 0};
    made_def(m, t, MT_LOG_DEF_OBJECT, 0, words, 5, path, strlen(path) + 1);
}

static inline void made_end(log_made *m, uint32_t t, mt_log_ending ending, uint64_t dropped) {
    made_def(m, t, MT_LOG_DEF_END, ending, &dropped, 1, NULL, 0);
}

static inline void made_event(log_made *m, uint32_t t, mt_log_op op, uint64_t time,
                              uint64_t address, uint64_t size, uint32_t stack) {
    made_block *b = made_ready(m, t);
    if (b->n >= m->full || b->n + b->d + 8 >= MADE_WORDS - 8) made_flush(m, t, b->last);
    if (b->begin == UINT64_MAX) b->begin = b->last = time;
    uint64_t delta = (time >> m->shift) - (b->last >> m->shift);
    if (delta >> MT_LOG_DELTA_BITS) {
        b->events[b->n++] = delta << 4 | MT_LOG_TIME;
        delta = 0;
    }
    b->last = time;
    if (size >> 32) op++;
    b->events[b->n++] = address >> 3 << MT_LOG_ADDRESS_SHIFT | delta << 4 | op;
    if (op != MT_LOG_REALLOC_FROM)
        b->events[b->n++] = (uint64_t)stack << 32 | (size >> 32 ? 0 : size);
    if (size >> 32) b->events[b->n++] = size;
    m->events++;
}

#endif
