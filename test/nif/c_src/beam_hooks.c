/* The core's hooks of the BEAM in a NIF library of their own, without those of malloc: what
 * they record and whom they find calling can be asked. Fixtures call probe(), whose address
 * they are given, where they want to be seen. */
#include <stdlib.h>
#include <string.h>

#include "hook/erlang_stack.h"
#include "hook/nif_calls.h"
#include "hook/nif_loaded.h"
#include "hook/nif_resources.h"
#include "hook/vm.h"
#include "name/jit.h"
#include "name/mfa.h"
#include "record/control.h"
#include "record/tracer.h"

typedef ERL_NIF_TERM term;

static mt_context seen;

static void probe(void) {
    mt_context_reader *read = atomic_load(&mt_context_read);
    memset(&seen, 0, sizeof seen);
    if (read) read(&seen, 16);
}

static term text_or_nil(ErlNifEnv *env, const char *text) {
    return text ? enif_make_string(env, text, ERL_NIF_LATIN1) : enif_make_atom(env, "nil");
}

static term start(ErlNifEnv *env, int argc, const term argv[]) {
    mt_options options = {
        .depth = 32, .slots = 4096, .interval = 0, .budget_ppm = 1000000, .beam = 1};
    static bool begun;
    (void)argc, (void)argv;
    if (!begun && mt_tracer_start(&options) != 0) return enif_make_badarg(env);
    begun = true;
    mt_tracer_reset();
    return enif_make_atom(env, mt_vm_start(true) == 0 ? "ok" : "error");
}

static term stop(ErlNifEnv *env, int argc, const term argv[]) {
    (void)argc, (void)argv;
    mt_vm_stop();
    return enif_make_atom(env, "ok");
}

/* Wraps what was loaded before; {functions, wrapped, left}. */
static term wrap_loaded(ErlNifEnv *env, int argc, const term argv[]) {
    mt_jit jit = {0};
    mt_nif_loaded result;
    static mt_mfa mfa;
    (void)argc, (void)argv;
    if (mt_jit_read(&jit) != 0 || mt_nif_loaded_begin() != 0)
        return enif_make_atom(env, "none");
    for (uint32_t i = 0; i < jit.n; i++) {
        if (!mt_mfa_split(jit.range[i].name, &mfa)) continue;
        mt_nif_code code = {jit.range[i].lo, jit.range[i].hi, mfa.module, mfa.function,
                            mfa.arity};
        mt_nif_loaded_see(&code);
    }
    mt_nif_loaded_end(&result);
    mt_jit_empty(&jit);
    return enif_make_tuple3(env, enif_make_uint(env, result.functions),
                            enif_make_uint(env, result.wrapped),
                            enif_make_uint(env, result.left));
}

static term calibrate(ErlNifEnv *env, int argc, const term argv[]) {
    (void)argc, (void)argv;
    return enif_make_atom(env, mt_erlang_stack_calibrate(env) ? "true" : "false");
}

static term lacks(ErlNifEnv *env, int argc, const term argv[]) {
    (void)argc, (void)argv;
    return enif_make_list3(env, text_or_nil(env, mt_nif_calls_lacks()),
                           text_or_nil(env, mt_nif_resources_lacks()),
                           text_or_nil(env, mt_erlang_stack_lacks()));
}

/* The last word of a site's key. */
static mt_allocator allocator_of(uint32_t site) {
    uintptr_t key[MT_KEY_MAX];
    uint32_t n = mt_sites_copy(&mt_tracer_state.sites, site, key, MT_KEY_MAX);
    return n ? mt_context_allocator(key[n - 1]) : MT_ALLOCATOR_MALLOC;
}

/* [{address, size, allocator}] */
static term live(ErlNifEnv *env, int argc, const term argv[]) {
    static const char *const names[] = {"malloc",   "enif", "binary",
                                        "resource", "env",  "driver"};
    term list = enif_make_list(env, 0);
    mt_chunk chunk;
    (void)argc, (void)argv;
    for (int32_t i = 0; (i = mt_levels_next(&mt_tracer_state.chunks, i)) >= 0; i++)
        if (mt_levels_peek(&mt_tracer_state.chunks, i, &chunk))
            list = enif_make_list_cell(
                env,
                enif_make_tuple3(env, enif_make_uint64(env, chunk.address),
                                 enif_make_uint64(env, chunk.size),
                                 enif_make_atom(env, names[allocator_of(chunk.site)])),
                list);
    return list;
}

