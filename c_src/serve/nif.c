/* nif: what Elixir calls. All of it runs on dirty schedulers. */
#include "nif.h"

#include <malloc.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "core.h"
#include "enif.h"
#include "maps.h"
#include "name/memory.h"
#include "naming.h"
#include "record/tracer.h"
#include "rss.h"
#include "terms.h"

typedef mt_term term;

static term atom(ErlNifEnv *env, const char *name) {
    return enif_make_atom(env, name);
}

static term ok(ErlNifEnv *env, term value) {
    return enif_make_tuple2(env, atom(env, "ok"), value);
}

static term error(ErlNifEnv *env, term reason) {
    return enif_make_tuple2(env, atom(env, "error"), reason);
}

/* The core that traces or could: the one that was preloaded or attached, else this object's; or
 * NULL and the reason if that is of another release. */
static const mt_core *any_core(ErlNifEnv *env, term *reason) {
    const mt_core *core = mt_core_active();
    if (!core) return &mtrace_core;
    if (core->version == MT_CORE_VERSION) return core;
    *reason = enif_make_tuple3(env, atom(env, "version"), enif_make_uint(env, core->version),
                               enif_make_uint(env, MT_CORE_VERSION));
    return NULL;
}

/* The core that traces, or has traced; or NULL and the reason why there is none to ask. */
static const mt_core *active_core(ErlNifEnv *env, term *reason) {
    const mt_core *core = any_core(env, reason);
    mt_preload preload;
    mt_attached attached;
    if (!core) return NULL;
    core->state(&preload, &attached);
    if (attached != MT_ATTACHED_NEVER) return core;
    switch (preload) {
    case MT_PRELOAD_TRACING:
        return core;
    case MT_PRELOAD_OFF:
        *reason = atom(env, "off");
        break;
    case MT_PRELOAD_SHADOWED:
        *reason = atom(env, "shadowed");
        break;
    case MT_PRELOAD_LATE:
        *reason = atom(env, "late");
        break;
    case MT_PRELOAD_NO_MEMORY:
        *reason = atom(env, "no_memory");
        break;
    default:
        *reason = atom(env, "inactive");
        break;
    }
    return NULL;
}

static term stats_nif(ErlNifEnv *env, int argc, const term argv[]) {
    (void)argc, (void)argv;
    term reason;
    const mt_core *core = active_core(env, &reason);
    if (!core) return error(env, reason);
    return ok(env, mt_maps_stats(env, core));
}

static term reset_nif(ErlNifEnv *env, int argc, const term argv[]) {
    (void)argc, (void)argv;
    term reason;
    const mt_core *core = active_core(env, &reason);
    if (!core) return error(env, reason);
    uint64_t begin = mt_tracer_now();
    core->reset();
    return ok(env, enif_make_uint64(env, mt_tracer_now() - begin));
}

static term sharpen_nif(ErlNifEnv *env, int argc, const term argv[]) {
    (void)argc;
    term reason;
    const mt_core *core = active_core(env, &reason);
    if (!core) return error(env, reason);
    if (enif_is_identical(argv[0], atom(env, "begin"))) core->watch();
    else core->sharpen();
    return ok(env, atom(env, "ok"));
}

/* Records and the room for their names: no more than are asked for. */
typedef struct {
    mt_record *records;
    mt_named *named;
    uint32_t room, n;
} copies;

static bool take(copies *c, const mt_core *core, uint64_t wanted,
                 uint32_t (*copy)(mt_record *records, uint32_t max)) {
    mt_stats stats;
    core->stats(&stats);
    uint64_t there = stats.recorded_now + 64; /* some may come while we look */
    c->room = (uint32_t)(wanted < there ? wanted : there);
    c->records = mt_memory_map(c->room * sizeof *c->records);
    c->named = mt_memory_map(c->room * sizeof *c->named);
    if (!c->records || !c->named) return false;
    c->n = copy(c->records, c->room);
    return true;
}

static void give_back(copies *c) {
    mt_memory_unmap(c->records, c->room * sizeof *c->records);
    mt_memory_unmap(c->named, c->room * sizeof *c->named);
}

