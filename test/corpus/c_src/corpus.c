/* The NIFs of the labelled corpus: allocate and free at sites that are named by atoms.
 * Addresses are numbers in Erlang, and whoever gives one back says where it came from;
 * lib/native.ex does. */
#include "sites.h"
#include "threads.h"

#define UNUSED(x) (void)(x)

static ERL_NIF_TERM site_atoms[SITE_COUNT], way_atoms[WAYS];

static int find(ERL_NIF_TERM term, const ERL_NIF_TERM *atoms, int count, int *found) {
    for (*found = 0; *found < count; ++*found)
        if (enif_is_identical(term, atoms[*found])) return 1;
    return 0;
}

static int get_site(ERL_NIF_TERM term, int *site) {
    return find(term, site_atoms, SITE_COUNT, site);
}

static int get_way(ERL_NIF_TERM term, int *way) {
    return find(term, way_atoms, WAYS, way);
}

static int get_size(ErlNifEnv *env, ERL_NIF_TERM term, size_t *size) {
    unsigned long n;
    if (!enif_get_ulong(env, term, &n)) return 0;
    *size = n;
    return 1;
}

static int get_address(ErlNifEnv *env, ERL_NIF_TERM term, void **p) {
    return get_size(env, term, (size_t *)p);
}

static ERL_NIF_TERM address(ErlNifEnv *env, void *p) {
    return p ? enif_make_ulong(env, (unsigned long)p) : enif_make_badarg(env);
}

/* take(Site, Way, Size): the address. */
static ERL_NIF_TERM take(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    int site, way;
    size_t size;
    UNUSED(argc);
    if (!get_site(argv[0], &site) || !get_way(argv[1], &way) || way == RESOURCE ||
        way == BINARY || !get_size(env, argv[2], &size))
        return enif_make_badarg(env);
    return address(env, corpus_take(site, way, NULL, 0, size));
}

/* grow(Site, Way, Address, OldSize, Size): the address that it has then. */
static ERL_NIF_TERM grow(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    int site, way;
    void *old;
    size_t old_size, size;
    UNUSED(argc);
    if (!get_site(argv[0], &site) || !get_way(argv[1], &way) ||
        (way != MALLOC && way != ENIF && way != INDEX) || !get_address(env, argv[2], &old) ||
        !get_size(env, argv[3], &old_size) || !get_size(env, argv[4], &size))
        return enif_make_badarg(env);
    return address(env, corpus_take(site, way, old, old_size, size));
}

static ERL_NIF_TERM give(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    int site, way;
    void *p;
    size_t size;
    UNUSED(argc);
    if (!get_site(argv[0], &site) || !get_way(argv[1], &way) || way == RESOURCE ||
        !get_address(env, argv[2], &p) || !get_size(env, argv[3], &size))
        return enif_make_badarg(env);
    corpus_give(site, way, p, size);
    return enif_make_atom(env, "ok");
}

/* churn(Site, Way, Sizes): allocates and frees each in turn, within one call. */
static ERL_NIF_TERM churn(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    int site, way;
    size_t size;
    ERL_NIF_TERM head, sizes = argv[2];
    UNUSED(argc);
    if (!get_site(argv[0], &site) || !get_way(argv[1], &way) || way == RESOURCE ||
        way == BINARY)
        return enif_make_badarg(env);
    while (enif_get_list_cell(env, sizes, &head, &sizes)) {
        void *p = NULL;
        if (!get_size(env, head, &size) || !(p = corpus_take(site, way, NULL, 0, size)))
            return enif_make_badarg(env);
        corpus_give(site, way, p, size);
    }
    return enif_make_atom(env, "ok");
}

/* binary(Site, Size, hand | forget): a binary for the emulator to own, or for nobody. */
static ERL_NIF_TERM binary(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    int site;
    size_t size;
    ErlNifBinary made;
    UNUSED(argc);
    if (!get_site(argv[0], &site) || !get_size(env, argv[1], &size) ||
        !corpus_take(site, BINARY, &made, 0, size))
        return enif_make_badarg(env);
    if (enif_is_identical(argv[2], enif_make_atom(env, "forget")))
        return enif_make_atom(env, "ok");
    corpus_gone(site, size);
    return enif_make_binary(env, &made);
}

/* resource(Site, Size, InnerSite, InnerSize, Forgets): a resource with an inner part of its
 * own. */
