/* nif_calls: see the header. */
#include "nif_calls.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "erlang_stack.h"
#include "kept.h"
#include "nif_tables.h"
#include "redirect.h"
#include "thunks.h"

enum { MOST_FUNCTIONS = 10000 };

__thread mt_call *volatile mt_nif_calls_mine;

ERL_NIF_TERM mt_nif_calls_run(ErlNifEnv *, int, const ERL_NIF_TERM[], uintptr_t, uintptr_t,
                              uint32_t);
uintptr_t mt_nif_calls_call_back(void *, void *, void *, void *, uintptr_t, uint32_t);
ErlNifEntry *mt_nif_calls_init(uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uint32_t);

MT_THUNKS(nifs, 4096, mt_nif_calls_run);
MT_THUNKS(callbacks, 1024, mt_nif_calls_call_back);
MT_THUNKS(inits, 512, mt_nif_calls_init);

void (*mt_nif_calls_gone)(void *resource);

static atomic_bool started, scheduling; /* scheduling: there are schedulers to ask about */
static atomic_bool unknown_version;

/* A call begins when all of it is written: a signal handler may allocate at any moment. */
static inline void begin(mt_call *call) {
    call->outer = mt_nif_calls_mine;
    call->pid = 0;
    atomic_signal_fence(memory_order_release);
    mt_nif_calls_mine = call;
}

static inline void end(const mt_call *call) {
    mt_nif_calls_mine = call->outer;
}

MT_THUNKS_FUNCTION ERL_NIF_TERM mt_nif_calls_run(ErlNifEnv *env, int argc,
                                                 const ERL_NIF_TERM argv[], uintptr_t unused_3,
                                                 uintptr_t unused_4, uint32_t i) {
    (void)unused_3, (void)unused_4;
    const mt_thunk *thunk = &nifs_thunk[i];
    ERL_NIF_TERM(*nif)
    (ErlNifEnv *, int, const ERL_NIF_TERM[]) =
        (ERL_NIF_TERM(*)(ErlNifEnv *, int, const ERL_NIF_TERM[]))atomic_load_explicit(
            &thunk->target, memory_order_relaxed);
    mt_call call;
    call.env = env;
    call.row = atomic_load_explicit(&thunk->row, memory_order_relaxed);
    begin(&call);
    ERL_NIF_TERM result = nif(env, argc, argv);
    end(&call);
    return result;
}

/* Callbacks with two to four arguments, and results that fit a register. */
MT_THUNKS_FUNCTION uintptr_t mt_nif_calls_call_back(void *a, void *b, void *c, void *d,
                                                    uintptr_t unused, uint32_t i) {
    (void)unused;
    const mt_thunk *thunk = &callbacks_thunk[i];
    uintptr_t (*function)(void *, void *, void *, void *) =
        (uintptr_t(*)(void *, void *, void *, void *))atomic_load_explicit(
            &thunk->target, memory_order_relaxed);
    mt_call call;
    call.row = atomic_load_explicit(&thunk->row, memory_order_relaxed);
    const mt_caller *caller = mt_callers_get(call.row);
    bool destroys = caller && caller->kind == MT_CALLER_DESTRUCTOR;
    call.env = destroys ? NULL : a;
    begin(&call);
    uintptr_t result = function(a, b, c, d);
    end(&call);
    if (destroys && mt_nif_calls_gone) mt_nif_calls_gone(b);
    return result;
}

static const mt_caller *current(void) {
    const mt_call *call = mt_nif_calls_mine;
    return call ? mt_callers_get(call->row) : NULL;
}

/* By version, as erl_nif.h has it; 0: not known. */
static size_t entry_bytes(const ErlNifEntry *entry) {
    if (entry->major != 2 || entry->minor < 7 || entry->minor > 18) return 0;
    if (entry->minor >= 14) return sizeof *entry;
    if (entry->minor >= 12) return offsetof(ErlNifEntry, min_erts);
    return offsetof(ErlNifEntry, sizeof_ErlNifResourceTypeInit);
}

bool mt_nif_calls_knows(const ErlNifEntry *entry) {
    return entry_bytes(entry) != 0 && entry->name && entry->num_of_funcs >= 0 &&
           entry->num_of_funcs <= MOST_FUNCTIONS && (entry->num_of_funcs == 0 || entry->funcs);
}

void *mt_nif_calls_thunk(void *function, const char *module, const char *name, unsigned arity) {
    uint32_t row = mt_callers_row(MT_CALLER_NIF, module, name, arity);
    return row ? mt_thunks_get(&nifs, function, row) : NULL;
}

bool mt_nif_calls_is_thunk(const void *address) {
    return mt_thunks_is_thunk(&nifs, address);
}

bool mt_nif_calls_is_callback(const void *address) {
    return mt_thunks_is_thunk(&callbacks, address);
}

