/* naming: see the header. Two locks: that of the run, held while files are read, and that of
 * the objects, held for as long as the loader takes to list them; dlclose tries the second. */
#include "naming.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "lookup.h"
#include "name/debug.h"
#include "name_table.h"
#include "record/thread.h"
#include "record/tracer.h"

enum { STACK_BYTES = 2 << 20, KEPT_BYTES = 8 << 20 };

static struct {
    pthread_mutex_t lock;
    mt_arena arena;
    mt_name_table table;
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
    const mt_name **name;
    uint32_t names, name_room;
    mt_name_table passing; /* names that are not kept */
    mt_lookup lookup;
} run;

static void quiet(int step) {
    mt_tls_mine.quiet = (uint16_t)(mt_tls_mine.quiet + step);
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
            const mt_object *met = object ? mt_lookup_meet(&run.lookup, object) : NULL;
            mt_name *name = NULL;
            if (met) name = mt_name_table_get(&kept.table, &kept.arena, r->stack[f], met);
            else if (!object)
                name = mt_name_table_get(&run.passing, &run.arena, r->stack[f], NULL);
            failed = !name || !list_name(name);
            run.named[i].name[f] = name;
        }
    }
    pthread_mutex_unlock(&loaded.lock);
    return failed ? -1 : 0;
}

/* The second pass: what the places are called. */
static void *find_all(void *unused) {
    quiet(1);
    for (uint32_t i = 0; i < run.n; i++) {
        uint64_t begin = mt_tracer_now();
        for (uint32_t f = 0; f < run.records[i].frames; f++)
            mt_lookup_name(&run.lookup, (mt_name *)run.named[i].name[f]);
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
    run.lookup.what = 0;
    find_all(NULL);
}

static void empty_if_large(void) {
    if (kept.arena.bytes <= KEPT_BYTES) return;
    mt_name_table_unmap(&kept.table);
    mt_arena_empty(&kept.arena);
}

int mt_naming_begin(const mt_record *records, uint32_t n, unsigned what, mt_named *named,
                    const mt_name *const **names, uint32_t *count) {
    pthread_mutex_lock(&kept.lock);
    quiet(1);
    empty_if_large();
    run.records = records;
    run.n = n;
    run.lookup = (mt_lookup){.what = what, .found = &kept.arena, .meanwhile = &run.arena};
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
    mt_lookup_close(&run.lookup);
    mt_name_table_unmap(&run.passing);
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
