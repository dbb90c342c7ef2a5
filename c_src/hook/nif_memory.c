/* nif_memory: see the header. */
#include "nif_memory.h"

#include <stddef.h>
#include <stdint.h>

#include "beam.h"
#include "nif_resources.h"
#include "nif_tables.h"
#include "record/tracer.h"

/* A thread's credit covers nearly all: then it is counted, and that is all. */
static bool draws(mt_count which, size_t size, mt_draw *draw) {
    mt_thread *block = mt_tls_mine.block;
    if (!mt_tls_mine.quiet && block && mt_sampler_passes(&block->credit, size)) {
        mt_thread_bump(block, which);
        return false;
    }
    return mt_tracer_draws(which, size, draw);
}

/* An expression of the VM's, with what it allocates meanwhile kept out of the sampling. */
#define INNER(statement)                                                                       \
    do {                                                                                       \
        mt_inner inner = mt_tracer_enter_allocator();                                          \
        statement;                                                                             \
        mt_tracer_leave_allocator(inner);                                                      \
    } while (0)

#define RECORD(p, size, draw, hook)                                                            \
    mt_tracer_record(p, size, draw, (void *)hook, MT_WALK_FROM_CALLER)

#define HOOK static __attribute__((noinline))

/* Functions that return the chunk itself. */
#define ALLOCATES(name, type, size_type)                                                       \
    HOOK type *hook_##name(size_type size) {                                                   \
        mt_draw draw;                                                                          \
        type *p;                                                                               \
        if (!mt_tracer_on()) return name(size);                                                \
        bool drawn = draws(MT_COUNT_##name, size, &draw);                                      \
        INNER(p = name(size));                                                                 \
        if (drawn) RECORD(p, size, &draw, hook_##name);                                        \
        return p;                                                                              \
    }

/* Forgets the old chunk first: its address may be another thread's before realloc returns. */
#define REALLOCATES(name, type, size_type)                                                     \
    HOOK type *hook_##name(type *old, size_type size) {                                        \
        mt_draw draw;                                                                          \
        mt_held held;                                                                          \
        type *p;                                                                               \
        if (!mt_tracer_on()) return name(old, size);                                           \
        mt_tracer_hold(old, &held);                                                            \
        bool drawn = draws(MT_COUNT_##name, size, &draw);                                      \
        INNER(p = name(old, size));                                                            \
        if (!p && size) mt_tracer_restore(&held);                                              \
        else mt_tracer_release(&held);                                                         \
        if (drawn) RECORD(p, size, &draw, hook_##name);                                        \
        return p;                                                                              \
    }

#define FREES(name, type)                                                                      \
    HOOK void hook_##name(type *p) {                                                           \
        if (!mt_tracer_on()) return name(p);                                                   \
        if (p) {                                                                               \
            mt_thread_count(MT_COUNT_##name);                                                  \
            mt_tracer_forget(p);                                                               \
        }                                                                                      \
        INNER(name(p));                                                                        \
    }

ALLOCATES(enif_alloc, void, size_t)
REALLOCATES(enif_realloc, void, size_t)
FREES(enif_free, void)
ALLOCATES(driver_alloc, void, ErlDrvSizeT)
REALLOCATES(driver_realloc, void, ErlDrvSizeT)
FREES(driver_free, void)
ALLOCATES(driver_alloc_binary, ErlDrvBinary, ErlDrvSizeT)
REALLOCATES(driver_realloc_binary, ErlDrvBinary, ErlDrvSizeT)
FREES(driver_free_binary, ErlDrvBinary)
FREES(enif_free_env, ErlNifEnv)

HOOK ErlNifEnv *hook_enif_alloc_env(void) {
    mt_draw draw;
    ErlNifEnv *env;
    if (!mt_tracer_on()) return enif_alloc_env();
    bool drawn = draws(MT_COUNT_enif_alloc_env, MT_ENV_BYTES, &draw);
    INNER(env = enif_alloc_env());
    if (drawn) RECORD(env, MT_ENV_BYTES, &draw, hook_enif_alloc_env);
    return env;
}

HOOK int hook_enif_alloc_binary(size_t size, ErlNifBinary *binary) {
    mt_draw draw;
    int made;
    if (!mt_tracer_on()) return enif_alloc_binary(size, binary);
    bool drawn = draws(MT_COUNT_enif_alloc_binary, size, &draw);
    INNER(made = enif_alloc_binary(size, binary));
    if (drawn) RECORD(made ? binary->data : NULL, size, &draw, hook_enif_alloc_binary);
    return made;
}

/* Of one that was only inspected it makes a copy. */
HOOK int hook_enif_realloc_binary(ErlNifBinary *binary, size_t size) {
    mt_draw draw;
    mt_held held;
    int made;
    if (!mt_tracer_on()) return enif_realloc_binary(binary, size);
    mt_tracer_hold(binary->data, &held);
    bool drawn = draws(MT_COUNT_enif_realloc_binary, size, &draw);
    INNER(made = enif_realloc_binary(binary, size));
    if (made) mt_tracer_release(&held);
    else mt_tracer_restore(&held);
    if (drawn) RECORD(made ? binary->data : NULL, size, &draw, hook_enif_realloc_binary);
    return made;
}

/* How large it gets is known afterwards: it is drawn then, and like any other. */
HOOK int hook_enif_term_to_binary(ErlNifEnv *env, ERL_NIF_TERM term, ErlNifBinary *binary) {
    mt_draw draw;
    int made;
    if (!mt_tracer_on()) return enif_term_to_binary(env, term, binary);
    INNER(made = enif_term_to_binary(env, term, binary));
    if (made && draws(MT_COUNT_enif_term_to_binary, binary->size, &draw))
        RECORD(binary->data, binary->size, &draw, hook_enif_term_to_binary);
    return made;
}

HOOK void hook_enif_release_binary(ErlNifBinary *binary) {
    if (!mt_tracer_on()) return enif_release_binary(binary);
    mt_thread_count(MT_COUNT_enif_release_binary);
    mt_tracer_forget(binary->data);
    INNER(enif_release_binary(binary));
}

HOOK ERL_NIF_TERM hook_enif_make_binary(ErlNifEnv *env, ErlNifBinary *binary) {
    ERL_NIF_TERM term;
    if (!mt_tracer_on()) return enif_make_binary(env, binary);
    mt_thread_count(MT_COUNT_enif_make_binary);
    mt_tracer_forget(binary->data);
    INNER(term = enif_make_binary(env, binary));
    return term;
}

HOOK int hook_enif_ioq_enq_binary(ErlNifIOQueue *queue, ErlNifBinary *binary, size_t skip) {
    mt_held held;
    int queued;
    if (!mt_tracer_on()) return enif_ioq_enq_binary(queue, binary, skip);
    mt_tracer_hold(binary->data, &held);
    INNER(queued = enif_ioq_enq_binary(queue, binary, skip));
    if (queued) mt_tracer_release(&held);
    else mt_tracer_restore(&held);
    return queued;
}

/* One whose end we would not be told of is not recorded. */
HOOK void *hook_enif_alloc_resource(ErlNifResourceType *type, size_t size) {
    mt_draw draw;
    void *p;
    if (!mt_tracer_on() || !mt_nif_resources_ends(type)) return enif_alloc_resource(type, size);
    bool drawn = draws(MT_COUNT_enif_alloc_resource, size, &draw);
    INNER(p = enif_alloc_resource(type, size));
    if (drawn) RECORD(p, size, &draw, hook_enif_alloc_resource);
    return p;
}

#define TO(name)                                                                               \
    { #name, (void *)hook_##name, MT_REDIRECT_LIBRARIES }

static const mt_redirection redirections[] = {
    TO(enif_alloc),          TO(enif_realloc),          TO(enif_free),
    TO(enif_alloc_binary),   TO(enif_realloc_binary),   TO(enif_term_to_binary),
    TO(enif_release_binary), TO(enif_make_binary),      TO(enif_ioq_enq_binary),
    TO(enif_alloc_resource), TO(enif_alloc_env),        TO(enif_free_env),
    TO(driver_alloc),        TO(driver_realloc),        TO(driver_free),
    TO(driver_alloc_binary), TO(driver_realloc_binary), TO(driver_free_binary),
};

enum { N = sizeof redirections / sizeof *redirections };

static bool started;

int mt_nif_memory_start(void) {
    if (!enif_alloc) return -1;
    if (started) return 0;
    if (mt_nif_tables_add(redirections, N) != 0) return -1;
    if (mt_nif_resources_start() != 0) {
        mt_nif_tables_remove(redirections, N);
        return -1;
    }
    started = true;
    return 0;
}

void mt_nif_memory_stop(void) {
    if (!started) return;
    mt_nif_resources_stop();
    mt_nif_tables_remove(redirections, N);
    started = false;
}
