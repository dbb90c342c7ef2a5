/* watch: see the header. */
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ctl/commands.h"
#include "record/futex.h"

int mt_watch_open(mt_watch *watch) {
    *watch = (mt_watch){.bell = {-1, -1}};
    if (pipe2(watch->bell, O_CLOEXEC | O_NONBLOCK) == 0) return 0;
    mt_say("no pipe: %s", strerror(errno));
    return -1;
}

static void *listen_to(void *context) {
    mt_watched *w = context;
    _Atomic uint32_t *bell = &w->target.header->bell;
    uint32_t heard = 0;
    while (!atomic_load(&w->closing)) {
        uint32_t now = atomic_load(bell);
        if (now != heard) {
            ssize_t written = write(w->bell, "", 1); /* a full pipe will be read anyway */
            (void)written;
        }
        heard = now;
        mt_futex_wait(bell, now, 0);
    }
    return NULL;
}

static void stop_listening(mt_watched *w) {
    if (!w->listening) return;
    _Atomic uint32_t *bell = &w->target.header->bell;
    atomic_store(&w->closing, true);
    atomic_fetch_add(bell, 1); /* whoever is about to wait does not */
    mt_futex_wake(bell, 1);
    pthread_join(w->thread, NULL);
}

static void release(mt_watched *w) {
    stop_listening(w);
    mt_target_close(&w->target);
    if (w->memory >= 0) close(w->memory);
    if (w->process >= 0) close(w->process);
    free(w);
}

static int process_of(pid_t pid) {
#ifdef SYS_pidfd_open
    return (int)syscall(SYS_pidfd_open, pid, 0);
#else
    (void)pid;
    return -1;
#endif
}

static bool make_room(mt_watch *watch) {
    if (watch->n < watch->room) return true;
    unsigned room = watch->room ? watch->room * 2 : 16;
    mt_watched **larger = realloc(watch->list, room * sizeof *larger);
    if (!larger) return false;
    watch->list = larger;
    watch->room = room;
    return true;
}

mt_watched *mt_watch_add(mt_watch *watch, int memfd, pid_t pid) {
    mt_watched *former = mt_watch_find(watch, pid);
    mt_watched *w = make_room(watch) ? calloc(1, sizeof *w) : NULL;
    if (former) mt_watch_drop(watch, former);
    if (!w || !mt_target_open(&w->target, memfd, pid)) {
        if (!w) mt_say("no memory to watch %d", (int)pid);
        close(memfd);
        free(w);
        return NULL;
    }
    w->memory = memfd;
    w->process = process_of(pid);
    w->bell = watch->bell[1];
    w->listening = pthread_create(&w->thread, NULL, listen_to, w) == 0;
    watch->list[watch->n++] = w;
    return w;
}

void mt_watch_drop(mt_watch *watch, mt_watched *w) {
    for (unsigned i = 0; i < watch->n; i++)
        if (watch->list[i] == w) watch->list[i] = watch->list[--watch->n];
    release(w);
}

mt_watched *mt_watch_find(const mt_watch *watch, pid_t pid) {
    for (unsigned i = 0; i < watch->n; i++)
        if (watch->list[i]->target.pid == pid) return watch->list[i];
    return NULL;
}

static bool has_ended(const mt_watched *w) {
    struct pollfd p = {w->process, POLLIN, 0};
    if (w->process >= 0) return poll(&p, 1, 0) == 1;
    return kill(w->target.pid, 0) != 0 && errno == ESRCH;
}

void mt_watch_look(mt_watch *watch) {
    char bytes[256];
    while (read(watch->bell[0], bytes, sizeof bytes) == sizeof bytes)
        ;
    for (unsigned i = 0; i < watch->n; i++)
        if (!watch->list[i]->gone) watch->list[i]->gone = has_ended(watch->list[i]);
}

void mt_watch_close(mt_watch *watch) {
    while (watch->n) mt_watch_drop(watch, watch->list[0]);
    free(watch->list);
    for (int i = 0; i < 2; i++)
        if (watch->bell[i] >= 0) close(watch->bell[i]);
}
