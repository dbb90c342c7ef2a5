/* start: see the header. */
#include "start.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/commands.h"

bool mt_start_may(void) {
#ifdef SYS_memfd_create
    int fd = (int)syscall(SYS_memfd_create, "mtrace", 1u);
    if (fd >= 0) return close(fd), true;
#endif
    mt_say("no memory can be shared with the program: %s (memfd_create, Linux 3.17)",
           strerror(errno));
    return false;
}

static void set(const char *name, const char *value) {
    if (value) setenv(name, value, 1);
    else unsetenv(name);
}

static void set_number(const char *name, uint64_t value) {
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    setenv(name, text, 1);
}

/* Each variable is set or removed: none of an outer mtracectl's is left. */
static void set_environment(const mt_arguments *a, const char *object, const char *socket) {
    const char *before = getenv("LD_PRELOAD");
    char *preload = NULL;
    if (asprintf(&preload, "%s%s%s", object, before && *before ? ":" : "",
                 before ? before : "") < 0)
        _exit(MT_EXIT_FAILED);
    set("LD_PRELOAD", preload);
    set("MTRACE", "1");
    set("MTRACE_CTL", socket);
    set("MTRACE_CHILDREN", a->children ? "1" : NULL);
    set("MTRACE_ORPHANS", a->orphans_s ? "1" : NULL);
    set("MTRACE_LOG", a->log);
    set("MTRACE_LOG_LIMIT", a->log_limit);
    set("MTRACE_LOG_FULL", a->log_full);
    set_number("MTRACE_DEPTH", a->depth);
    set_number("MTRACE_SLOTS", a->slots);
    set_number("MTRACE_SIGNALS", a->signals);
    if (a->interval == MT_ADAPTIVE) unsetenv("MTRACE_INTERVAL");
    else set_number("MTRACE_INTERVAL", a->interval);
    free(preload);
}

/* Where SIGCHLD is ignored nobody could be waited for; the program finds it as it was. */
static struct sigaction before;

static void let_children_be_waited_for(void) {
    struct sigaction usual = {.sa_handler = SIG_DFL};
    sigemptyset(&usual.sa_mask);
    sigaction(SIGCHLD, &usual, &before);
}

/* For us alone: each process that is watched takes two descriptors, and a report that nobody
 * reads is no reason to lose the program's status. */
static void prepare_to_watch(void) {
    struct rlimit limit;
    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* What went wrong goes through a pipe that a successful exec closes. */
static void become(const char *path, char **argv, int tell) {
    execvp(path, argv);
    int error = errno;
    ssize_t told = write(tell, &error, sizeof error);
    _exit(told == sizeof error ? 127 : 126);
}

pid_t mt_start(const mt_arguments *a, const char *path, const char *object, const char *socket,
               const sigset_t *mask) {
    int pipe[2], error = 0;
    pid_t child = -1;
    let_children_be_waited_for();
    if (pipe2(pipe, O_CLOEXEC) == 0) child = fork();
    if (child < 0) {
        mt_say("%s cannot be started: %s", path, strerror(errno));
        return -1;
    }
    if (child == 0) {
        set_environment(a, object, socket);
        sigaction(SIGCHLD, &before, NULL);
        sigprocmask(SIG_SETMASK, mask, NULL);
        become(path, a->rest, pipe[1]);
    }
    prepare_to_watch();
    close(pipe[1]);
    ssize_t n;
    while ((n = read(pipe[0], &error, sizeof error)) < 0 && errno == EINTR)
        ;
    close(pipe[0]);
    if (n != sizeof error) return child;
    waitpid(child, NULL, 0);
    mt_say("%s cannot be run: %s", path, strerror(error));
    return -1;
}

void mt_end_by(int signal_number) {
    struct rlimit none = {0, 0};
    sigset_t one;
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0);
    signal(signal_number, SIG_DFL);
    kill(getpid(), signal_number);
    sigemptyset(&one);
    sigaddset(&one, signal_number);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
}