static uintptr_t nothing_to_destroy(void *env, void *resource, void *c, void *d) {
    (void)env, (void)resource, (void)c, (void)d;
    return 0;
}

/* The module is the one whose load or upgrade is running; types are opened nowhere else. */
void *mt_nif_calls_destructor(void *real, const char *type) {
    const mt_caller *now = current();
    uint32_t row =
        mt_callers_row(MT_CALLER_DESTRUCTOR, now ? now->module : "", type ? type : "", 2);
    return row ? mt_thunks_get(&callbacks, real ? real : (void *)nothing_to_destroy, row)
               : NULL;
}

static void *callback(void *function, const char *module, const char *name, unsigned arity) {
    uint32_t row = function ? mt_callers_row(MT_CALLER_LOAD, module, name, arity) : 0;
    void *thunk = row ? mt_thunks_get(&callbacks, function, row) : NULL;
    return thunk ? thunk : function;
}

static void wrap_functions(ErlNifEntry *copy) {
    for (int i = 0; i < copy->num_of_funcs; i++) {
        ErlNifFunc *f = &copy->funcs[i];
        void *thunk =
            f->name ? mt_nif_calls_thunk((void *)f->fptr, copy->name, f->name, f->arity) : NULL;
        if (thunk) f->fptr = (ERL_NIF_TERM(*)(ErlNifEnv *, int, const ERL_NIF_TERM[]))thunk;
    }
    *(void **)&copy->load = callback((void *)copy->load, copy->name, "load", 3);
    *(void **)&copy->upgrade = callback((void *)copy->upgrade, copy->name, "upgrade", 4);
    *(void **)&copy->unload = callback((void *)copy->unload, copy->name, "unload", 2);
}

typedef struct wrapped {
    struct wrapped *next;
    ErlNifEntry entry;
    ErlNifFunc function[];
} wrapped;

/* Copies that were made before; the VM keeps pointers to their functions. */
static wrapped *_Atomic copies;

static bool same(const wrapped *a, const wrapped *b) {
    size_t functions = (size_t)a->entry.num_of_funcs * sizeof(ErlNifFunc);
    ErlNifEntry plain = a->entry;
    plain.funcs = b->entry.funcs;
    return a->entry.num_of_funcs == b->entry.num_of_funcs &&
           memcmp(&plain, &b->entry, sizeof plain) == 0 &&
           memcmp(a->function, b->function, functions) == 0;
}

/* One that says the same, or a new one that lasts. Two threads that come with the same library
 * at once keep two. */
static ErlNifEntry *lasting(const wrapped *scratch, size_t functions) {
    wrapped *first = atomic_load_explicit(&copies, memory_order_acquire);
    for (wrapped *w = first; w; w = w->next)
        if (same(w, scratch)) return &w->entry;
    wrapped *fresh = mt_kept_take(sizeof *fresh + functions);
    if (!fresh) return NULL;
    memcpy(fresh, scratch, sizeof *fresh + functions);
    fresh->entry.funcs = fresh->function;
    do fresh->next = first;
    while (!atomic_compare_exchange_weak_explicit(&copies, &first, fresh, memory_order_release,
                                                  memory_order_relaxed));
    return &fresh->entry;
}