static term name_olds(ErlNifEnv *env, const mt_core *core, const copies *c, bool plain) {
    unsigned what = plain ? MT_NAMES_PLAIN : 0;
    if (core->names_begin(c->records, c->n, what, c->named, NULL, NULL) != 0)
        return error(env, atom(env, "no_memory"));
    term list = mt_terms_olds(env, c->records, c->named, c->n, plain, mt_tracer_now());
    core->names_end();
    return ok(env, list);
}

/* A count beyond 64 bits is still a count: more than there are. */
static term olds_nif(ErlNifEnv *env, int argc, const term argv[]) {
    ErlNifSInt64 wanted;
    term reason;
    bool plain = enif_is_identical(argv[1], atom(env, "true"));
    if (argc != 2 || !enif_get_int64(env, argv[0], &wanted) || wanted < 0 ||
        !(plain || enif_is_identical(argv[1], atom(env, "false"))))
        return enif_make_badarg(env);
    const mt_core *core = active_core(env, &reason);
    if (!core) return error(env, reason);
    copies c = {0};
    term result = take(&c, core, (uint64_t)wanted, core->oldest)
                      ? name_olds(env, core, &c, plain)
                      : error(env, atom(env, "no_memory"));
    give_back(&c);
    return result;
}

static term name_snapshot(ErlNifEnv *env, const mt_core *core, const copies *c) {
    const mt_name *const *names;
    uint32_t count;
    uint64_t now = mt_tracer_now();
    if (core->names_begin(c->records, c->n, MT_NAMES_LINES | MT_NAMES_PLAIN, c->named, &names,
                          &count) != 0)
        return error(env, atom(env, "no_memory"));
    term all =
        mt_terms_snapshot(env, c->records, c->named, c->n, names, count, core->caller, now);
    core->names_end();
    return enif_is_identical(all, atom(env, "no_memory")) ? error(env, all) : ok(env, all);
}

static term snapshot_nif(ErlNifEnv *env, int argc, const term argv[]) {
    (void)argc, (void)argv;
    term reason;
    const mt_core *core = active_core(env, &reason);
    if (!core) return error(env, reason);
    copies c = {0};
    term result = take(&c, core, UINT32_MAX, core->snapshot)
                      ? name_snapshot(env, core, &c)
                      : error(env, atom(env, "no_memory"));
    give_back(&c);
    return result;
}

/* A number within the bounds, or nil for what stays as it is. */
static bool number_or_nil(ErlNifEnv *env, term t, uint64_t low, uint64_t high,
                          uint64_t *value) {
    ErlNifSInt64 n;
    if (enif_is_identical(t, atom(env, "nil"))) return true;
    if (!enif_get_int64(env, t, &n) || n < 0 || (uint64_t)n < low || (uint64_t)n > high)
        return false;
    *value = (uint64_t)n;
    return true;
}

/* The caller has checked the bounds; here they only protect. */
static term configure(ErlNifEnv *env, const mt_core *core, const term argv[]) {
    mt_status status;
    core->status(&status);
    mt_options *o = &status.options;
    bool adaptive = enif_is_identical(argv[0], atom(env, "adaptive"));
    if (adaptive) o->interval = MT_ADAPTIVE;
    if ((!adaptive && !number_or_nil(env, argv[0], 0, MT_INTERVAL_MAX, &o->interval)) ||
        !number_or_nil(env, argv[1], 1, 1000000, &o->budget_ppm) ||
        !number_or_nil(env, argv[2], 2, MT_DEPTH_MAX, &o->depth) ||
        !number_or_nil(env, argv[3], 0, MT_ERLANG_DEPTH_MAX, &o->erlang_depth))
        return enif_make_badarg(env);
    core->configure(o->interval, (uint32_t)o->budget_ppm, (uint32_t)o->depth,
                    (uint32_t)o->erlang_depth);
    return ok(env, atom(env, "ok"));
}

/* One at a time: what is not given is taken from what is there. */
static term configure_nif(ErlNifEnv *env, int argc, const term argv[]) {
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
    term reason;
    const mt_core *core = active_core(env, &reason);
    if (argc != 4) return enif_make_badarg(env);
    if (!core) return error(env, reason);
    pthread_mutex_lock(&one);
    term result = configure(env, core, argv);
    pthread_mutex_unlock(&one);
    return result;
}

