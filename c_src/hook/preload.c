/* preload: the constructor. Outside a traced process it must cost next to nothing. */
#include "preload.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "environment.h"
#include "malloc.h"
#include "next.h"
#include "record/options.h"
#include "record/tracer.h"

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

static void complain(const char *line) {
    char buffer[256];
    size_t n = strlen(line);
    if (n > sizeof buffer - 1) n = sizeof buffer - 1;
    memcpy(buffer, line, n);
    buffer[n] = '\n';
    ssize_t written = write(STDERR_FILENO, buffer, n + 1);
    (void)written;
}

static const char *environment_get(const char *name) {
    return secure_getenv(name);
}

static mt_preload start(void) {
    mt_options options = mt_options_read(environment_get, complain);
    mt_next_start();
    if (mt_tracer_start(&options) != 0) {
        complain("mtrace: no memory for the tables: nothing is traced; set MTRACE_SLOTS lower");
        return MT_PRELOAD_NO_MEMORY;
    }
    pthread_atfork(NULL, NULL, mt_tracer_stop);
    return MT_PRELOAD_TRACING;
}

/* A BEAM that dlopens us as a NIF runs this too: then malloc is not ours and no entry names
 * us, and nothing happens. */
__attribute__((constructor)) static void begin(void) {
    bool beam = enif_alloc != NULL;
    uint32_t mode = mt_options_mode(environment_get);
    if (!beam && mode != MT_MODE_ON) return;
    bool first = mt_malloc_is_ours();
    mt_options options = mt_options_read(environment_get, NULL);
    bool listed =
        beam && !options.children && mt_environment_remove(environ, entry_is_ours) > 0;
    if (!first) {
        if (listed) atomic_store(&state, MT_PRELOAD_SHADOWED);
        return;
    }
    atomic_store(&state, mode == MT_MODE_OFF ? MT_PRELOAD_OFF : start());
}
