/* nif_resources: see the header. */
#include "nif_resources.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>

#include "nif_calls.h"
#include "nif_tables.h"
#include "record/peek.h"
#include "record/readable.h"
#include "record/tracer.h"

enum { TYPES = 2048, WORDS = 24, PLACES = 2 };

/* What is known of a type stands in the low bits of its address. */
enum { UNKNOWN = 0, ENDS = 1, NEVER = 2, KNOWN = 3 };

static _Atomic uintptr_t types[TYPES]; /* by hash; only added to until a stop */
static atomic_bool full, without;      /* without: a type from before that has no destructor */

/* Words of a type that hold its destructor, as found with our own. */
static ErlNifResourceType *probe;
static uint32_t place[PLACES];
static _Atomic uint32_t places;

static _Atomic uintptr_t *slot_of(const ErlNifResourceType *type) {
    uintptr_t address = (uintptr_t)type;
    uint32_t at = (uint32_t)(((uint64_t)address * 0x9e3779b97f4a7c15ull) >> 40) % TYPES;
    for (uint32_t i = 0; i < TYPES; i++, at = (at + 1) % TYPES) {
        uintptr_t there = atomic_load_explicit(&types[at], memory_order_relaxed);
        if (there == 0 || (there & ~(uintptr_t)KNOWN) == address) return &types[at];
    }
    return NULL;
}

/* Two threads that want the same slot for two types: the second looks on. */
static void note(const ErlNifResourceType *type, uintptr_t what) {
    uintptr_t address = (uintptr_t)type;
    for (_Atomic uintptr_t *slot; (slot = slot_of(type)) != NULL;) {
        uintptr_t there = atomic_load_explicit(slot, memory_order_relaxed);
        if ((there == 0 || (there & ~(uintptr_t)KNOWN) == address) &&
            atomic_compare_exchange_strong(slot, &there, address | what))
            return;
    }
    atomic_store_explicit(&full, true, memory_order_relaxed);
}

static uintptr_t known(const ErlNifResourceType *type) {
    _Atomic uintptr_t *slot = slot_of(type);
    return slot ? atomic_load_explicit(slot, memory_order_relaxed) & KNOWN : NEVER;
}

static void opened(const ErlNifResourceType *type, bool wrapped) {
    if (type) note(type, wrapped ? ENDS : NEVER);
}

static ErlNifResourceType *open_resource_type(ErlNifEnv *env, const char *module,
                                              const char *name, ErlNifResourceDtor *destructor,
                                              ErlNifResourceFlags flags,
                                              ErlNifResourceFlags *tried) {
    void *thunk = mt_nif_calls_destructor((void *)destructor, name);
    ErlNifResourceType *type = enif_open_resource_type(
        env, module, name, thunk ? (ErlNifResourceDtor *)thunk : destructor, flags, tried);
    opened(type, thunk != NULL);
    return type;
}

/* The library's header may know of the first three fields only; the VM then reads no more of
 * the copy either, so what follows does not matter but for being there. */
static mt_resource_init copy_of(const mt_resource_init *init) {
    mt_resource_init copy = {0};
    uintptr_t last = (uintptr_t)init + sizeof *init - 1;
    bool whole = ((uintptr_t)init ^ last) < 4096 || mt_readable(last);
    memcpy(&copy, init, whole ? sizeof copy : offsetof(mt_resource_init, members));
    return copy;
}

static ErlNifResourceType *open_resource_type_x(ErlNifEnv *env, const char *name,
                                                const ErlNifResourceTypeInit *init,
                                                ErlNifResourceFlags flags,
                                                ErlNifResourceFlags *tried) {
    mt_resource_init copy = copy_of((const mt_resource_init *)init);
    void *thunk = mt_nif_calls_destructor((void *)copy.destructor, name);
    if (!thunk) return enif_open_resource_type_x(env, name, init, flags, tried);
    copy.destructor = (ErlNifResourceDtor *)thunk;
    ErlNifResourceType *type = enif_open_resource_type_x(
        env, name, (const ErlNifResourceTypeInit *)&copy, flags, tried);
    opened(type, true);
    return type;
}

/* `members` tells how many fields count, the destructor first. */
static ErlNifResourceType *init_resource_type(ErlNifEnv *env, const char *name,
                                              const mt_resource_init *init,
                                              ErlNifResourceFlags flags,
                                              ErlNifResourceFlags *tried) {
    mt_resource_init copy = *init;
    void *real = copy.members > 0 ? (void *)copy.destructor : NULL;
    void *thunk = copy.members >= 0 ? mt_nif_calls_destructor(real, name) : NULL;
    if (!thunk) return mt_beam_init_resource_type(env, name, init, flags, tried);
    copy.destructor = (ErlNifResourceDtor *)thunk;
    if (copy.members == 0) copy.members = 1;
    ErlNifResourceType *type = mt_beam_init_resource_type(env, name, &copy, flags, tried);
    opened(type, true);
    return type;
}

