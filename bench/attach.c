/* Attaches to the program at its start, for bin/bench: preloaded, it loads the object that
 * MTRACE_OBJECT names and switches tracing on as a NIF would. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "serve/core.h"

__attribute__((constructor)) static void attach(void) {
    const char *path = getenv("MTRACE_OBJECT");
    void *object = path ? dlopen(path, RTLD_NOW) : NULL;
    const mt_core *core = object ? dlsym(object, "mtrace_core") : NULL;
    if (!core || core->attach(MT_ATTACH_MALLOC) != MT_ATTACH_DONE) {
        fprintf(stderr, "attach: not attached\n");
        exit(1);
    }
}
