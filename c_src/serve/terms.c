/* terms: see the header. Runs on dirty schedulers. */
#include "terms.h"

#include <string.h>

#include "name/memory.h"
#include "name/mfa.h"

static mt_term nil(ErlNifEnv *env) {
    return enif_make_atom(env, "nil");
}

static mt_term number(ErlNifEnv *env, uint64_t n) {
    return enif_make_uint64(env, n);
}

mt_term mt_terms_text(ErlNifEnv *env, const char *text) {
    mt_term binary;
    if (!text) return nil(env);
    size_t n = strlen(text);
    unsigned char *bytes = enif_make_new_binary(env, n, &binary);
    if (bytes) memcpy(bytes, text, n);
    return binary;
}

static mt_term old_stack(ErlNifEnv *env, const mt_record *record, const mt_named *named,
                         bool plain) {
    mt_term frame[MT_DEPTH_MAX];
    for (uint32_t i = 0; i < record->native; i++) {
        const mt_name *name = named->name[i];
        const mt_named_frame *f = &name->frame[name->frames - 1];
        const char *symbol = plain && f->plain ? f->plain : f->symbol;
        frame[i] = name->library ? enif_make_tuple2(env, mt_terms_text(env, name->library),
                                                    mt_terms_text(env, symbol))
                                 : nil(env);
    }
    return enif_make_list_from_array(env, frame, record->native);
}

static uint64_t age_ns(const mt_record *record, uint64_t now_ns) {
    return now_ns > record->chunk.born_ns ? now_ns - record->chunk.born_ns : 0;
}

mt_term mt_terms_olds(ErlNifEnv *env, const mt_record *records, const mt_named *named,
                      uint32_t n, bool plain, uint64_t now_ns) {
    mt_term list = enif_make_list(env, 0);
    for (uint32_t i = n; i-- > 0;) {
        const mt_record *r = &records[i];
        mt_term old =
            enif_make_tuple5(env, number(env, age_ns(r, now_ns) / 1000000000u),
                             number(env, r->chunk.size), number(env, r->chunk.address),
                             number(env, named[i].ns), old_stack(env, r, &named[i], plain));
        list = enif_make_list_cell(env, old, list);
    }
    return list;
}

static mt_term symbol(ErlNifEnv *env, const mt_name *name, const mt_named_frame *f) {
    mt_mfa mfa;
    if (!name->erlang || !f->symbol || !mt_mfa_split(f->symbol, &mfa))
        return mt_terms_text(env, f->plain ? f->plain : f->symbol);
    return enif_make_tuple3(env, mt_terms_text(env, mfa.module),
                            mt_terms_text(env, mfa.function), enif_make_uint(env, mfa.arity));
}

static mt_term frames(ErlNifEnv *env, const mt_name *name) {
    mt_term list = enif_make_list(env, 0);
    for (uint32_t i = name->frames; i-- > 0;) {
        const mt_named_frame *f = &name->frame[i];
        mt_term frame = enif_make_tuple4(env, symbol(env, name, f), mt_terms_text(env, f->file),
                                         f->line ? number(env, f->line) : nil(env),
                                         enif_make_atom(env, f->inlined ? "true" : "false"));
        list = enif_make_list_cell(env, frame, list);
    }
    return list;
}

/* A library's path is one term for all of its names: they come with the same pointer mostly. */
static mt_term names_term(ErlNifEnv *env, const mt_name *const *names, uint32_t count,
                          mt_term *room) {
    const char *library = NULL;
    mt_term path = nil(env);
    for (uint32_t i = 0; i < count; i++) {
        if (names[i]->library != library) {
            library = names[i]->library;
            path = mt_terms_text(env, library);
        }
        room[i] = enif_make_tuple4(env, number(env, names[i]->address),
                                   number(env, names[i]->address - names[i]->base), path,
                                   frames(env, names[i]));
    }
    return enif_make_tuple_from_array(env, room, count);
}

/* A process of this node is a word in the emulator; anything else there is not believed. */
static mt_term pid_term(ErlNifEnv *env, uint64_t pid) {
    return (pid & 0xf) == 0x3 ? (mt_term)pid : nil(env);
}

static mt_term thread_kind(ErlNifEnv *env, uint32_t thread) {
    static const char *const kinds[] = {"other", "normal", "dirty_cpu", "dirty_io"};
    return enif_make_atom(env, kinds[thread >> MT_CHUNK_KIND_SHIFT & 3]);
}

