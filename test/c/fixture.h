/* fixture: objects that are compiled for a test, in a folder that goes away with it. */
#ifndef FIXTURE_H
#define FIXTURE_H

#include "unit.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>
#include <unistd.h>

static char fixture_folder[64];

/* Runs a shell command in which $D is the folder and $F where the sources are; what it prints
 * is dropped. */
static inline int __attribute__((format(printf, 1, 2))) fixture_sh(const char *format, ...) {
    char command[2048];
    va_list arguments;
    va_start(arguments, format);
    int n = snprintf(command, sizeof command, "D=%s F=fixtures; {\n", fixture_folder);
    n += vsnprintf(command + n, sizeof command - (size_t)n, format, arguments);
    va_end(arguments);
    snprintf(command + n, sizeof command - (size_t)n, "\n} >/dev/null 2>&1");
    return system(command);
}

#define fixture_make(...) assert_int_equal(fixture_sh(__VA_ARGS__), 0)

/* Says why and skips if the tool is not there. */
#define fixture_needs(tool)                                                                    \
    do {                                                                                       \
        if (fixture_sh("command -v %s", tool) != 0) {                                          \
            printf("   %s is not installed: not tested\n", tool);                              \
            skip();                                                                            \
        }                                                                                      \
    } while (0)

/* The name of a file in the folder; one of a few buffers. */
static inline const char *fixture_path(const char *name) {
    static char path[8][256];
    static int which;
    which = (which + 1) % 8;
    snprintf(path[which], sizeof path[which], "%s/%s", fixture_folder, name);
    return path[which];
}

static inline int fixture_start(void **state) {
    (void)state;
    snprintf(fixture_folder, sizeof fixture_folder, "/tmp/mtrace-fixture-XXXXXX");
    return mkdtemp(fixture_folder) ? 0 : -1;
}

static inline int fixture_end(void **state) {
    (void)state;
    return fixture_sh("rm -rf \"$D\"");
}

static __attribute__((noinline, used)) void *fixture_here(void) {
    return __builtin_return_address(0);
}

/* Loads the object and lets it say where its innermost call was: an address in the file, of the
 * last byte of the call, and the lines of the call, the one that it was inlined into, and the
 * next. */
static inline uint64_t fixture_address(const char *name, int lines[4]) {
    void *library = dlopen(fixture_path(name), RTLD_NOW | RTLD_LOCAL);
    if (!library) fail_msg("%s", dlerror());
    struct link_map *map;
    assert_int_equal(dlinfo(library, RTLD_DI_LINKMAP, &map), 0);
    void *(*f)(int *) = (void *(*)(int *))dlsym(library, "fixture");
    void *(*rust)(int *, void *(*)(void)) =
        (void *(*)(int *, void *(*)(void)))dlsym(library, "rust_fixture");
    char *address = f ? f(lines) : rust(lines, fixture_here);
    assert_non_null(address);
    uint64_t in_file = (uint64_t)((uintptr_t)address - 1 - map->l_addr);
    dlclose(library);
    return in_file;
}

#endif
