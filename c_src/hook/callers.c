/* callers: see the header. An open table of row numbers, by hash, to which only is added. */
#include "callers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "kept.h"

enum { INDEX = 2 * MT_CALLERS };

static mt_caller row[MT_CALLERS] = {
    [MT_CALLERS_THREAD] = {"", "", 0, MT_CALLER_THREAD},
};
static _Atomic uint16_t row_at[INDEX]; /* 0: nothing there */
static _Atomic uint32_t rows = 2;
static atomic_bool full;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* FNV-1a. */
static uint32_t add_text(uint32_t h, const char *text) {
    do h = (h ^ (uint8_t)*text) * 16777619u;
    while (*text++);
    return h;
}

static uint32_t hash(const mt_caller *caller) {
    uint32_t h = (2166136261u ^ caller->kind) * 16777619u;
    h = (h ^ caller->arity) * 16777619u;
    return add_text(add_text(h, caller->module), caller->function);
}

static bool same(const mt_caller *a, const mt_caller *b) {
    return a->kind == b->kind && a->arity == b->arity && strcmp(a->module, b->module) == 0 &&
           strcmp(a->function, b->function) == 0;
}

/* The row, or 0 and where it would have to be noted. Acquire: who finds a number finds the row
 * filled. */
static uint32_t find(const mt_caller *caller, uint32_t *at) {
    *at = hash(caller) % INDEX;
    for (uint32_t r; (r = atomic_load_explicit(&row_at[*at], memory_order_acquire)) != 0;
         *at = (*at + 1) % INDEX)
        if (same(&row[r], caller)) return r;
    return 0;
}

static uint32_t add(const mt_caller *caller, uint32_t at) {
    uint32_t r = atomic_load_explicit(&rows, memory_order_relaxed);
    mt_caller copy = *caller;
    if (r < MT_CALLERS && (copy.module = mt_kept_text(caller->module)) &&
        (copy.function = mt_kept_text(caller->function))) {
        row[r] = copy;
        atomic_store_explicit(&rows, r + 1, memory_order_release);
        atomic_store_explicit(&row_at[at], (uint16_t)r, memory_order_release);
        return r;
    }
    atomic_store_explicit(&full, true, memory_order_relaxed);
    return 0;
}

uint32_t mt_callers_row(mt_caller_kind kind, const char *module, const char *function,
                        unsigned arity) {
    mt_caller caller = {module, function, arity, kind};
    uint32_t at, found = find(&caller, &at);
    if (found || mt_callers_full()) return found;
    pthread_mutex_lock(&lock);
    found = find(&caller, &at);
    if (!found) found = add(&caller, at);
    pthread_mutex_unlock(&lock);
    return found;
}

uint32_t mt_callers_find(mt_caller_kind kind, const char *module, const char *function,
                         unsigned arity) {
    mt_caller caller = {module, function, arity, kind};
    uint32_t at;
    return find(&caller, &at);
}

const mt_caller *mt_callers_get(uint32_t r) {
    bool there = r != 0 && r < atomic_load_explicit(&rows, memory_order_acquire);
    return there ? &row[r] : NULL;
}

bool mt_callers_full(void) {
    return atomic_load_explicit(&full, memory_order_relaxed);
}
