/* A preload of its own, not Mtrace: at every malloc of any program it walks the stack with the
 * core's walker and with glibc's backtrace, and says at the end how often they differed.
 *
 *   WALKCHECK_EVERY=n     compare at every n-th call (1)
 *   WALKCHECK_FILE=file   where to say it (stderr)
 */
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "record/walk.h"

enum { DEPTH = 64 };

static void *(*next_malloc)(size_t);
static _Atomic uint64_t calls, compared, differed, shorter, frames;
static uint64_t every = 1;
static atomic_bool ready;
static __thread volatile int inside __attribute__((tls_model("initial-exec")));
static __thread mt_walk_stack known __attribute__((tls_model("initial-exec")));
static char first[4096];

static void keep_first(void **mine, uint32_t n, void **theirs, uint32_t m) {
    size_t at = 0;
    for (uint32_t i = 0; (i < n || i < m) && at < sizeof first - 300; i++) {
        Dl_info a = {0}, b = {0};
        if (i < n) dladdr(mine[i], &a);
        if (i < m) dladdr(theirs[i], &b);
        at += (size_t)snprintf(first + at, 280, "%2u %p %.40s %.30s | %p %.40s %.30s\n", i,
                               i < n ? mine[i] : NULL, a.dli_fname, a.dli_sname,
                               i < m ? theirs[i] : NULL, b.dli_fname, b.dli_sname);
    }
}

static __attribute__((noinline)) void compare(mt_walk_from from) {
    void *mine[DEPTH], *theirs[DEPTH + 8];
    uint32_t n = mt_walk(from, &known, mine, DEPTH);
    int m = backtrace(theirs, DEPTH + 8), at = 0;
    while (at < m && theirs[at] != (void *)from.pc) at++;
    m -= at;
    if (m > DEPTH) m = DEPTH;
    compared++;
    frames += n;
    if (n == (uint32_t)m && memcmp(mine, theirs + at, n * sizeof *mine) == 0) return;
    /* The same frames, but not all of them: the walk gave up cleanly. */
    if (n < (uint32_t)m && memcmp(mine, theirs + at, n * sizeof *mine) == 0) shorter++;
    else differed++;
    if (!first[0]) keep_first(mine, n, theirs + at, (uint32_t)m);
}

__attribute__((visibility("default"))) void *malloc(size_t size) {
    if (!next_malloc) next_malloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
    void *p = next_malloc(size);
    if (ready && !inside && calls++ % every == 0) {
        inside = 1;
        compare(MT_WALK_FROM_CALLER);
        inside = 0;
    }
    return p;
}

__attribute__((constructor)) static void begin(void) {
    void *warm[4];
    inside = 1;
    backtrace(warm, 4); /* loads libgcc */
    if (getenv("WALKCHECK_EVERY")) every = strtoull(getenv("WALKCHECK_EVERY"), NULL, 10);
    inside = 0;
    ready = mt_walk_start() == 0;
}

__attribute__((destructor)) static void end(void) {
    char line[8192];
    inside = 1;
    const char *name = getenv("WALKCHECK_FILE");
    int fd = name ? open(name, O_WRONLY | O_CREAT | O_APPEND, 0600) : STDERR_FILENO;
    int n =
        snprintf(line, sizeof line,
                 "walkcheck: %d %llu compared, %llu frames, %llu shorter, %llu differed\n%s",
                 (int)getpid(), (unsigned long long)compared, (unsigned long long)frames,
                 (unsigned long long)shorter, (unsigned long long)differed, first);
    if (write(fd, line, (size_t)n) != n) _exit(9);
}
