/* observed: see the header. Everything here runs before main or at the end, but for the signal
 * handler, which only writes words and wakes. */
#include "observed.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "environment.h"
#include "record/futex.h"
#include "record/region.h"
#include "record/tracer.h"

#define SOON_NS     50000000u
#define PATIENCE_NS 2000000000u

static int channel = -1, tables = -1;
static pid_t process; /* that is traced; 0: none, or nobody watches */

/* Abstract names are free for all: only one of our own user's is believed. */
static bool is_own(int fd, pid_t *pid) {
    struct ucred peer;
    socklen_t n = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0) return false;
    *pid = peer.pid;
    return peer.uid == geteuid();
}

/* Does not wait where the watcher is stopped and many are queueing. */
static int reach(const char *name, pid_t *pid) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t n = strlen(name);
    if (n == 0 || n > sizeof address.sun_path - 1) return -1;
    memcpy(address.sun_path + 1, name, n);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
    if (connect(fd, (struct sockaddr *)&address, length) == 0 && is_own(fd, pid)) return fd;
    close(fd);
    return -1;
}

void mt_observed_hang_up(void) {
    int saved = errno;
    if (channel >= 0) close(channel);
    if (tables >= 0) close(tables);
    channel = tables = -1;
    errno = saved;
}

/* musl, which has no such function, gives constructors no arguments either. */
extern const char *gnu_get_libc_version(void) __attribute__((weak));

/* An argument that is neither an option nor a variable; -S has the command in itself. */
bool mt_observed_passes_by(int argc, char **argv, mt_getenv *get) {
    if (!gnu_get_libc_version || !get("MTRACE_CTL") || argc < 2 || !argv[0]) return false;
    const char *slash = strrchr(argv[0], '/');
    if (strcmp(slash ? slash + 1 : argv[0], "env") != 0) return false;
    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], "-S", 2) == 0 || (argv[i][0] != '-' && !strchr(argv[i], '=')))
            return true;
    return false;
}

mt_observed mt_observed_meet(mt_options *options, mt_getenv *get) {
    const char *name = get("MTRACE_CTL");
    int saved = errno;
    pid_t watcher = 0;
    if (!name || !*name) return MT_OBSERVED_NO;
    channel = reach(name, &watcher);
    if (channel >= 0) tables = mt_region_share(options->slots);
    errno = saved;
    if (tables < 0) mt_observed_hang_up();
    if (tables < 0) return watcher ? MT_OBSERVED_NO_MEMORY : MT_OBSERVED_ALONE;
    mt_region_header *h = mt_region_shared();
    options->slots = h->slots;
    h->depth = options->depth;
    h->fixed_interval = options->interval;
    atomic_store(&h->observer, (uint32_t)watcher);
    return MT_OBSERVED_MEETING;
}

static bool hand_over(void) {
    char nothing = 0;
    struct iovec data = {&nothing, 1};
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr aligned;
    } control = {0};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control.room};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &tables, sizeof tables);
    return sendmsg(channel, &message, MSG_NOSIGNAL) == 1;
}

/* True if somebody was woken. */
static bool ask(mt_region_header *h, uint32_t request) {
    atomic_fetch_or(&h->requests, request);
    atomic_fetch_add(&h->bell, 1);
    return mt_futex_wake(&h->bell, 1) > 0;
}

/* Older records do not count from now on: this thread's own are told apart to the last one. */
static void reset(mt_region_header *h) {
    struct timespec t;
    mt_thread *block = mt_tls_mine.block;
    clock_gettime(
        atomic_load(&mt_tracer_state.exact) ? CLOCK_MONOTONIC_COARSE : CLOCK_MONOTONIC, &t);
    uint64_t now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    uint64_t least = atomic_load(&mt_tracer_state.not_before_ns);
    if (now < least) now = least;
    if (block && now <= block->last_ns) now = block->last_ns + 1;
    atomic_store(&h->reset_ns, now);
}

/* What would have ended the child of a fork without us does end it, when this returns and the
 * signal is not blocked any more. */
static void on_signal(int number) {
    int saved = errno;
    mt_region_header *h = mt_region_shared();
    if (h && process == getpid() && mt_tracer_on()) {
        if (number == SIGQUIT) reset(h);
        ask(h, number == SIGUSR1   ? MT_REGION_BY_SIZE
               : number == SIGUSR2 ? MT_REGION_BY_COUNT
                                   : MT_REGION_RESET);
    } else {
        signal(number, SIG_DFL);
        raise(number);
    }
    errno = saved;
}

/* The program's own handlers come later, and replace ours. */
static void take_signals(bool ignored_too) {
    static const int numbers[] = {SIGUSR1, SIGUSR2, SIGQUIT};
    struct sigaction ours = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, now;
    sigemptyset(&ours.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (sigaction(numbers[i], NULL, &now) == 0 &&
            (now.sa_handler == SIG_DFL || (ignored_too && now.sa_handler == SIG_IGN)))
            sigaction(numbers[i], &ours, NULL);
}

void mt_observed_begin(const mt_options *options) {
    int saved = errno;
    if (channel < 0) return;
    if (hand_over()) {
        process = getpid();
        if (options->signals) take_signals(options->signals == MT_SIGNALS_ALL);
    }
    errno = saved;
}

void mt_observed_forked(void) {
    process = 0;
}

static bool is_gone(uint32_t watcher) {
    return kill((pid_t)watcher, 0) != 0 && errno == ESRCH;
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool is_answered(mt_region_header *h, uint64_t patience_ns) {
    uint64_t end = now_ns() + patience_ns, now;
    while (atomic_load(&h->answered) == 0 && (now = now_ns()) < end)
        mt_futex_wait(&h->answered, 0, end - now);
    return atomic_load(&h->answered) != 0;
}

/* The kernel's figures of this process are read meanwhile. Its other threads run on. Whether
 * the watcher is there is asked only where nobody was woken and no answer has come soon: a
 * program that has given up system calls (seccomp) may well have given up kill. */
__attribute__((destructor)) static void part(void) {
    mt_region_header *h = mt_region_shared();
    if (!h || process == 0 || process != getpid() || !mt_tracer_on()) return;
    atomic_store(&h->state, MT_REGION_EXITS);
    bool heard = ask(h, MT_REGION_ENDING) || is_answered(h, SOON_NS);
    if (heard || !is_gone(atomic_load(&h->observer))) is_answered(h, PATIENCE_NS);
}

void mt_observed_clean(char **environment) {
    mt_environment_drop(environment, "MTRACE");
}
