/* naming: see the header. Two locks: that of the run, held while files are read, and that of
 * the objects, held for as long as the loader takes to list them; dlclose tries the second. */
#include "naming.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "name/debug.h"
#include "name/demangle.h"
#include "name/jit.h"
#include "name/objects.h"
#include "record/thread.h"
#include "record/tracer.h"

enum { NAME_ROOM = 4096, STACK_BYTES = 2 << 20, SYMBOL = 4, LINES_MAX = 32 };
enum { KEPT_BYTES = 8 << 20, TABLE_SLOTS = 8192, AGAIN_S = 10 };

/* An object that this run has met: a copy, for the list may change meanwhile. */
typedef struct {
    mt_object object;
    mt_symbols symbols;
    mt_debug *debug;
    bool asked_symbols, asked_debug;
} met;

/* Names by address and object: open addressing, at most half full. */
typedef struct {
    mt_name **slot;
    uint32_t slots, n;
} name_table;

static struct {
    pthread_mutex_t lock;
    mt_arena arena;
    name_table table;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct {
    pthread_mutex_t lock;
    mt_objects objects;
} loaded = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct {
    mt_arena arena; /* what is given back at the end */
    const mt_record *records;
    mt_named *named;
    uint32_t n;
    unsigned what;
    met **object; /* by the order of meeting */
    uint32_t objects, object_room;
    const mt_name **name;
    uint32_t names, name_room;
    name_table passing; /* names that are not kept */
    mt_jit jit;
    bool asked_jit;
} run;

static void quiet(int step) {
    mt_tls_mine.quiet = (uint16_t)(mt_tls_mine.quiet + step);
}

static mt_name **slot_of(const name_table *table, uintptr_t address, uint32_t object) {
    uint64_t h = (address ^ (uint64_t)object << 48) * 0x9e3779b97f4a7c15ull;
    for (uint32_t i = (uint32_t)(h >> 40);; i++) {
        mt_name **slot = &table->slot[i % table->slots];
        if (!*slot || ((*slot)->address == address && (*slot)->object == object)) return slot;
    }
}

static met *meet(const mt_object *object) {
    for (uint32_t i = 0; i < run.objects; i++)
        if (run.object[i]->object.number == object->number) return run.object[i];
    if (run.objects == run.object_room) {
        uint32_t room = run.object_room ? 2 * run.object_room : 64;
        met **more = mt_arena_take(&run.arena, room * sizeof *more);
        if (!more) return NULL;
        if (run.objects) memcpy(more, run.object, run.objects * sizeof *more);
        run.object = more;
        run.object_room = room;
    }
    met *m = mt_arena_take(&run.arena, sizeof *m);
    if (!m) return NULL;
    m->object = *object;
    m->object.path = mt_arena_string(&kept.arena, object->path); /* names will refer to it */
    if (!m->object.path) return NULL;
    return run.object[run.objects++] = m;
}

static void table_unmap(name_table *table) {
    mt_memory_unmap(table->slot, table->slots * sizeof *table->slot);
    *table = (name_table){0};
}

/* Room for one more. */
static bool table_grow(name_table *table) {
    if (table->n < table->slots / 2) return true;
    name_table more = {.slots = table->slots ? 2 * table->slots : TABLE_SLOTS, .n = table->n};
    more.slot = mt_memory_map(more.slots * sizeof *more.slot);
    if (!more.slot) return false;
    for (uint32_t i = 0; i < table->slots; i++)
        if (table->slot[i])
            *slot_of(&more, table->slot[i]->address, table->slot[i]->object) = table->slot[i];
    table_unmap(table);
    *table = more;
    return true;
}

static mt_name *add_name(name_table *table, mt_arena *arena, uintptr_t address,
                         const met *object) {
    if (!table_grow(table)) return NULL;
    mt_name **slot = slot_of(table, address, object ? object->object.number : 0);
    mt_name *name = *slot;
    if (name) return name;
    name = mt_arena_take(arena, sizeof *name);
    mt_named_frame *frame = name ? mt_arena_take(arena, sizeof *frame) : NULL;
    if (!frame) return NULL;
    *name = (mt_name){.address = address, .frames = 1, .index = UINT32_MAX, .frame = frame};
    if (object) {
        name->object = object->object.number;
        name->library = object->object.path;
        name->base = object->object.base;
    }
    table->n++;
    return *slot = name;
}

static bool list_name(mt_name *name) {
    if (name->index < run.names && run.name[name->index] == name) return true;
    if (run.names == run.name_room) {
        uint32_t room = run.name_room ? 2 * run.name_room : 1024;
        const mt_name **more = mt_arena_take(&run.arena, room * sizeof *more);
        if (!more) return false;
        if (run.names) memcpy(more, run.name, run.names * sizeof *more);
        run.name = more;
        run.name_room = room;
    }
    name->index = run.names;
    run.name[run.names++] = name;
    return true;
}

/* What is loaded after a picture must not hold chunks that seem older than it. */
static int read_objects(void) {
    uint64_t now = mt_tracer_now();
    int failed = mt_objects_read(&loaded.objects, now);
    mt_tracer_not_before(now);
    return failed;
}

/* The first pass: what lies where. A return address is the instruction after the call, which
 * may be another function's. */
static int resolve(void) {
    pthread_mutex_lock(&loaded.lock);
    int failed = read_objects();
    for (uint32_t i = 0; i < run.n && !failed; i++) {
        const mt_record *r = &run.records[i];
        for (uint32_t f = 0; f < r->frames && !failed; f++) {
            uintptr_t place = r->stack[f] - 1;
            const mt_object *object = mt_objects_find(&loaded.objects, place, r->chunk.born_ns);
            met *m = object ? meet(object) : NULL;
            mt_name *name = NULL;
            if (m) name = add_name(&kept.table, &kept.arena, r->stack[f], m);
            else if (!object) name = add_name(&run.passing, &run.arena, r->stack[f], NULL);
            failed = !name || !list_name(name);
            run.named[i].name[f] = name;
        }
    }
    pthread_mutex_unlock(&loaded.lock);
    return failed ? -1 : 0;
}

static met *met_of(const mt_name *name) {
    for (uint32_t i = 0; i < run.objects; i++)
        if (run.object[i]->object.number == name->object) return run.object[i];
    return NULL;
}

static const char *search_path(void) {
    return secure_getenv("MTRACE_DEBUG_PATH");
}

static const char *symbol_at(met *m, uint64_t address) {
    if (!m->asked_symbols) {
        m->asked_symbols = true;
        mt_symbols_read_all(&m->symbols, m->object.path, &m->object.identity, search_path());
    }
    const char *symbol = mt_symbols_find(&m->symbols, address);
    return symbol ? mt_arena_string(&kept.arena, symbol) : NULL;
}

/* The innermost frames become frames of their own; the last is the function that the symbol
 * names. */
static void find_lines(mt_name *name, met *m, uint64_t address) {
    if (!m->asked_debug) {
        m->asked_debug = true;
        m->debug = mt_debug_open(m->object.path, &m->object.identity, search_path());
    }
    mt_line line[LINES_MAX];
    uint32_t n = m->debug ? mt_debug_lines(m->debug, address, line, LINES_MAX, &kept.arena) : 0;
    mt_named_frame *frame = n ? mt_arena_take(&kept.arena, n * sizeof *frame) : NULL;
    if (!frame) return;
    for (uint32_t i = 0; i < n; i++)
        frame[i] = (mt_named_frame){line[i].function, NULL, line[i].file, line[i].line,
                                    line[i].inlined};
    if (name->frame[0].symbol && !frame[n - 1].inlined)
        frame[n - 1].symbol = name->frame[0].symbol;
    name->frame = frame;
    name->frames = n;
}

static void find_erlang(mt_name *name) {
    mt_erlang found;
    if (!run.asked_jit) {
        run.asked_jit = true;
        mt_jit_read(&run.jit);
    }
    if (!mt_jit_find(&run.jit, name->address - 1, &found)) return;
    name->erlang = true;
    name->frame[0] = (mt_named_frame){found.name, found.name, found.file, found.line, false};
}

static const char *plain(mt_arena *arena, const char *symbol) {
    char out[NAME_ROOM];
    const char *name = NULL;
    if (symbol && mt_demangle(symbol, out, sizeof out)) name = mt_arena_string(arena, out);
    return name ? name : symbol;
}

/* The second pass: what is not known yet, or was not found some time ago: there may have been
 * no descriptor to open its file with, or its debug file may have been installed since. Frames
 * that were found with the lines replace the symbol's, so lines come before plain names. */
static void find(mt_name *name) {
    uint32_t now_s = (uint32_t)(mt_tracer_now() / 1000000000u) + 1;
    bool lacks =
        !name->frame[0].symbol || (name->known & MT_NAMES_LINES && !name->frame[0].file);
    if (lacks && now_s - name->tried_s >= AGAIN_S) name->known = 0;
    unsigned wanted = (run.what | SYMBOL) & ~name->known;
    if (!wanted) return;
    name->known |= wanted;
    name->tried_s = now_s;
    met *m = name->object ? met_of(name) : NULL;
    if (!m) {
        if (wanted & SYMBOL) find_erlang(name);
        return;
    }
    uint64_t address = name->address - 1 - m->object.base;
    if (wanted & SYMBOL) name->frame[0].symbol = symbol_at(m, address);
    if (wanted & MT_NAMES_LINES) find_lines(name, m, address);
    if (!(name->known & MT_NAMES_PLAIN)) return;
    for (uint32_t i = 0; i < name->frames; i++)
        if (!name->frame[i].plain)
            name->frame[i].plain = plain(&kept.arena, name->frame[i].symbol);
}

static void *find_all(void *unused) {
    quiet(1);
    for (uint32_t i = 0; i < run.n; i++) {
        uint64_t begin = mt_tracer_now();
        for (uint32_t f = 0; f < run.records[i].frames; f++)
            find((mt_name *)run.named[i].name[f]);
        run.named[i].ns = mt_tracer_now() - begin;
    }
    quiet(-1);
    return unused;
}

/* Signals stay with the threads that the program made for them. */
static int on_large_stack(void *(*f)(void *)) {
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    if (pthread_attr_init(&attributes) != 0) return -1;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&thread, &attributes, f, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (!failed) pthread_join(thread, NULL);
    return failed ? -1 : 0;
}

/* Where there is no thread to be had: what needs little stack. */
static void find_on_some_stack(void) {
    if (on_large_stack(find_all) == 0) return;
    run.what = 0;
    find_all(NULL);
}

static void empty_if_large(void) {
    if (kept.arena.bytes <= KEPT_BYTES) return;
    table_unmap(&kept.table);
    mt_arena_empty(&kept.arena);
}

int mt_naming_begin(const mt_record *records, uint32_t n, unsigned what, mt_named *named,
                    const mt_name *const **names, uint32_t *count) {
    pthread_mutex_lock(&kept.lock);
    quiet(1);
    empty_if_large();
    run.records = records;
    run.n = n;
    run.what = what;
    run.named = named;
    int failed = resolve();
    if (!failed) find_on_some_stack();
    if (names) *names = run.name;
    if (count) *count = run.names;
    quiet(-1);
    if (failed) mt_naming_end();
    return failed;
}

void mt_naming_end(void) {
    quiet(1);
    for (uint32_t i = 0; i < run.objects; i++) {
        mt_symbols_free(&run.object[i]->symbols);
        mt_debug_close(run.object[i]->debug);
    }
    mt_jit_empty(&run.jit);
    table_unmap(&run.passing);
    mt_arena_empty(&run.arena);
    memset(&run, 0, sizeof run);
    quiet(-1);
    pthread_mutex_unlock(&kept.lock);
}

const char *mt_naming_lacks(void) {
    const char *why = NULL;
    quiet(1);
    mt_debug_available(&why);
    quiet(-1);
    return why;
}

uint64_t mt_naming_bytes(void) {
    pthread_mutex_lock(&kept.lock);
    uint64_t bytes = kept.arena.bytes + kept.table.slots * sizeof *kept.table.slot;
    pthread_mutex_unlock(&kept.lock);
    pthread_mutex_lock(&loaded.lock);
    bytes += loaded.objects.arena.bytes + loaded.objects.code_room * sizeof(mt_code);
    pthread_mutex_unlock(&loaded.lock);
    return bytes;
}

void mt_naming_unloading(void) {
    if (pthread_mutex_trylock(&loaded.lock) != 0) return;
    read_objects();
    pthread_mutex_unlock(&loaded.lock);
}
