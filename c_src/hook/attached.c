/* attached: see the header. */
#include "attached.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "attach.h"
#include "preload.h"
#include "record/control.h"
#include "record/region.h"
#include "record/seen.h"

#define EXPORT __attribute__((visibility("default")))

enum { HIGH = 1000 };

static char given[4096]; /* NAME=value, each ending in a 0; an empty one ends them */

static const char *given_value(const char *name) {
    size_t n = strlen(name);
    for (const char *at = given; *at; at += strlen(at) + 1)
        if (strncmp(at, name, n) == 0 && at[n] == '=') return at + n + 1;
    return NULL;
}

static void keep_options(const char *options) {
    size_t n = strnlen(options, sizeof given - 2);
    memset(given, 0, sizeof given);
    for (size_t i = 0; i < n; i++) given[i] = options[i];
    for (size_t i = 0; i < n; i++)
        if (given[i] == '\n') given[i] = '\0';
}

/* Out of the way of programs that count on the lowest free number, or close them one by one up
 * to some. */
static int move_up(int fd) {
    struct rlimit limit;
    int from = HIGH;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur <= HIGH)
        from = (int)(limit.rlim_cur > 8 ? limit.rlim_cur - 8 : 0);
    int high = fcntl(fd, F_DUPFD_CLOEXEC, from);
    if (high < 0) return fd;
    close(fd);
    return high;
}

/* Attached before: with the tables of then, and the other options of now. */
static int share(void) {
    mt_options options = mt_options_read(given_value, NULL);
    if (given_value("MTRACE_LOG")) options.interval = 0; /* everything */
    if (mt_region_shared()) {
        mt_tracer_configure(options.interval, (uint32_t)options.budget_ppm,
                            (uint32_t)options.depth, (uint32_t)options.erlang_depth);
        mt_region_shared()->fixed_interval = options.interval;
        return 0;
    }
    int fd = mt_region_share(options.slots);
    if (fd < 0) return -1;
    move_up(fd);
    mt_region_header *h = mt_region_shared();
    h->depth = options.depth;
    h->fixed_interval = options.interval;
    mt_preload_limit_slots(h->slots);
    atomic_store(&h->state, MT_REGION_DETACHED);
    return 0;
}

EXPORT int mtrace_attach(int version, const char *options) {
    int saved = errno, result = MT_ATTACHED_NOT_SHARED;
    if (version != MT_ATTACHED_VERSION) return MT_ATTACHED_ANOTHER;
    keep_options(options);
    mt_preload_given(given_value);
    if (mt_preload_state() == MT_PRELOAD_TRACING) result = MT_ATTACH_PRELOADED;
    else if (mt_attach_state() == MT_ATTACHED_NOW) result = MT_ATTACH_PRELOADED;
    else if (share() == 0) result = mt_attach(MT_ATTACH_MALLOC);
    if (result == MT_ATTACH_DONE) {
        mt_seen_start();
        atomic_store(&mt_region_shared()->state, MT_REGION_STARTED);
    }
    errno = saved;
    return result;
}

EXPORT int mtrace_detach(int version) {
    int saved = errno;
    if (version != MT_ATTACHED_VERSION) return MT_ATTACHED_ANOTHER;
    int result = mt_attach_end();
    mt_region_header *h = mt_region_shared();
    if (h && result == MT_ATTACH_DONE) atomic_store(&h->state, MT_REGION_DETACHED);
    errno = saved;
    return result;
}