static term attach_result(ErlNifEnv *env, mt_attach_result result) {
    static const char *const reason[] = {"ok",       "preloaded", "off",
                                         "shadowed", "no_memory", "no_allocator"};
    return result == MT_ATTACH_DONE ? ok(env, atom(env, "ok"))
                                    : error(env, atom(env, reason[result]));
}

/* The parts as bits; the caller has names for them. */
static term attach_nif(ErlNifEnv *env, int argc, const term argv[]) {
    ErlNifSInt64 parts;
    term reason;
    if (argc != 1 || !enif_get_int64(env, argv[0], &parts) || parts < 0 ||
        parts > MT_ATTACH_PARTS)
        return enif_make_badarg(env);
    const mt_core *core = any_core(env, &reason);
    return core ? attach_result(env, core->attach((unsigned)parts)) : error(env, reason);
}

static term detach_nif(ErlNifEnv *env, int argc, const term argv[]) {
    (void)argc, (void)argv;
    term reason;
    const mt_core *core = any_core(env, &reason);
    return core ? attach_result(env, core->detach()) : error(env, reason);
}

static term status_nif(ErlNifEnv *env, int argc, const term argv[]) {
    (void)argc, (void)argv;
    term reason = atom(env, "nil");
    const mt_core *core = active_core(env, &reason);
    return ok(env, mt_maps_status(env, core, reason));
}

/* Needs no core that traces. */
static term memory_nif(ErlNifEnv *env, int argc, const term argv[]) {
    term reason;
    if (argc != 1) return enif_make_badarg(env);
    term answer = mt_rss(env, active_core(env, &reason), argv[0]);
    return enif_is_exception(env, answer) ? answer : ok(env, answer);
}

/* On a normal scheduler, in a call from Erlang: finds out where Erlang's stack lies. */
static term calibrate_nif(ErlNifEnv *env, int argc, const term argv[]) {
    (void)argv;
    const mt_core *core = mt_core_active();
    if (!core || core->version != MT_CORE_VERSION) core = &mtrace_core;
    bool done = argc == 1 && core->calibrate(env);
    return atom(env, done ? "true" : "false");
}

static void tell_core(ErlNifEnv *env) {
    const mt_core *core = mt_core_active();
    if (core && core->version == MT_CORE_VERSION && core != &mtrace_core) core->load(env);
    mtrace_core.load(env);
}

static int load(ErlNifEnv *env, void **data, term info) {
    (void)data, (void)info;
    tell_core(env);
    return 0;
}

/* The module may be loaded anew: there is no state to hand over. */
static int upgrade(ErlNifEnv *env, void **data, void **old_data, term info) {
    (void)data, (void)old_data, (void)info;
    tell_core(env);
    return 0;
}

static ErlNifFunc functions[] = {
    {"stats", 0, stats_nif, ERL_NIF_DIRTY_JOB_CPU_BOUND},
    {"reset", 0, reset_nif, ERL_NIF_DIRTY_JOB_CPU_BOUND},
    {"sharpen", 1, sharpen_nif, ERL_NIF_DIRTY_JOB_CPU_BOUND},
    {"olds", 2, olds_nif, ERL_NIF_DIRTY_JOB_IO_BOUND},
    {"snapshot", 0, snapshot_nif, ERL_NIF_DIRTY_JOB_IO_BOUND},
    {"configure", 4, configure_nif, ERL_NIF_DIRTY_JOB_CPU_BOUND},
    {"status", 0, status_nif, ERL_NIF_DIRTY_JOB_CPU_BOUND},
    {"memory", 1, memory_nif, ERL_NIF_DIRTY_JOB_IO_BOUND},
    {"calibrate", 1, calibrate_nif, 0},
    {"attach", 1, attach_nif, ERL_NIF_DIRTY_JOB_CPU_BOUND},
    {"detach", 0, detach_nif, ERL_NIF_DIRTY_JOB_CPU_BOUND},
};

ERL_NIF_INIT(Elixir.Mtrace.Native, functions, load, NULL, upgrade, NULL)
