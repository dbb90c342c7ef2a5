/* log_stacks: definitions, out of blocks of any bytes. */
#include "stacks.h"

#include <stdlib.h>
#include <string.h>

#include "out.h"

static void add_stack(mt_logged_stacks *s, const uint64_t *words, uint32_t n);

void mt_logged_stacks_open(mt_logged_stacks *stacks) {
    *stacks = (mt_logged_stacks){.cells = 1024};
    stacks->alike = mt_out_need(calloc(stacks->cells, sizeof *stacks->alike));
    add_stack(stacks, NULL, 0);
}

void mt_logged_stacks_close(mt_logged_stacks *stacks) {
    for (uint32_t i = 0; i < stacks->objects; i++) {
        free(stacks->object[i].path);
        free(stacks->object[i].build_id);
    }
    for (uint32_t i = 0; i < stacks->threads.count; i++) free(stacks->thread[i].name);
    free(stacks->stack);
    free(stacks->words);
    free(stacks->number);
    free(stacks->quick);
    free(stacks->alike);
    free(stacks->object);
    free(stacks->gone);
    free(stacks->thread);
    free(stacks->command);
    mt_logged_ids_close(&stacks->ids);
    mt_logged_ids_close(&stacks->threads);
}

/* Where the stack with these addresses has its number, or an empty place for it. */
static uint32_t *alike(const mt_logged_stacks *s, const uint64_t *words, uint32_t n) {
    uint64_t hash = n;
    for (uint32_t i = 0; i < n; i++) hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15ull;
    for (uint32_t at = (uint32_t)(hash >> 32);; at++) {
        uint32_t *cell = &s->alike[at & (s->cells - 1)];
        if (!*cell) return cell;
        const mt_logged_stack *stack = &s->stack[*cell - 1];
        if (stack->frames == n && memcmp(s->words + stack->at, words, n * sizeof *words) == 0)
            return cell;
    }
}

static void add_stack(mt_logged_stacks *s, const uint64_t *words, uint32_t n) {
    s->stack = mt_out_grow(s->stack, s->count, &s->stack_room, sizeof *s->stack);
    while (s->words_room - s->words_used < n || !s->words)
        s->words = mt_out_grow(s->words, s->words_room, &s->words_room, sizeof *s->words);
    if (n) memcpy(s->words + s->words_used, words, n * sizeof *words);
    s->stack[s->count++] = (mt_logged_stack){.at = s->words_used, .frames = n};
    s->words_used += n;
}

static void more_cells(mt_logged_stacks *s) {
    free(s->alike);
    s->cells *= 2;
    s->alike = mt_out_need(calloc(s->cells, sizeof *s->alike));
    for (uint32_t i = 1; i < s->count; i++)
        *alike(s, s->words + s->stack[i].at, s->stack[i].frames) = i + 1;
}

static bool stack(mt_logged_stacks *s, uint32_t id, const uint64_t *words, uint32_t n) {
    if (id == 0 || n == 0) return id != 0;
    uint32_t before = s->ids.count, index = mt_logged_ids_add(&s->ids, id);
    if (index < before) return true;
    if (s->count >= s->cells / 2) more_cells(s);
    uint32_t *cell = alike(s, words, n);
    if (!*cell) {
        add_stack(s, words, n);
        *cell = s->count;
    }
    s->number = mt_out_grow(s->number, index, &s->number_room, sizeof *s->number);
    s->number[index] = *cell - 1;
    return true;
}

/* A copy of the text in n words; it ends where they end at the latest. */
static char *text(const uint64_t *words, uint32_t n) {
    return mt_out_need(strndup((const char *)words, n * sizeof *words));
}

static bool object(mt_logged_stacks *s, const uint64_t *w, uint32_t n) {
    if (n < 5 || w[4] > (n - 5) * sizeof *w || w[4] > UINT16_MAX) return false;
    if (s->objects == MT_LOG_OBJECTS) return s->left_out++, true;
    uint32_t id_words = (uint32_t)((w[4] + 7) / 8);
    s->object = mt_out_grow(s->object, s->objects, &s->object_room, sizeof *s->object);
    mt_logged_object *o = &s->object[s->objects++];
    *o = (mt_logged_object){w[0], w[1], w[2], w[3], .build_id_bytes = (uint32_t)w[4]};
    o->build_id = mt_out_need(malloc(w[4] + 1));
    memcpy(o->build_id, w + 5, w[4]);
    o->path = text(w + 5 + id_words, n - 5 - id_words);
    return true;
}

