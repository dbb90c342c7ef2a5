/* gdb: see the header. */
#include "gdb.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ctl/commands.h"

#define MARK "mtrace-answered"

enum { ANSWER_MAX = 64 << 20, LEAVE_SECONDS = 10 };

static void become_gdb(int in, int out) {
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    setpgid(0, 0); /* a Ctrl-C is ours to handle */
    unsetenv("DEBUGINFOD_URLS");
    unsetenv("LD_PRELOAD");
    setenv("LC_ALL", "C", 1);
    execlp("gdb", "gdb", "-nx", "-q", "-iex", "set auto-load no", "-iex",
           "set debuginfod enabled off", (char *)NULL);
    dprintf(STDOUT_FILENO, "mtrace-no-gdb\n");
    _exit(127);
}

bool mt_gdb_start(mt_gdb *g) {
    int in[2], out[2];
    *g = (mt_gdb){.pid = -1, .to = -1, .from = -1};
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || (g->pid = fork()) < 0) {
        mt_say("gdb cannot be started: %s", strerror(errno));
        return false;
    }
    if (g->pid == 0) become_gdb(in[0], out[1]);
    close(in[0]);
    close(out[1]);
    signal(SIGPIPE, SIG_IGN);
    g->to = in[1];
    g->from = out[0];
    if (mt_gdb_ask(g, 30,
                   "set pagination off\nset confirm off\nset width 0\nset height 0\n"
                   "set print thread-events off\nset unwindonsignal on\n"
                   "set print inferior-events off\n"))
        return true;
    if (g->text && strstr(g->text, "mtrace-no-gdb"))
        mt_say("gdb is not installed, and a process that was started plain is reached by it "
               "alone; on Debian: apt-get install gdb");
    else mt_say("gdb does not answer");
    mt_gdb_end(g);
    return false;
}

static bool read_some(mt_gdb *g) {
    if (g->n + 4096 > g->room) {
        size_t room = g->room ? g->room * 2 : 1 << 16;
        char *larger = room <= ANSWER_MAX ? realloc(g->text, room) : NULL;
        if (!larger) return false;
        g->text = larger;
        g->room = room;
    }
    ssize_t n = read(g->from, g->text + g->n, g->room - g->n - 1);
    if (n <= 0) return n < 0 && errno == EINTR;
    for (ssize_t i = 0; i < n; i++)
        if (g->text[g->n + (size_t)i] == '\0') g->text[g->n + (size_t)i] = '?';
    g->n += (size_t)n;
    g->text[g->n] = '\0';
    return true;
}

static long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

bool mt_gdb_ask(mt_gdb *g, int seconds, const char *commands) {
    g->n = 0;
    /* What has ended may have said why: so it is read even where nobody takes the commands. */
    dprintf(g->to, "%secho " MARK "\\n\n", commands);
    long end = now_ms() + seconds * 1000L, left;
    while ((left = end - now_ms()) > 0) {
        struct pollfd p = {g->from, POLLIN, 0};
        if (poll(&p, 1, (int)left) < 0 && errno != EINTR) return false;
        if (!p.revents) continue;
        if (!read_some(g)) return false;
        if (strstr(g->text, MARK "\n")) return true;
    }
    return false;
}

long mt_gdb_result(const mt_gdb *g) {
    const char *at = g->text, *last = NULL;
    while (at && (at = strstr(at, "mtrace-result "))) last = at += strlen("mtrace-result ");
    return last ? strtol(last, NULL, 10) : -1;
}

/* By itself, then asked to stop what it does, then to end, which both let go of the process. */
void mt_gdb_end(mt_gdb *g) {
    static const int asks[] = {0, SIGINT, SIGTERM};
    bool gone = false;
    if (g->to >= 0) {
        dprintf(g->to, "detach\nquit\n");
        close(g->to);
    }
    if (g->from >= 0) fcntl(g->from, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 3 && g->pid > 0 && !gone; i++) {
        if (asks[i]) kill(g->pid, asks[i]);
        for (int k = 0; k < LEAVE_SECONDS * 100 && !gone; k++) {
            char dropped[4096]; /* so that it is not kept waiting with what it says */
            while (read(g->from, dropped, sizeof dropped) > 0)
                ;
            gone = waitpid(g->pid, NULL, WNOHANG) != 0;
            if (!gone) usleep(10000);
        }
    }
    if (g->pid > 0 && !gone)
        mt_say("gdb (%d) does not end; it may still hold the process", (int)g->pid);
    if (g->from >= 0) close(g->from);
    free(g->text);
    *g = (mt_gdb){.pid = -1, .to = -1, .from = -1};
}
