/* preload: the constructor. Outside a traced process it must cost next to nothing. */
#include "preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "environment.h"
#include "malloc.h"
#include "next.h"
#include "observed.h"
#include "record/options.h"
#include "record/control.h"
#include "record/log.h"
#include "record/seen.h"
#include "record/strays.h"
#include "record/tracer.h"
#include "vm.h"

extern void *enif_alloc(size_t size) __attribute__((weak));

static _Atomic(mt_preload) state = MT_PRELOAD_NO;

mt_preload mt_preload_state(void) {
    return atomic_load(&state);
}

static const char *basename_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static const char *own_path(void) {
    Dl_info info;
    return dladdr((void *)mt_preload_state, &info) && info.dli_fname ? info.dli_fname : "";
}

/* By name, by file (a link to it), or, where the loader searched or expanded, by last name. */
static int entry_is_ours(const char *entry) {
    const char *own = own_path();
    if (strcmp(entry, own) == 0) return 1;
    if (!strchr(entry, '/') || strchr(entry, '$'))
        return strcmp(basename_of(entry), basename_of(own)) == 0;
    struct stat a, b;
    return stat(entry, &a) == 0 && stat(own, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/* The same by its last name alone: what it names need not exist. */
static int entry_is_named(const char *entry) {
    return strcmp(basename_of(entry), basename_of(own_path())) == 0;
}

/* One line on stderr, if that takes it at once: neither a full pipe nor one that nobody reads
 * may stop or kill the program for our sake. */
static void complain(const char *line) {
    char buffer[256];
    size_t n = strnlen(line, sizeof buffer - 1);
    struct pollfd err = {STDERR_FILENO, POLLOUT, 0};
    struct timespec now = {0, 0};
    sigset_t pipe, before, pending;
    int saved = errno;
    memcpy(buffer, line, n);
    buffer[n] = '\n';
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    if (poll(&err, 1, 0) == 1 && write(STDERR_FILENO, buffer, n + 1) < 0 && errno == EPIPE &&
        !sigismember(&pending, SIGPIPE))
        sigtimedwait(&pipe, NULL, &now);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
}

static mt_getenv *given;
static uint64_t most_slots = UINT64_MAX;

static const char *environment_get(const char *name) {
    return given ? given(name) : secure_getenv(name);
}

void mt_preload_given(mt_getenv *get) {
    given = get;
}

void mt_preload_limit_slots(uint64_t slots) {
    most_slots = slots;
}

/* Weak: musl has no such thing, and must be able to load us. What it does not catch, and where
 * it is missing, the tracer's switch does. */
extern int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void),
                             void *dso_handle) __attribute__((weak));
extern void *__dso_handle __attribute__((visibility("hidden")));

static void in_child(void) {
    mt_tracer_stop();
    mt_malloc_pass();
    mt_observed_forked();
}

/* The linker lists objects in the order of loading: what is preloaded stands before the C
 * library. */
static int is_first(struct dl_phdr_info *info, size_t size, void *context) {
    (void)size, (void)context;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t lo = info->dlpi_addr + p->p_vaddr;
        if (p->p_type != PT_LOAD) continue;
        if ((uintptr_t)is_first - lo < p->p_memsz) return 1;
        if ((uintptr_t)mt_next_get(dlclose) - lo < p->p_memsz) return -1;
    }
    return 0;
}

/* Where a log was asked for and cannot be written nothing is traced. */
static bool begin_log(mt_options *options) {
    mt_log_options log = mt_options_read_log(environment_get, complain);
    char line[240];
    if (!log.file) return true;
    options->interval = 0; /* everything */
    if (mt_log_begin(&log, (uint32_t)options->depth) == 0) return true;
    snprintf(line, sizeof line, "mtrace: MTRACE_LOG cannot be written: %s: nothing is traced",
             strerror(errno));
    complain(line);
    return false;
}

__attribute__((destructor)) static void end_log(void) {
    mt_log_end(MT_LOG_END_EXIT);
}