static bool gone(mt_logged_stacks *s, const uint64_t *w, uint32_t n) {
    if (n < 3) return false;
    if (s->gones == MT_LOG_OBJECTS) return s->left_out++, true;
    s->gone = mt_out_grow(s->gone, s->gones, &s->gone_room, sizeof *s->gone);
    s->gone[s->gones++] = (struct mt_logged_gone){w[0], w[1], w[2]};
    return true;
}

static bool start(mt_logged_stacks *s, const uint64_t *w, uint32_t n) {
    uint32_t words = sizeof s->start / sizeof *w;
    if (n < words) return false;
    if (s->has_start) return true;
    memcpy(&s->start, w, sizeof s->start);
    uint64_t bytes = (n - words) * sizeof *w;
    s->command = mt_out_need(calloc(1, bytes + 1));
    memcpy(s->command, w + words, bytes);
    while (bytes && s->command[bytes - 1] == 0) bytes--;
    s->command_bytes = bytes;
    s->has_start = true;
    return s->start.tick_shift < 32;
}

uint32_t mt_logged_stacks_thread(mt_logged_stacks *s, uint32_t id) {
    uint32_t before = s->threads.count, number = mt_logged_ids_add(&s->threads, id);
    if (number < before) return number;
    s->thread = mt_out_grow(s->thread, number, &s->thread_room, sizeof *s->thread);
    s->thread[number] = (mt_logged_thread){0};
    return number;
}

static bool thread(mt_logged_stacks *s, uint32_t id, const uint64_t *w, uint32_t n) {
    if (n < 1) return false;
    uint32_t number = mt_logged_stacks_thread(s, id);
    mt_logged_thread *t = &s->thread[number];
    free(t->name);
    *t = (mt_logged_thread){w[0], text(w + 1, n - 1)};
    return true;
}

static bool definition(mt_logged_stacks *s, mt_log_def def, const uint64_t *w) {
    uint32_t n = def.words - 1;
    switch (def.kind) {
    case MT_LOG_DEF_STACK:
        return stack(s, def.id, w, n);
    case MT_LOG_DEF_OBJECT:
        return object(s, w, n);
    case MT_LOG_DEF_GONE:
        return gone(s, w, n);
    case MT_LOG_DEF_START:
        return start(s, w, n);
    case MT_LOG_DEF_THREAD:
        return thread(s, def.id, w, n);
    case MT_LOG_DEF_END:
        if (n < 1) return false;
        s->has_end = true;
        s->ending = def.id;
        s->dropped = w[0];
        return true;
    default:
        return false;
    }
}

bool mt_logged_stacks_read(mt_logged_stacks *stacks, const uint64_t *words, uint32_t count) {
    bool good = true;
    for (uint32_t at = 0; at < count;) {
        mt_log_def def;
        memcpy(&def, words + at, sizeof def);
        if (def.words == 0 || def.words > count - at) return false;
        good &= definition(stacks, def, words + at + 1);
        at += def.words;
    }
    return good;
}

static int earlier_object(const void *a, const void *b) {
    uint64_t x = ((const mt_logged_object *)a)->since, y = ((const mt_logged_object *)b)->since;
    return x < y ? -1 : x > y;
}

static int earlier_gone(const void *a, const void *b) {
    uint64_t x = ((const struct mt_logged_gone *)a)->ticks;
    uint64_t y = ((const struct mt_logged_gone *)b)->ticks;
    return x < y ? -1 : x > y;
}

/* When what was mapped was found to be gone: names.h does the rest. */
static void end_objects(mt_logged_stacks *s) {
    if (s->objects) qsort(s->object, s->objects, sizeof *s->object, earlier_object);
    if (s->gones) qsort(s->gone, s->gones, sizeof *s->gone, earlier_gone);
    for (uint32_t i = 0; i < s->objects; i++) {
        mt_logged_object *o = &s->object[i];
        for (uint32_t g = 0; g < s->gones && !o->until; g++)
            if (s->gone[g].lo < o->hi && o->lo < s->gone[g].hi && s->gone[g].ticks >= o->since)
                o->until = s->gone[g].ticks;
    }
}

void mt_logged_stacks_ready(mt_logged_stacks *s) {
    free(s->alike);
    s->alike = NULL;
    end_objects(s);
    uint32_t most = 0;
    for (uint32_t i = 0; i < s->ids.cells; i++)
        if (s->ids.cell[i].index && s->ids.cell[i].id > most) most = s->ids.cell[i].id;
    if (most / 64 > s->ids.count + 1024) return;
    s->direct = most + 1;
    s->quick = mt_out_need(calloc(s->direct, sizeof *s->quick));
    for (uint32_t i = 0; i < s->ids.cells; i++)
        if (s->ids.cell[i].index)
            s->quick[s->ids.cell[i].id] = s->number[s->ids.cell[i].index - 1];
}
