/* attach: see the header. */
#include "attach.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "malloc.h"
#include "own.h"
#include "preload.h"
#include "record/control.h"
#include "record/log.h"
#include "record/tracer.h"
#include "redirect.h"
#include "reused.h"
#include "vm.h"

MT_OWN_OF(malloc);
MT_OWN_OF(calloc);
MT_OWN_OF(realloc);
MT_OWN_OF(reallocarray);
MT_OWN_OF(free);
MT_OWN_OF(free_sized);
MT_OWN_OF(free_aligned_sized);
MT_OWN_OF(posix_memalign);
MT_OWN_OF(aligned_alloc);
MT_OWN_OF(memalign);
MT_OWN_OF(valloc);
MT_OWN_OF(pvalloc);
MT_OWN_OF(malloc_usable_size);
MT_OWN_OF(strdup);
MT_OWN_OF(strndup);
MT_OWN_OF(dl_iterate_phdr);
MT_OWN_OF(dlclose);

#define OURS(f)                                                                                \
    { #f, own_##f, MT_REDIRECT_ALL }

/* What gives back comes first and goes last: what is recorded meanwhile can end. */
static const mt_redirection giving[] = {
    OURS(free),    OURS(free_sized),   OURS(free_aligned_sized),
    OURS(realloc), OURS(reallocarray), OURS(dl_iterate_phdr),
    OURS(dlclose)};
static const mt_redirection taking[] = {OURS(malloc),
                                        OURS(calloc),
                                        OURS(posix_memalign),
                                        OURS(aligned_alloc),
                                        OURS(memalign),
                                        OURS(valloc),
                                        OURS(pvalloc),
                                        OURS(malloc_usable_size),
                                        OURS(strdup),
                                        OURS(strndup),
                                        {"__strdup", own_strdup, MT_REDIRECT_ALL},
                                        {"__strndup", own_strndup, MT_REDIRECT_ALL}};

enum { GIVING = sizeof giving / sizeof *giving, TAKING = sizeof taking / sizeof *taking };

/* Each list is one look at all objects. */
typedef struct {
    mt_redirection list[GIVING + 1];
} giving_and_dlsym;

static giving_and_dlsym first_and_last(void) {
    giving_and_dlsym all;
    memcpy(all.list, giving, sizeof giving);
    all.list[GIVING] = mt_redirect_dlsym;
    return all;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(mt_attached) state = MT_ATTACHED_NEVER;

static unsigned parts; /* under the lock */

mt_attached mt_attach_state(void) {
    return atomic_load(&state);
}

/* From now on dlsym finds our interface, for the NIF of another copy of this file. What else we
 * export is found behind libc's. */
static void show_ourselves(void) {
    Dl_info info;
    if (!dladdr((void *)mt_attach, &info) || !info.dli_fname ||
        !dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL))
        dlerror(); /* not the program's */
}

static mt_attach_result may_attach(void) {
    switch (mt_preload_state()) {
    case MT_PRELOAD_TRACING:
        return MT_ATTACH_PRELOADED;
    case MT_PRELOAD_OFF:
        return MT_ATTACH_OFF;
    case MT_PRELOAD_SHADOWED:
        return MT_ATTACH_SHADOWED;
    case MT_PRELOAD_NO_MEMORY:
        return MT_ATTACH_NO_MEMORY;
    default:
        if (mt_malloc_is_ours()) return MT_ATTACH_PRELOADED;
        return mt_preload_mode() == MT_MODE_OFF ? MT_ATTACH_OFF : MT_ATTACH_DONE;
    }
}

static void *object_of(const char *function) {
    Dl_info info;
    void *f = mt_redirect_behind(function);
    return f && dladdr(f, &info) ? info.dli_fbase : NULL;
}

static mt_attach_result start_tracing(void) {
    if (atomic_load(&state) == MT_ATTACHED_BEFORE) {
        if (!mt_preload_log_again()) return MT_ATTACH_NO_LOG;
        mt_tracer_resume();
        return MT_ATTACH_DONE;
    }
    mt_preload started = mt_preload_start();
    return started == MT_PRELOAD_TRACING  ? MT_ATTACH_DONE
           : started == MT_PRELOAD_NO_LOG ? MT_ATTACH_NO_LOG
                                          : MT_ATTACH_NO_MEMORY;
}

/* What is behind our hooks must be known, and the tables mapped, before the first is called. */
static mt_attach_result begin(void) {
    if (atomic_load(&state) == MT_ATTACHED_NEVER) {
        mt_redirect_find(giving, GIVING);
        mt_redirect_find(taking, TAKING);
        if (!mt_redirect_behind("malloc") || !mt_redirect_behind("free"))
            return MT_ATTACH_NO_ALLOCATOR;
        show_ourselves();
    }
    mt_reused_start(mt_redirect_behind);
    if (object_of("memalign") != object_of("malloc")) mt_tracer_never_align();
    mt_attach_result started = start_tracing();
    if (started != MT_ATTACH_DONE) return started;
    mt_malloc_trace();
    giving_and_dlsym first = first_and_last();
    mt_redirect_add(first.list, GIVING + 1);
    atomic_store(&state, MT_ATTACHED_NOW);
    return MT_ATTACH_DONE;
}

/* The giving ones are there for any part: they tell of what is unloaded, too. */
static mt_attach_result add(unsigned wanted) {
    mt_attach_result may = may_attach();
    if (may != MT_ATTACH_DONE) return may;
    if (atomic_load(&state) != MT_ATTACHED_NOW) may = begin();
    if (may != MT_ATTACH_DONE) return may;
    if (wanted & ~parts & MT_ATTACH_MALLOC) mt_redirect_add(taking, TAKING);
    if (wanted & ~parts & MT_ATTACH_BEAM && mt_tracer_state.options.beam) mt_vm_start(true);
    parts |= wanted;
    return may;
}

mt_attach_result mt_attach(unsigned wanted) {
    mt_attach_result result = MT_ATTACH_DONE;
    pthread_mutex_lock(&lock);
    mt_tls_mine.quiet++;
    if (wanted & ~parts) result = add(wanted);
    mt_tls_mine.quiet--;
    pthread_mutex_unlock(&lock);
    return result;
}

mt_attach_result mt_attach_end(void) {
    mt_attach_result result = MT_ATTACH_DONE;
    pthread_mutex_lock(&lock);
    mt_tls_mine.quiet++;
    if (mt_preload_state() == MT_PRELOAD_TRACING) {
        result = MT_ATTACH_PRELOADED;
    } else if (atomic_load(&state) == MT_ATTACHED_NOW) {
        giving_and_dlsym last = first_and_last();
        mt_vm_stop();
        mt_redirect_remove(taking, TAKING);
        mt_tracer_pause();
        mt_log_end(MT_LOG_END_DETACHED);
        mt_redirect_remove(last.list, GIVING + 1);
        mt_reused_stop();
        mt_malloc_pass();
        atomic_store(&state, MT_ATTACHED_BEFORE);
        parts = 0;
    }
    mt_tls_mine.quiet--;
    pthread_mutex_unlock(&lock);
    return result;
}

unsigned mt_attach_parts(void) {
    pthread_mutex_lock(&lock);
    unsigned now = parts;
    pthread_mutex_unlock(&lock);
    return now;
}

void mt_attach_look(void) {
    if (atomic_load(&state) == MT_ATTACHED_NOW) mt_redirect_rescan_if_loaded();
}