static void gone(void *resource) {
    if (mt_tracer_on()) mt_tracer_forget(resource);
}

static const mt_redirection redirections[] = {
    {"enif_open_resource_type", (void *)open_resource_type, MT_REDIRECT_LIBRARIES},
    {"enif_open_resource_type_x", (void *)open_resource_type_x, MT_REDIRECT_LIBRARIES},
    {"enif_init_resource_type", (void *)init_resource_type, MT_REDIRECT_LIBRARIES},
};

enum { N = sizeof redirections / sizeof *redirections };

int mt_nif_resources_start(void) {
    mt_nif_calls_gone = gone;
    return mt_nif_tables_add(redirections, N);
}

/* While nobody looks, types may come and go at the same address. */
void mt_nif_resources_stop(void) {
    mt_nif_tables_remove(redirections, N);
    for (uint32_t i = 0; i < TYPES; i++) atomic_store(&types[i], 0);
    atomic_store(&full, false);
    atomic_store(&without, false);
}

static void never_called(ErlNifEnv *env, void *resource) {
    (void)env, (void)resource;
}

void mt_nif_resources_probe(ErlNifEnv *env) {
    ErlNifResourceFlags tried;
    if (!enif_open_resource_type) return;
    atomic_store(&places, 0);
    probe = enif_open_resource_type(env, NULL, "mtrace_probe", never_called,
                                    ERL_NIF_RT_CREATE | ERL_NIF_RT_TAKEOVER, &tried);
}

/* The VM keeps one or two copies of the callbacks: stop and down, which ours has not, follow.
 */
bool mt_nif_resources_calibrate(void) {
    uintptr_t word[WORDS];
    uint32_t n = 0;
    mt_peek peek;
    if (atomic_load(&places)) return true;
    mt_peek_open(&peek);
    bool read = probe && mt_peek_copy(&peek, (uintptr_t)probe, word, sizeof word);
    mt_peek_close(&peek);
    for (uint32_t i = 0; read && i + 2 < WORDS; i++) {
        if (word[i] != (uintptr_t)never_called) continue;
        if (n == PLACES || word[i + 1] || word[i + 2]) return false;
        place[n++] = i;
    }
    atomic_store_explicit(&places, n, memory_order_release);
    return n != 0;
}

/* What the VM itself puts there, while a type changes hands or as a dummy, stays. */
static bool is_of_a_library(void *function) {
    Dl_info info, vm, ours;
    return dladdr(function, &info) && dladdr((void *)enif_alloc, &vm) &&
           dladdr((void *)is_of_a_library, &ours) && info.dli_fbase != vm.dli_fbase &&
           info.dli_fbase != ours.dli_fbase;
}

/* The VM reads the word when a resource dies: before or after, either is right, because this
 * resource is not there yet. */
static uintptr_t adopt(ErlNifResourceType *type) {
    uint32_t n = atomic_load_explicit(&places, memory_order_acquire);
    void *_Atomic *word = (void *_Atomic *)type;
    if (n == 0) return UNKNOWN;
    void *real = atomic_load(&word[place[0]]);
    if (n == 2 && atomic_load(&word[place[1]]) != real) return UNKNOWN;
    if (mt_nif_calls_is_callback(real)) return ENDS;
    if (!real) atomic_store(&without, true);
    if (!real || !is_of_a_library(real)) return NEVER;
    void *thunk = mt_nif_calls_destructor(real, "");
    if (!thunk) return NEVER;
    for (uint32_t i = 0; i < n; i++) {
        void *expected = real;
        if (!atomic_compare_exchange_strong(&word[place[i]], &expected, thunk)) return NEVER;
    }
    return ENDS;
}

bool mt_nif_resources_ends(ErlNifResourceType *type) {
    uintptr_t what = type ? known(type) : NEVER;
    if (what == UNKNOWN && (what = adopt(type)) != UNKNOWN) note(type, what);
    return what == ENDS;
}

const char *mt_nif_resources_lacks(void) {
    if (atomic_load(&full))
        return "resources of some types are not recorded: there are more types than there is room "
               "for";
    if (atomic_load(&without))
        return "resources of some types are not recorded: these were opened before Mtrace came, "
               "and have no destructor";
    return atomic_load(&places)
               ? NULL
               : "resources of types that were opened before Mtrace came are not "
                 "recorded: where this VM keeps their destructors could not be "
                 "made out";
}
