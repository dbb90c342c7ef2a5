/* backtraces: see the header. Lines are
 *
 *   #0  0x00007f12 in malloc (bytes=5) at malloc.c:3320
 *   #1  0x00007f13 in ?? () from /lib/x86_64-linux-gnu/libc.so.6
 *   #2  main () at main.c:3
 */
#include "backtraces.h"

#include <stdio.h>
#include <string.h>

/* Functions, by the begins of their names or all of them ($ at the end). */
static const char *const functions[] = {
    "malloc",
    "free$",
    "cfree$",
    "calloc$",
    "realloc",
    "memalign$",
    "valloc$",
    "pvalloc$",
    "aligned_alloc",
    "posix_memalign",
    "__libc_malloc",
    "__libc_free",
    "__libc_calloc",
    "__libc_realloc",
    "__libc_memalign",
    "_int_",
    "sysmalloc",
    "systrim",
    "tcache_",
    "ptmalloc",
    "arena_get",
    "__malloc",
    "_dl_",
    "__dl",
    "dl_open_worker",
    "dlopen",
    "dlclose",
    "dlsym",
    "dl_iterate_phdr",
    "__libc_dlopen",
    "fork$",
    "__libc_fork",
    "vfork",
    "__fork",
    "_Fork",
    "je_",
    "tc_",
    "tcmalloc",
    "__libc_freeres",
    "__tls_get_addr_slow",
    "operator new",
    "operator delete",
};

static const char *const loaders[] = {"/ld-linux", "/ld-2.", "/ld64.", "/ld.so", NULL};
static const char *const allocators[] = {"libjemalloc", "libtcmalloc", "libmimalloc", NULL};

static bool is_function(const char *name, size_t n) {
    if (n > 5 && memcmp(name, "__GI_", 5) == 0) name += 5, n -= 5; /* as libc calls its own */
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        size_t length = strlen(functions[i]);
        if (functions[i][length - 1] == '$') {
            if (n == length - 1 && memcmp(name, functions[i], n) == 0) return true;
        } else if (n >= length && memcmp(name, functions[i], length) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_one_of(const char *const *objects, const char *file, size_t n) {
    for (; *objects; objects++)
        if (memmem(file, n, *objects, strlen(*objects))) return true;
    return false;
}

/* An allocator's own thread sleeps most of the time, in a wait for a condition, for which it
 * has given its lock back. While they serve somebody allocators wait for none. */
static bool is_wait(const char *name, size_t n) {
    return memmem(name, n, "pthread_cond_", 13) && memmem(name, n, "wait", 4);
}

/* The name of the function: behind " in ", or behind the number. */
static const char *name_in(const char *line, size_t n, size_t *length) {
    const char *end = line + n, *at = line + 1;
    while (at < end && *at >= '0' && *at <= '9') at++;
    while (at < end && *at == ' ') at++;
    const char *in = memmem(at, (size_t)(end - at), " in ", 4);
    if (end - at > 2 && at[0] == '0' && at[1] == 'x' && in) at = in + 4;
    const char *bracket = memmem(at, (size_t)(end - at), " (", 2);
    *length = (size_t)((bracket ? bracket : end) - at);
    return at;
}

bool mt_backtraces_quiet(const char *text, char *where, size_t room) {
    bool any = false, sleeps = false; /* up to the frame before */
    snprintf(where, room, "no stack could be read");
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        size_t n = strcspn(line, "\n"), length;
        if (*line != '#') continue;
        any = true;
        const char *name = name_in(line, n, &length);
        const char *from = memmem(name, n - (size_t)(name - line), " from ", 6);
        size_t rest = from ? n - (size_t)(from - line) : 0;
        bool allocator = from && is_one_of(allocators, from, rest);
        sleeps = (sleeps && allocator) || is_wait(name, length);
        if (!is_function(name, length) && !(allocator && !sleeps) &&
            !(from && is_one_of(loaders, from, rest)))
            continue;
        if (from && length == 2 && name[0] == '?') name = from + 6, length = rest - 6;
        snprintf(where, room, "%.*s", (int)(length < 200 ? length : 200), name);
        return false;
    }
    return any;
}
