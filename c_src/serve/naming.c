/* naming: from addresses to names, once for a stack. */
#include "naming.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "name/demangle.h"
#include "record/tracer.h"

enum { NAME_ROOM = 4096, PLAIN_SLOTS = 4096, STACK_BYTES = 2 << 20 };

typedef struct {
    const char *symbol, *plain;
} plain_name;

typedef struct {
    mt_naming *naming;
    const mt_record *records;
    mt_named *named;
    plain_name *plain; /* demangled already, by the symbol's address; NULL: do not demangle */
    void (*guard)(int step);
    uint32_t n;
} job;

static const char *demangled(job *j, const char *symbol) {
    plain_name *slot = &j->plain[((uintptr_t)symbol * 0x9e3779b9u >> 8) % PLAIN_SLOTS];
    if (slot->symbol == symbol) return slot->plain;
    char out[NAME_ROOM];
    const char *plain = NULL;
    if (mt_demangle(symbol, out, sizeof out)) plain = mt_arena_string(&j->naming->arena, out);
    *slot = (plain_name){symbol, plain ? plain : symbol};
    return slot->plain;
}

/* A return address is the instruction after the call, which may be another function's. */
static mt_named_frame name_address(job *j, uintptr_t address) {
    mt_named_frame frame = {0};
    mt_object *object = mt_objects_find(&j->naming->objects, address - 1);
    if (!object) return frame;
    frame.library = object->path;
    frame.symbol = mt_objects_symbol(object, address - 1);
    if (frame.symbol && j->plain) frame.symbol = demangled(j, frame.symbol);
    return frame;
}

static void name_all(job *j) {
    for (uint32_t i = 0; i < j->n; i++) {
        uint64_t begin = mt_tracer_now();
        for (uint32_t f = 0; f < j->records[i].frames; f++)
            j->named[i].frame[f] = name_address(j, j->records[i].stack[f]);
        j->named[i].ns = mt_tracer_now() - begin;
    }
}

static void *large_stack(void *context) {
    job *j = context;
    j->guard(1);
    name_all(j);
    j->guard(-1);
    return NULL;
}

/* Signals stay with the threads that the program made for them. */
static int run_on_large_stack(job *j) {
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    if (pthread_attr_init(&attributes) != 0) return -1;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&thread, &attributes, large_stack, j);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (!failed) pthread_join(thread, NULL);
    return failed ? -1 : 0;
}

int mt_naming_run(mt_naming *naming, const mt_record *records, uint32_t n, bool demangle,
                  void (*guard)(int step), mt_named *named) {
    job j = {.naming = naming, .records = records, .named = named, .guard = guard, .n = n};
    guard(1);
    int failed = mt_objects_read(&naming->objects);
    if (!failed && demangle)
        j.plain = mt_arena_take(&naming->arena, PLAIN_SLOTS * sizeof(plain_name));
    if (!failed && (!j.plain || run_on_large_stack(&j) != 0)) {
        j.plain = NULL;
        name_all(&j);
    }
    guard(-1);
    return failed;
}

void mt_naming_empty(mt_naming *naming) {
    mt_objects_empty(&naming->objects);
    mt_arena_empty(&naming->arena);
}
