/* lookup: see the header. */
#include "lookup.h"

#include <stdlib.h>
#include <string.h>

#include "name/debug.h"
#include "name/demangle.h"
#include "name/symbols.h"
#include "record/tracer.h"

enum { NAME_ROOM = 4096, SYMBOL = 4, LINES_MAX = 32, AGAIN_S = 10 };

typedef struct mt_lookup_object {
    mt_object object;
    mt_symbols symbols;
    mt_debug *debug;
    bool asked_symbols, asked_debug;
} met;

static met *met_before(const mt_lookup *l, uint32_t number) {
    for (uint32_t i = 0; i < l->objects; i++)
        if (l->object[i]->object.number == number) return l->object[i];
    return NULL;
}

const mt_object *mt_lookup_meet(mt_lookup *l, const mt_object *object) {
    met *m = met_before(l, object->number);
    if (m) return &m->object;
    if (l->objects == l->object_room) {
        uint32_t room = l->object_room ? 2 * l->object_room : 64;
        met **more = mt_arena_take(l->meanwhile, room * sizeof *more);
        if (!more) return NULL;
        if (l->objects) memcpy(more, l->object, l->objects * sizeof *more);
        l->object = more;
        l->object_room = room;
    }
    m = mt_arena_take(l->meanwhile, sizeof *m);
    if (!m) return NULL;
    m->object = *object;
    m->object.path = mt_arena_string(l->found, object->path); /* names will refer to it */
    if (!m->object.path) return NULL;
    l->object[l->objects++] = m;
    return &m->object;
}

static const char *search_path(void) {
    return secure_getenv("MTRACE_DEBUG_PATH");
}

static const char *symbol_at(mt_lookup *l, met *m, uint64_t address) {
    if (!m->asked_symbols) {
        m->asked_symbols = true;
        mt_symbols_read_all(&m->symbols, m->object.path, &m->object.identity, search_path());
    }
    const char *symbol = mt_symbols_find(&m->symbols, address);
    return symbol ? mt_arena_string(l->found, symbol) : NULL;
}

/* The innermost frames become frames of their own; the last is the function that the symbol
 * names. */
static void find_lines(mt_lookup *l, mt_name *name, met *m, uint64_t address) {
    if (!m->asked_debug) {
        m->asked_debug = true;
        m->debug = mt_debug_open(m->object.path, &m->object.identity, search_path());
    }
    mt_line line[LINES_MAX];
    uint32_t n = m->debug ? mt_debug_lines(m->debug, address, line, LINES_MAX, l->found) : 0;
    mt_named_frame *frame = n ? mt_arena_take(l->found, n * sizeof *frame) : NULL;
    if (!frame) return;
    for (uint32_t i = 0; i < n; i++)
        frame[i] = (mt_named_frame){line[i].function, NULL, line[i].file, line[i].line,
                                    line[i].inlined};
    if (name->frame[0].symbol && !frame[n - 1].inlined)
        frame[n - 1].symbol = name->frame[0].symbol;
    name->frame = frame;
    name->frames = n;
}

static void find_erlang(mt_lookup *l, mt_name *name) {
    mt_erlang found;
    if (!l->asked_jit) {
        l->asked_jit = true;
        mt_jit_read(&l->jit);
    }
    if (!mt_jit_find(&l->jit, name->address - 1, &found)) return;
    name->erlang = true;
    name->frame[0] = (mt_named_frame){found.name, found.name, found.file, found.line, false};
}

static const char *plain(mt_arena *arena, const char *symbol) {
    char out[NAME_ROOM];
    const char *name = NULL;
    if (symbol && mt_demangle(symbol, out, sizeof out)) name = mt_arena_string(arena, out);
    return name ? name : symbol;
}

/* Frames that are found with the lines replace the symbol's, so lines come before plain names.
 */
void mt_lookup_name(mt_lookup *l, mt_name *name) {
    uint32_t now_s = (uint32_t)(mt_tracer_now() / 1000000000u) + 1;
    bool lacks =
        !name->frame[0].symbol || (name->known & MT_NAMES_LINES && !name->frame[0].file);
    if (lacks && now_s - name->tried_s >= AGAIN_S) name->known = 0;
    unsigned wanted = (l->what | SYMBOL) & ~name->known;
    if (!wanted) return;
    name->known |= wanted;
    name->tried_s = now_s;
    met *m = name->object ? met_before(l, name->object) : NULL;
    if (!m) {
        if (wanted & SYMBOL) find_erlang(l, name);
        return;
    }
    uint64_t address = name->address - 1 - m->object.base;
    if (wanted & SYMBOL) name->frame[0].symbol = symbol_at(l, m, address);
    if (wanted & MT_NAMES_LINES) find_lines(l, name, m, address);
    if (!(name->known & MT_NAMES_PLAIN)) return;
    for (uint32_t i = 0; i < name->frames; i++)
        if (!name->frame[i].plain)
            name->frame[i].plain = plain(l->found, name->frame[i].symbol);
}

void mt_lookup_close(mt_lookup *l) {
    for (uint32_t i = 0; i < l->objects; i++) {
        mt_symbols_free(&l->object[i]->symbols);
        mt_debug_close(l->object[i]->debug);
    }
    mt_jit_empty(&l->jit);
}
