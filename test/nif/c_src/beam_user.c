/* NIFs that allocate through the VM, and that call the probe they are given in every place
 * where a library can be called. Compiled for a module each: -DNIF_MODULE=Elixir.X -DVERSION=1.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <erl_nif.h>

typedef ERL_NIF_TERM term;

static void (*probe)(void);
static ErlNifResourceType *with, *without, *by_x;
static const char *load_seen = "no";

static void call_probe(void) {
    if (probe) probe();
}

static uint64_t number(ErlNifEnv *env, term t) {
    unsigned long n = 0;
    enif_get_ulong(env, t, &n);
    return n;
}

static term address(ErlNifEnv *env, const void *p) {
    return enif_make_ulong(env, (uintptr_t)p);
}

static term set_probe(ErlNifEnv *env, int argc, const term argv[]) {
    (void)argc;
    probe = (void (*)(void))(uintptr_t)number(env, argv[0]);
    return enif_make_atom(env, "ok");
}

static term call(ErlNifEnv *env, int argc, const term argv[]) {
    (void)argc, (void)argv;
    call_probe();
    return enif_make_atom(env, "ok");
}

static term nothing(ErlNifEnv *env, int argc, const term argv[]) {
    (void)env, (void)argc;
    return argv[0];
}

static term later(ErlNifEnv *env, int argc, const term argv[]) {
    (void)argc, (void)argv;
    call_probe();
    return enif_make_atom(env, "later");
}

/* schedule(Flags) */
static term schedule(ErlNifEnv *env, int argc, const term argv[]) {
    return enif_schedule_nif(env, "the_rest", (int)number(env, argv[0]), later, argc, argv);
}

static void *run_thread(void *unused) {
    call_probe();
    return unused;
}

static term thread(ErlNifEnv *env, int argc, const term argv[]) {
    pthread_t thread;
    (void)argc, (void)argv;
    if (pthread_create(&thread, NULL, run_thread, NULL) == 0) pthread_join(thread, NULL);
    return enif_make_atom(env, "ok");
}

static term n_alloc(ErlNifEnv *env, int argc, const term argv[]) {
    (void)argc;
    return address(env, enif_alloc(number(env, argv[0])));
}

static term n_realloc(ErlNifEnv *env, int argc, const term argv[]) {
    (void)argc;
    return address(env, enif_realloc((void *)number(env, argv[0]), number(env, argv[1])));
}

static term n_free(ErlNifEnv *env, int argc, const term argv[]) {
    (void)argc;
    enif_free((void *)number(env, argv[0]));
    return enif_make_atom(env, "ok");
}

static ErlNifBinary binary;

/* binary(alloc | realloc | term | release | make | inspect, Size or term) -> address of the
 * data */
static term n_binary(ErlNifEnv *env, int argc, const term argv[]) {
    char what[16];
    (void)argc;
    if (!enif_get_atom(env, argv[0], what, sizeof what, ERL_NIF_LATIN1)) what[0] = 0;
    if (strcmp(what, "alloc") == 0) enif_alloc_binary(number(env, argv[1]), &binary);
    if (strcmp(what, "realloc") == 0) enif_realloc_binary(&binary, number(env, argv[1]));
    if (strcmp(what, "term") == 0) enif_term_to_binary(env, argv[1], &binary);
    if (strcmp(what, "release") == 0) enif_release_binary(&binary);
    if (strcmp(what, "make") == 0) return enif_make_binary(env, &binary);
    if (strcmp(what, "new") == 0) {
        term made;
        enif_make_new_binary(env, number(env, argv[1]), &made);
        return made;
    }
    return address(env, binary.data);
}

static term n_env(ErlNifEnv *env, int argc, const term argv[]) {
    (void)argc;
    uint64_t old = number(env, argv[0]);
    if (old == 0) return address(env, enif_alloc_env());
    enif_free_env((ErlNifEnv *)old);
    return enif_make_atom(env, "ok");
}

/* resource(with | without | x, Size) -> {address, term that keeps it} */
static term n_resource(ErlNifEnv *env, int argc, const term argv[]) {
    char what[16];
    (void)argc;
    if (!enif_get_atom(env, argv[0], what, sizeof what, ERL_NIF_LATIN1)) what[0] = 0;
    ErlNifResourceType *type = strcmp(what, "with") == 0 ? with
                               : strcmp(what, "x") == 0  ? by_x
                                                         : without;
    void *p = enif_alloc_resource(type, number(env, argv[1]));
    memset(p, 0, number(env, argv[1]));
    term made = enif_make_resource(env, p);
    enif_release_resource(p);
    return enif_make_tuple2(env, address(env, p), made);
}

static int destroyed;

static void destroy(ErlNifEnv *env, void *resource) {
    (void)env, (void)resource;
    destroyed++;
    call_probe();
}

static term n_destroyed(ErlNifEnv *env, int argc, const term argv[]) {
    (void)argc, (void)argv;
    return enif_make_int(env, destroyed);
}

static term n_version(ErlNifEnv *env, int argc, const term argv[]) {
    (void)argc, (void)argv;
    return enif_make_tuple2(env, enif_make_atom(env, load_seen), enif_make_int(env, VERSION));
}

static void open_types(ErlNifEnv *env) {
    ErlNifResourceFlags tried, flags = ERL_NIF_RT_CREATE | ERL_NIF_RT_TAKEOVER;
    ErlNifResourceTypeInit init = {0};
    init.dtor = destroy;
    with = enif_open_resource_type(env, NULL, "with", destroy, flags, &tried);
    without = enif_open_resource_type(env, NULL, "without", NULL, flags, &tried);
    by_x = enif_open_resource_type_x(env, "by_x", &init, flags, &tried);
}

static int load(ErlNifEnv *env, void **data, term info) {
    (void)data;
    probe = (void (*)(void))(uintptr_t)number(env, info);
    load_seen = "load";
    open_types(env);
    call_probe();
    return 0;
}

static int upgrade(ErlNifEnv *env, void **data, void **old_data, term info) {
    (void)data, (void)old_data;
    probe = (void (*)(void))(uintptr_t)number(env, info);
    load_seen = "upgrade";
    open_types(env);
    call_probe();
    return 0;
}

static void unload(ErlNifEnv *env, void *data) {
    (void)env, (void)data;
    call_probe();
}

static ErlNifFunc functions[] = {
    {"set_probe", 1, set_probe, 0},
    {"call", 0, call, 0},
    {"call_dirty", 0, call, ERL_NIF_DIRTY_JOB_CPU_BOUND},
    {"call_dirty_io", 0, call, ERL_NIF_DIRTY_JOB_IO_BOUND},
    {"nothing", 1, nothing, 0},
    {"schedule", 1, schedule, 0},
    {"thread", 0, thread, 0},
    {"alloc", 1, n_alloc, 0},
    {"realloc", 2, n_realloc, 0},
    {"free", 1, n_free, 0},
    {"binary", 2, n_binary, 0},
    {"env", 1, n_env, 0},
    {"resource", 2, n_resource, 0},
    {"destroyed", 0, n_destroyed, 0},
    {"version", 0, n_version, 0},
};

#define INIT(module) ERL_NIF_INIT(module, functions, load, NULL, upgrade, unload)
INIT(NIF_MODULE)