static term count(ErlNifEnv *env, int argc, const term argv[]) {
    static const char *const names[] = {
#define X(name) #name,
        MT_COUNTS(X)
#undef X
    };
    uint64_t total[MT_COUNT_N];
    char wanted[64];
    (void)argc;
    mt_thread_sum(total);
    if (enif_get_atom(env, argv[0], wanted, sizeof wanted, ERL_NIF_LATIN1))
        for (int i = 0; i < MT_COUNT_N; i++)
            if (strcmp(names[i], wanted) == 0) return enif_make_uint64(env, total[i]);
    return enif_make_badarg(env);
}

static term probe_address(ErlNifEnv *env, int argc, const term argv[]) {
    (void)argc, (void)argv;
    return enif_make_uint64(env, (uintptr_t)probe);
}

static term n_probe(ErlNifEnv *env, int argc, const term argv[]) {
    (void)argc, (void)argv;
    probe();
    return enif_make_atom(env, "ok");
}

typedef term nif(ErlNifEnv *env, int argc, const term argv[]);

static term inner(ErlNifEnv *env, int argc, const term argv[]) {
    (void)argc, (void)argv;
    probe();
    return enif_make_uint(env, seen.caller);
}

static term outer(ErlNifEnv *env, int argc, const term argv[]) {
    nif *called = (nif *)mt_nif_calls_thunk((void *)inner, "hooks", "inner", 0);
    term row = called(env, argc, argv);
    probe();
    return row;
}

/* One NIF within another, as when a process is traced by NIFs: {the inner one, the outer one
 * after it}. */
static term nested(ErlNifEnv *env, int argc, const term argv[]) {
    nif *called = (nif *)mt_nif_calls_thunk((void *)outer, "hooks", "outer", 0);
    unsigned row = 0;
    enif_get_uint(env, called(env, argc, argv), &row);
    const mt_caller *before = mt_callers_get(row), *after = mt_callers_get(seen.caller);
    return enif_make_tuple2(env, enif_make_atom(env, before ? before->function : "none"),
                            enif_make_atom(env, after ? after->function : "none"));
}

/* {kind, module, function, arity, pid | nil, [name of an Erlang frame]} as last probed. */
static term context(ErlNifEnv *env, int argc, const term argv[]) {
    static const char *const kinds[] = {"none", "thread", "nif", "load", "destructor"};
    const mt_caller nobody = {"", "", 0, MT_CALLER_NONE}, *caller = mt_callers_get(seen.caller);
    mt_context copy = seen;
    mt_jit jit = {0};
    mt_erlang found;
    term frames = enif_make_list(env, 0);
    (void)argc, (void)argv;
    if (!caller) caller = &nobody;
    mt_jit_read(&jit);
    for (uint32_t i = copy.erlang_frames; i-- > 0;) {
        bool known = mt_jit_find(&jit, copy.erlang[i] - 1, &found);
        frames = enif_make_list_cell(env, text_or_nil(env, known ? found.name : NULL), frames);
    }
    mt_jit_empty(&jit);
    return enif_make_tuple6(
        env, enif_make_atom(env, kinds[caller->kind]), enif_make_atom(env, caller->module),
        enif_make_atom(env, caller->function), enif_make_uint(env, caller->arity),
        copy.pid ? (term)copy.pid : enif_make_atom(env, "nil"), frames);
}

static int load(ErlNifEnv *env, void **data, term info) {
    (void)data, (void)info;
    mt_vm_load(env);
    return 0;
}

static ErlNifFunc functions[] = {
    {"start", 0, start, ERL_NIF_DIRTY_JOB_CPU_BOUND},
    {"stop", 0, stop, ERL_NIF_DIRTY_JOB_CPU_BOUND},
    {"wrap_loaded", 0, wrap_loaded, ERL_NIF_DIRTY_JOB_CPU_BOUND},
    {"calibrate", 0, calibrate, 0},
    {"lacks", 0, lacks, 0},
    {"live", 0, live, 0},
    {"count", 1, count, 0},
    {"probe_address", 0, probe_address, 0},
    {"nested", 0, nested, 0},
    {"probe", 0, n_probe, 0},
    {"context", 0, context, ERL_NIF_DIRTY_JOB_CPU_BOUND},
};

ERL_NIF_INIT(Elixir.Mtrace.Test.BeamHooks, functions, load, NULL, NULL, NULL)