static ErlNifEntry *wrap(ErlNifEntry *entry) {
    if (!mt_nif_calls_knows(entry)) {
        atomic_store(&unknown_version, true);
        return entry;
    }
    size_t functions = (size_t)entry->num_of_funcs * sizeof(ErlNifFunc);
    wrapped *scratch = mmap(NULL, sizeof *scratch + functions, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (scratch == MAP_FAILED) return entry;
    memcpy(&scratch->entry, entry, entry_bytes(entry));
    if (functions) memcpy(scratch->function, entry->funcs, functions);
    scratch->entry.funcs = scratch->function;
    wrap_functions(&scratch->entry);
    ErlNifEntry *copy = lasting(scratch, functions);
    munmap(scratch, sizeof *scratch + functions);
    return copy ? copy : entry;
}

MT_THUNKS_FUNCTION ErlNifEntry *mt_nif_calls_init(uintptr_t a, uintptr_t b, uintptr_t c,
                                                  uintptr_t d, uintptr_t unused, uint32_t i) {
    (void)a, (void)b, (void)c, (void)d, (void)unused;
    ErlNifEntry *(*init)(void) = (ErlNifEntry * (*)(void))
        atomic_load_explicit(&inits.thunk[i].target, memory_order_relaxed);
    ErlNifEntry *entry = init();
    atomic_store_explicit(&scheduling, true, memory_order_relaxed);
    return entry && atomic_load(&started) ? wrap(entry) : entry;
}

static bool is_ours(const void *function) {
    Dl_info ours, other;
    return dladdr((void *)is_ours, &ours) && dladdr(function, &other) &&
           ours.dli_fbase == other.dli_fbase;
}

static void *found(void *handle, const char *name, void *function) {
    (void)handle;
    if (!function || strcmp(name, "nif_init") != 0 || is_ours(function)) return function;
    void *thunk = mt_thunks_get(&inits, function, 0);
    return thunk ? thunk : function;
}

/* The scheduled function is called by the VM later, with no nif_init to see it in. */
static ERL_NIF_TERM schedule_nif(ErlNifEnv *env, const char *name, int flags,
                                 ERL_NIF_TERM (*function)(ErlNifEnv *, int,
                                                          const ERL_NIF_TERM[]),
                                 int argc, const ERL_NIF_TERM argv[]) {
    const mt_caller *now = current();
    void *thunk = NULL;
    if (now && now->kind == MT_CALLER_NIF && env == mt_nif_calls_mine->env && name && argc >= 0)
        thunk = mt_nif_calls_thunk((void *)function, now->module, name, (unsigned)argc);
    if (thunk) function = (ERL_NIF_TERM(*)(ErlNifEnv *, int, const ERL_NIF_TERM[]))thunk;
    return enif_schedule_nif(env, name, flags, function, argc, argv);
}

static const mt_redirection redirections[] = {
    {"enif_schedule_nif", (void *)schedule_nif, MT_REDIRECT_LIBRARIES},
};

static mt_thread_kind kind_of(int type) {
    return type == ERL_NIF_THR_NORMAL_SCHEDULER      ? MT_THREAD_NORMAL
           : type == ERL_NIF_THR_DIRTY_CPU_SCHEDULER ? MT_THREAD_DIRTY_CPU
           : type == ERL_NIF_THR_DIRTY_IO_SCHEDULER  ? MT_THREAD_DIRTY_IO
                                                     : MT_THREAD_OTHER;
}

/* Thread and process stay the same in a call: they are asked for once. The process last: a
 * signal handler may allocate in between. */
static void ask(mt_context *out, mt_call *call) {
    bool asks = atomic_load_explicit(&scheduling, memory_order_relaxed);
    ErlNifPid self;
    /* Asked before that, of a scheduler that is just starting, the VM ends itself. */
    int type = asks ? enif_thread_type() : ERL_NIF_THR_UNDEFINED;
    out->thread = kind_of(type);
    if (!call && asks && type == ERL_NIF_THR_UNDEFINED) out->caller = MT_CALLERS_THREAD;
    if (!call || !call->env || !mt_callers_get(call->row)) return;
    if (!enif_self(call->env, &self)) return;
    out->pid = self.pid;
    call->thread = out->thread;
    atomic_signal_fence(memory_order_release);
    call->pid = self.pid;
}

static void read_context(mt_context *out, uint32_t erlang_depth) {
    mt_call *call = mt_nif_calls_mine;
    out->caller = call ? call->row : 0;
    out->erlang_frames = 0;
    out->pid = call ? call->pid : 0;
    if (out->pid) out->thread = (mt_thread_kind)call->thread;
    else ask(out, call);
    if (out->pid && mt_callers_get(out->caller)->kind == MT_CALLER_NIF)
        out->erlang_frames = mt_erlang_stack(call->env, out->pid, out->erlang, erlang_depth);
}

int mt_nif_calls_start(bool scheduling_now) {
    if (!enif_alloc || !enif_self || !enif_thread_type || !nifs.code) return -1;
    if (scheduling_now) atomic_store(&scheduling, true);
    if (atomic_load(&started)) return 0;
    if (mt_nif_tables_add(redirections, sizeof redirections / sizeof *redirections) != 0)
        return -1;
    atomic_store(&started, true);
    atomic_store(&mt_redirect_on_dlsym, found);
    atomic_store(&mt_context_read, read_context);
    return 0;
}

void mt_nif_calls_scheduling(void) {
    atomic_store(&scheduling, true);
}

void mt_nif_calls_stop(void) {
    if (!atomic_exchange(&started, false)) return;
    atomic_store(&mt_redirect_on_dlsym, NULL);
    mt_nif_tables_remove(redirections, sizeof redirections / sizeof *redirections);
}

const char *mt_nif_calls_lacks(void) {
    if (!enif_alloc) return "this program is no BEAM: nothing is known of callers";
    if (!nifs.code)
        return "callers are not known on this processor: Mtrace has no thunks for it";
    if (!atomic_load(&started)) return "callers are not looked for";
    if (atomic_load(&nifs.full) || atomic_load(&callbacks.full) || atomic_load(&inits.full) ||
        mt_callers_full())
        return "more NIFs have been loaded than there is room for: those that came last are not "
               "known as callers";
    if (atomic_load(&unknown_version))
        return "a library was built for a version of erl_nif.h that is not known here: its NIFs "
               "are not known as callers";
    return NULL;
}
