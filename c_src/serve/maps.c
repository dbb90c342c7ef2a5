/* maps: see the header. Runs on dirty schedulers. */
#include "maps.h"

#include <dlfcn.h>
#include <malloc.h>

#include "terms.h"

typedef mt_term term;

static term atom(ErlNifEnv *env, const char *name) {
    return enif_make_atom(env, name);
}

static void put(ErlNifEnv *env, term *map, const char *key, term value) {
    enif_make_map_put(env, *map, atom(env, key), value, map);
}

static void put_number(ErlNifEnv *env, term *map, const char *key, uint64_t value) {
    put(env, map, key, enif_make_uint64(env, value));
}

#if __GLIBC_PREREQ(2, 33)
#pragma weak mallinfo2 /* a program of musl must be able to load us */
#endif

/* glibc's own account of its heap: mallinfo2 where there is one (2.33), for mallinfo's ints
 * overflow at 2 GiB. An allocator that brings a mallinfo2 answers for itself. */
static void put_heap(ErlNifEnv *env, term *map) {
#if __GLIBC_PREREQ(2, 33)
    struct mallinfo2 m = {0};
    if (mallinfo2) m = mallinfo2();
#else
    struct mallinfo small = mallinfo();
    struct {
        uint64_t arena, uordblks, fordblks, hblkhd, hblks;
    } m = {(unsigned)small.arena, (unsigned)small.uordblks, (unsigned)small.fordblks,
           (unsigned)small.hblkhd, (unsigned)small.hblks};
#endif
    put_number(env, map, "allocated_bytes", m.arena);
    put_number(env, map, "used_bytes", m.uordblks);
    put_number(env, map, "free_bytes", m.fordblks);
    put_number(env, map, "mmap_bytes", m.hblkhd);
    put_number(env, map, "mmap_chunks", m.hblks);
}

mt_term mt_maps_heap(ErlNifEnv *env) {
    term map = enif_make_new_map(env);
    put_heap(env, &map);
    return map;
}

static void put_coverage(ErlNifEnv *env, term *map, const mt_stats *stats) {
    put_number(env, map, "recorded", stats->recorded_now);
    put_number(env, map, "ignored", stats->count[MT_COUNT_ignored]);
    put_number(env, map, "thinned", stats->count[MT_COUNT_thinned]);
    put_number(env, map, "interval", stats->interval);
    put_number(env, map, "slots", stats->slots);
    put_number(env, map, "resets", stats->resets);
}

mt_term mt_maps_stats(ErlNifEnv *env, const mt_core *core) {
    static const char *const key[] = {
#define X(name) #name "_cnt",
        MT_COUNTS(X)
#undef X
    };
    mt_stats stats;
    core->stats(&stats);
    term map = enif_make_new_map(env);
    for (int i = 0; i < MT_COUNT_recorded; i++) put_number(env, &map, key[i], stats.count[i]);
    put_coverage(env, &map, &stats);
    put_heap(env, &map);
    return map;
}

static void put_refusals(ErlNifEnv *env, term *map, const mt_status *status) {
    static const char *const why[] = {"", "elsewhere", "own", "unbound", "protected"};
    term list = enif_make_list(env, 0);
    uint32_t n = status->refusals < MT_STATUS_REFUSALS ? status->refusals : MT_STATUS_REFUSALS;
    while (n-- > 0) {
        const mt_refusal *r = &status->refusal[n];
        term one = enif_make_tuple3(env, atom(env, why[r->why]), mt_terms_text(env, r->symbol),
                                    mt_terms_text(env, r->object));
        list = enif_make_list_cell(env, one, list);
    }
    put(env, map, "refused", list);
    put_number(env, map, "refusals", status->refusals);
}

static const char *own_path(void) {
    Dl_info info;
    return dladdr((void *)own_path, &info) && info.dli_fname ? info.dli_fname : "";
}

static bool has_beam(const mt_status *status) {
    return status->options.beam &&
           (status->attached == MT_ATTACHED_NEVER || status->parts & MT_ATTACH_BEAM);
}

/* Sentences; none where nothing of that was asked for. */
static term beam_lacks(ErlNifEnv *env, const mt_core *core, const mt_status *status) {
    term list = enif_make_list(env, 0);
    const char *why;
    for (unsigned i = 0; has_beam(status) && (why = core->lacks(i)) != NULL; i++)
        list = enif_make_list_cell(env, mt_terms_text(env, why), list);
    return list;
}

mt_term mt_maps_status(ErlNifEnv *env, const mt_core *core, mt_term reason) {
    static const char *const unwinders[] = {"none", "refused", "libunwind", "cfi"};
    term map = enif_make_new_map(env);
    put(env, &map, "object", mt_terms_text(env, own_path()));
    put_number(env, &map, "interface", MT_CORE_VERSION);
    if (!core) {
        put(env, &map, "reason", reason);
        return map;
    }
    mt_status status;
    mt_stats stats;
    core->status(&status);
    core->stats(&stats);
    static const char *const attached[] = {"preloaded", "attached", "detached"};
    put(env, &map, "active", atom(env, attached[status.attached]));
    put_refusals(env, &map, &status);
    bool preloaded = status.attached == MT_ATTACHED_NEVER;
    put(env, &map, "malloc",
        atom(env, preloaded || status.parts & MT_ATTACH_MALLOC ? "true" : "false"));
    put(env, &map, "beam", atom(env, has_beam(&status) ? "true" : "false"));
    put(env, &map, "logs", atom(env, status.logs ? "true" : "false"));
    put(env, &map, "watched", atom(env, status.watched ? "true" : "false"));
    put(env, &map, "unwinder", atom(env, unwinders[status.unwinder]));
    put(env, &map, "allocator", mt_terms_text(env, status.allocator));
    put_number(env, &map, "depth", status.options.depth);
    put_number(env, &map, "erlang_depth", status.options.erlang_depth);
    put_number(env, &map, "budget_ppm", status.options.budget_ppm);
    put(env, &map, "fixed_interval",
        status.options.interval == MT_ADAPTIVE
            ? atom(env, "nil")
            : enif_make_uint64(env, status.options.interval));
    put_coverage(env, &map, &stats);
    put_number(env, &map, "missed_frees", stats.count[MT_COUNT_missed_free]);
    put_number(env, &map, "sites", status.sites);
    put_number(env, &map, "own_bytes", status.own_bytes);
    put_number(env, &map, "naming_bytes", status.naming_bytes);
    put(env, &map, "lines_lack", mt_terms_text(env, status.lacks));
    put(env, &map, "beam_lacks", beam_lacks(env, core, &status));
    return map;
}