static mt_preload start(mt_options *options) {
    if (!begin_log(options)) return MT_PRELOAD_NO_LOG;
    if (mt_tracer_start(options) != 0) {
        complain("mtrace: no memory for the tables: nothing is traced; set MTRACE_SLOTS lower");
        return MT_PRELOAD_NO_MEMORY;
    }
    if (__register_atfork) __register_atfork(NULL, NULL, in_child, &__dso_handle);
    return MT_PRELOAD_TRACING;
}

mt_preload mt_preload_start(void) {
    mt_options options = mt_options_read(environment_get, complain);
    if (options.slots > most_slots) options.slots = most_slots;
    return start(&options);
}

bool mt_preload_log_again(void) {
    mt_options options = mt_options_read(environment_get, complain);
    return !given || begin_log(&options);
}

/* musl has no such function, and gives constructors no arguments either. */
extern const char *gnu_get_libc_version(void) __attribute__((weak));

static void clean_list(char **list, bool variables_too) {
    mt_environment_remove(list, entry_is_ours);
    if (variables_too) mt_observed_clean(list);
}

/* What this process starts is as it would be without us. */
static void clean(int argc, char **argv, bool variables_too) {
    bool kernels = gnu_get_libc_version && argv + argc + 1 == environ;
    char **copy = kernels ? mt_environment_copy(environ) : NULL;
    clean_list(copy ? copy : environ, variables_too);
    if (!copy) return;
    mt_environment_settle(environ, copy);
    environ = copy;
}

/* For mtracectl, if it wants to: where it has gone nobody would look at what is recorded. */
static mt_preload start_preloaded(int argc, char **argv) {
    mt_options options = mt_options_read(environment_get, complain);
    mt_observed met = mt_observed_meet(&options, environment_get);
    if (met == MT_OBSERVED_NO_MEMORY)
        complain("mtrace: no memory that can be shared (or no memfd_create, Linux 3.17): "
                 "nothing is traced; run it with fewer --slots");
    mt_preload result = met == MT_OBSERVED_NO || met == MT_OBSERVED_MEETING ? start(&options)
                        : met == MT_OBSERVED_ALONE                          ? MT_PRELOAD_NO
                                                   : MT_PRELOAD_NO_MEMORY;
    if (result == MT_PRELOAD_TRACING && met == MT_OBSERVED_MEETING) {
        mt_seen_start();
        if (options.orphans) mt_strays_start();
        mt_observed_begin(&options);
    }
    mt_observed_hang_up();
    if (met != MT_OBSERVED_NO && !options.children) clean(argc, argv, true);
    return result;
}

uint64_t mt_preload_mode(void) {
    return mt_options_mode(environment_get);
}

/* Everything behind us is looked up in every process: done later, inside a hook, that would
 * take the loader's lock and the program's dlerror. A BEAM that dlopens us as a NIF runs this
 * too: then malloc is not ours and no entry names us, and nothing happens. */
static mt_preload decide(int argc, char **argv) {
    bool beam = enif_alloc != NULL;
    uint64_t mode = mt_preload_mode();
    if (!beam && mode != MT_MODE_ON) return MT_PRELOAD_NO;
    if (mt_observed_passes_by(argc, argv, environment_get)) return MT_PRELOAD_NO;
    bool first = mt_malloc_is_ours();
    bool listed = mt_environment_count(environ, entry_is_ours) > 0;
    if (!first && !listed)
        return mt_environment_count(environ, entry_is_named) ? MT_PRELOAD_LATE : MT_PRELOAD_NO;
    if (beam && listed && !mt_options_read(environment_get, NULL).children)
        clean(argc, argv, false);
    if (!first)
        return dl_iterate_phdr(is_first, NULL) > 0 ? MT_PRELOAD_SHADOWED : MT_PRELOAD_LATE;
    return mode == MT_MODE_OFF ? MT_PRELOAD_OFF : start_preloaded(argc, argv);
}

/* The program's arguments are glibc's gift to constructors: elsewhere they are not to be read.
 */
__attribute__((constructor)) static void begin(int argc, char **argv) {
    mt_next_start();
    mt_preload decided = decide(argc, argv);
    if (decided != MT_PRELOAD_TRACING) mt_malloc_pass();
    else if (mt_tracer_state.options.beam) mt_vm_start(false);
    atomic_store(&state, decided);
}