static ERL_NIF_TERM resource(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    int site, inner_site;
    size_t size, inner_size;
    struct corpus_object *object;
    UNUSED(argc);
    if (!get_site(argv[0], &site) || !get_size(env, argv[1], &size) || size < sizeof *object ||
        !get_site(argv[2], &inner_site) || !get_size(env, argv[3], &inner_size) ||
        !(object = corpus_take(site, RESOURCE, NULL, 0, size)))
        return enif_make_badarg(env);
    *object = (struct corpus_object){
        .site = site,
        .inner_site = inner_site,
        .size = size,
        .inner_size = inner_size,
        .inner = corpus_take(inner_site, MALLOC, NULL, 0, inner_size),
        .forgets = enif_is_identical(argv[4], enif_make_atom(env, "true")),
    };
    ERL_NIF_TERM term = enif_make_resource(env, object);
    enif_release_resource(object);
    return term;
}

static void destroy(ErlNifEnv *env, void *resource) {
    struct corpus_object *object = resource;
    UNUSED(env);
    corpus_gone(object->site, object->size);
    if (!object->forgets)
        corpus_give(object->inner_site, MALLOC, object->inner, object->inner_size);
}

static ERL_NIF_TERM thread_start(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    UNUSED(argc), UNUSED(argv);
    int thread = corpus_thread_start();
    return thread < 0 ? enif_make_badarg(env) : enif_make_int(env, thread);
}

static ERL_NIF_TERM thread_take(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    int thread, site, way;
    size_t size;
    UNUSED(argc);
    if (!enif_get_int(env, argv[0], &thread) || !get_site(argv[1], &site) ||
        !get_way(argv[2], &way) || !get_size(env, argv[3], &size))
        return enif_make_badarg(env);
    return address(env, corpus_thread_take(thread, site, way, size));
}

static ERL_NIF_TERM thread_give(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    int thread, site, way;
    size_t size;
    void *p;
    UNUSED(argc);
    if (!enif_get_int(env, argv[0], &thread) || !get_site(argv[1], &site) ||
        !get_way(argv[2], &way) || !get_address(env, argv[3], &p) ||
        !get_size(env, argv[4], &size))
        return enif_make_badarg(env);
    corpus_thread_give(thread, site, way, p, size);
    return enif_make_atom(env, "ok");
}

static ERL_NIF_TERM thread_stop(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    int thread;
    UNUSED(argc);
    if (!enif_get_int(env, argv[0], &thread)) return enif_make_badarg(env);
    corpus_thread_stop(thread);
    return enif_make_atom(env, "ok");
}

/* book(Site): {Chunks, Bytes} that it holds. */
static ERL_NIF_TERM book(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    int site;
    long chunks, bytes;
    UNUSED(argc);
    if (!get_site(argv[0], &site)) return enif_make_badarg(env);
    corpus_book(site, &chunks, &bytes);
    return enif_make_tuple2(env, enif_make_long(env, chunks), enif_make_long(env, bytes));
}

static ERL_NIF_TERM sites(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    UNUSED(argc), UNUSED(argv);
    return enif_make_list_from_array(env, site_atoms, SITE_COUNT);
}

static int load(ErlNifEnv *env, void **data, ERL_NIF_TERM info) {
    ErlNifResourceType *type =
        enif_open_resource_type(env, NULL, "corpus_object", destroy, ERL_NIF_RT_CREATE, NULL);
    UNUSED(data), UNUSED(info);
    for (int i = 0; i < SITE_COUNT; i++)
        site_atoms[i] = enif_make_atom(env, corpus_site_names[i]);
    for (int i = 0; i < WAYS; i++) way_atoms[i] = enif_make_atom(env, corpus_way_names[i]);
    corpus_sites_init(type);
    return type ? 0 : -1;
}

static ErlNifFunc functions[] = {
    {"do_take", 3, take, 0},
    {"do_take_dirty", 3, take, ERL_NIF_DIRTY_JOB_CPU_BOUND},
    {"do_grow", 5, grow, 0},
    {"do_give", 4, give, 0},
    {"churn", 3, churn, 0},
    {"binary", 3, binary, 0},
    {"do_resource", 5, resource, 0},
    {"thread_start", 0, thread_start, ERL_NIF_DIRTY_JOB_IO_BOUND},
    {"do_thread_take", 4, thread_take, ERL_NIF_DIRTY_JOB_IO_BOUND},
    {"do_thread_give", 5, thread_give, ERL_NIF_DIRTY_JOB_IO_BOUND},
    {"thread_stop", 1, thread_stop, ERL_NIF_DIRTY_JOB_IO_BOUND},
    {"book", 1, book, 0},
    {"sites", 0, sites, 0},
};

ERL_NIF_INIT(Elixir.Mtrace.Corpus.Native, functions, load, NULL, NULL, NULL)
