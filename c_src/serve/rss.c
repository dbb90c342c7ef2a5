/* rss: see the header. */
#include "rss.h"

#include <dlfcn.h>

#include "hook/next.h"
#include "maps.h"
#include "residency.h"
#include "terms.h"

typedef mt_term term;

static term object_of(ErlNifEnv *env, const void *address) {
    Dl_info info;
    bool known = address && dladdr(address, &info) && info.dli_fname;
    return mt_terms_text(env, known ? info.dli_fname : NULL);
}

/* What answers first to the name, and behind us if that is ourselves, switched off. */
static term allocator(ErlNifEnv *env, const mt_core *core) {
    mt_status status = {0};
    Dl_info ours, first;
    if (core) core->status(&status);
    if (status.allocator[0]) return mt_terms_text(env, status.allocator);
    void *named = dlsym(RTLD_DEFAULT, "malloc");
    bool self = named && dladdr(named, &first) && dladdr((void *)mt_rss, &ours) &&
                first.dli_fbase == ours.dli_fbase;
    return object_of(env, self ? (void *)mt_next_get(malloc) : named);
}

static bool mapping(ErlNifEnv *env, term t, uint64_t *start, uint64_t *end, bool *file) {
    const term *part;
    int n;
    ErlNifUInt64 from, to;
    if (!enif_get_tuple(env, t, &n, &part) || n != 3 || !enif_get_uint64(env, part[0], &from) ||
        !enif_get_uint64(env, part[1], &to))
        return false;
    *start = from, *end = to;
    *file = enif_is_identical(part[2], enif_make_atom(env, "true"));
    return true;
}

/* In the order of the list. False if it is none. */
static bool measure(ErlNifEnv *env, const mt_residency *r, term list, term *found) {
    uint64_t start, end;
    bool file;
    term head, back = enif_make_list(env, 0);
    while (enif_get_list_cell(env, list, &head, &list)) {
        if (!mapping(env, head, &start, &end, &file)) return false;
        mt_resident one = mt_residency_of(r, start, end, file);
        back = enif_make_list_cell(env,
                                   enif_make_tuple3(env, enif_make_uint64(env, one.anonymous),
                                                    enif_make_uint64(env, one.file),
                                                    enif_make_uint64(env, one.arenas)),
                                   back);
    }
    *found = enif_make_list(env, 0);
    while (enif_get_list_cell(env, back, &head, &back))
        *found = enif_make_list_cell(env, head, *found);
    return enif_is_identical(list, enif_make_list(env, 0));
}

mt_term mt_rss(ErlNifEnv *env, const mt_core *core, mt_term mappings) {
    mt_residency r;
    term found;
    mt_residency_open(&r);
    bool done = measure(env, &r, mappings, &found);
    mt_residency_close(&r);
    if (!done) return enif_make_badarg(env);
    return enif_make_tuple3(env, mt_maps_heap(env), allocator(env, core), found);
}