static mt_term chunk_term(ErlNifEnv *env, const mt_record *r, uint32_t stack) {
    return enif_make_tuple8(env, number(env, r->chunk.address), number(env, r->chunk.size),
                            number(env, r->chunk.born_ns),
                            enif_make_double(env, (double)r->chunk.weight / MT_WEIGHT_ONE),
                            enif_make_uint(env, stack), pid_term(env, r->chunk.pid),
                            number(env, r->chunk.thread & MT_CHUNK_TID),
                            thread_kind(env, r->chunk.thread));
}

static mt_term caller_term(ErlNifEnv *env, const mt_caller *caller) {
    static const char *const kinds[] = {"none", "thread", "nif", "load", "destructor"};
    if (!caller || caller->kind == MT_CALLER_NONE) return nil(env);
    return enif_make_tuple4(
        env, enif_make_atom(env, kinds[caller->kind]), mt_terms_text(env, caller->module),
        mt_terms_text(env, caller->function), enif_make_uint(env, caller->arity));
}

static mt_term stack_term(ErlNifEnv *env, const mt_record *r, const mt_named *named,
                          mt_caller_of *caller) {
    static const char *const allocators[] = {"malloc",   "enif", "binary",
                                             "resource", "env",  "driver"};
    mt_term index[MT_FRAMES_MAX];
    for (uint32_t i = 0; i < r->frames; i++) index[i] = number(env, named->name[i]->index);
    const double sums[] = {r->totals.peak_bytes, r->totals.allocated, r->totals.allocated_bytes,
                           r->totals.allocated_variance, r->totals.allocated_bytes_variance};
    enum { HEAD = 3, SUMS = sizeof sums / sizeof *sums };
    mt_term stack[HEAD + SUMS] = {enif_make_list_from_array(env, index, r->frames),
                                  enif_make_atom(env, allocators[r->allocator]),
                                  caller_term(env, caller(r->caller))};
    for (int i = 0; i < SUMS; i++) stack[HEAD + i] = enif_make_double(env, sums[i]);
    return enif_make_tuple_from_array(env, stack, HEAD + SUMS);
}

typedef struct {
    const mt_record *record;
    const mt_named *named;
} pair;

/* By row, and by what its addresses are called: a row may have changed hands while the snapshot
 * was taken, and the same addresses may have been another library's at another time. */
static int by_stack(const void *a, const void *b) {
    const pair *x = a, *y = b;
    const mt_record *r = x->record, *s = y->record;
    if (r->chunk.site != s->chunk.site) return r->chunk.site < s->chunk.site ? -1 : 1;
    if (r->caller != s->caller) return r->caller < s->caller ? -1 : 1;
    if (r->allocator != s->allocator) return r->allocator < s->allocator ? -1 : 1;
    if (r->frames != s->frames) return r->frames < s->frames ? -1 : 1;
    return memcmp(x->named->name, y->named->name, r->frames * sizeof *x->named->name);
}

static mt_term snapshot(ErlNifEnv *env, pair *sorted, uint32_t n, mt_caller_of *caller,
                        uint64_t now_ns, mt_term *stacks) {
    mt_term chunks = enif_make_list(env, 0);
    uint32_t count = 0;
    mt_memory_sort(sorted, n, sizeof *sorted, by_stack);
    for (uint32_t i = 0; i < n; i++) {
        if (i == 0 || by_stack(&sorted[i], &sorted[i - 1]) != 0)
            stacks[count++] = stack_term(env, sorted[i].record, sorted[i].named, caller);
        chunks = enif_make_list_cell(env, chunk_term(env, sorted[i].record, count - 1), chunks);
    }
    return enif_make_tuple3(env, chunks, enif_make_tuple_from_array(env, stacks, count),
                            number(env, now_ns));
}

mt_term mt_terms_snapshot(ErlNifEnv *env, const mt_record *records, const mt_named *named,
                          uint32_t n, const mt_name *const *names, uint32_t count,
                          mt_caller_of *caller, uint64_t now_ns) {
    uint32_t most = n > count ? n : count;
    mt_term *room = mt_memory_map(most * sizeof *room);
    pair *sorted = mt_memory_map(n * sizeof *sorted);
    mt_term result = enif_make_atom(env, "no_memory");
    if (room && sorted) {
        mt_term names_of = names_term(env, names, count, room);
        for (uint32_t i = 0; i < n; i++) sorted[i] = (pair){&records[i], &named[i]};
        result =
            enif_make_tuple2(env, snapshot(env, sorted, n, caller, now_ns, room), names_of);
    }
    mt_memory_unmap(room, most * sizeof *room);
    mt_memory_unmap(sorted, n * sizeof *sorted);
    return result;
}
