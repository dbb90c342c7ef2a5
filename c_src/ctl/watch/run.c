/* run: `mtracectl run`: starts a program, watches it, reports at its end and on request.
 *
 *   signals ──▶ passed on          ┐
 *   socket  ──▶ a process to watch ├─ one poll ─▶ the program has ended ─▶ report, end alike
 *   watch   ──▶ report, reset, end ┘
 *
 * If we are killed the program goes on: it waits for nobody but, for two seconds, at its end.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ctl/arguments.h"
#include "child.h"
#include "ctl/commands.h"
#include "ctl/show/named_kept.h"
#include "deliver.h"
#include "orphans.h"
#include "program.h"
#include "socket.h"
#include "start.h"
#include "watch.h"

enum { SLICE_MS = 50 };

typedef struct {
    mt_arguments arguments;
    mt_socket socket;
    mt_watch watch;
    mt_outfile outfile;
    mt_orphans *orphans; /* or NULL */
    sigset_t before;     /* the mask that the program gets */
    int signals;         /* a signalfd */
    mt_child child;
    bool traced; /* it has come to us once */
    bool told;   /* why it is not traced has been said */
    bool left;   /* some report was of something */
    bool failed; /* some could not be written */
} run;

/* Passed on; and SIGCHLD, which tells of the end. */
static const int handled[] = {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2};

static void report_now(run *r, mt_target *t, mt_show_sort by) {
    mt_show show = r->arguments.show;
    show.sort[0] = by;
    show.sorts = 1;
    mt_delivery d = {.show = &show, .outfile = &r->outfile};
    mt_target_look(t, false);
    mt_deliver(t, &d);
}

/* An answer that was not given is not missed by who has been killed. */
static void serve(run *r, mt_target *t) {
    uint32_t requests = mt_target_requests(t);
    if (requests & MT_REGION_BY_SIZE) report_now(r, t, MT_SORT_SIZE);
    if (requests & MT_REGION_BY_COUNT) report_now(r, t, MT_SORT_COUNT);
    if (requests & MT_REGION_ENDING) mt_target_look(t, true);
}

static void finish(run *r, mt_watched *w) {
    mt_target *t = &w->target;
    char how[400];
    serve(r, t);
    mt_child_is is = t->pid == r->child.pid ? mt_child_is_still(&r->child, t) : MT_CHILD_SAME;
    t->ended = true;
    if (r->orphans) mt_orphans_look(r->orphans, t);
    if (r->orphans) mt_orphans_ended(r->orphans, t->pid);
    if (is == MT_CHILD_OTHER) {
        mt_say("%s has executed another program in its place, %s, which is not followed; run "
               "that, or give --children",
               t->name, r->child.name);
    } else {
        mt_delivery d = {.show = &r->arguments.show, .outfile = &r->outfile};
        if (!t->final) {
            mt_child_tell(&r->child, t, is, how, sizeof how);
            d.ending = how;
        }
        mt_shown shown = mt_deliver(t, &d);
        if (shown == MT_SHOWN_LEFT) r->left = true;
        if (shown == MT_SHOWN_FAILED) r->failed = true;
    }
    mt_watch_drop(&r->watch, w);
}

static void welcome(run *r) {
    pid_t pid = 0;
    int fd;
    while ((fd = mt_socket_take(&r->socket, &pid)) >= 0)
        if (mt_watch_add(&r->watch, fd, pid)) r->traced = true;
        else r->told = true;
}

/* What the terminal sends, the program gets itself. */
static void pass_on(run *r) {
    struct signalfd_siginfo s;
    while (read(r->signals, &s, sizeof s) == sizeof s) {
        if (s.ssi_signo == SIGCHLD) mt_child_see_end(&r->child);
        else if (s.ssi_code <= 0 && !r->child.ended && (pid_t)s.ssi_pid != r->child.pid)
            kill(r->child.pid, (int)s.ssi_signo);
    }
}

static uint64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Those that wait for us come first: where many end together, the reports of some are made
 * while others wait to be looked at, which they do for two seconds only. So it is not all of
 * them at once; false: there are more. */
static bool serve_all(run *r) {
    uint64_t begin = now_ms();
    unsigned done = 0;
    bool all = true;
    mt_watch_look(&r->watch);
    for (unsigned i = r->watch.n; i-- > 0;)
        if (!r->watch.list[i]->gone) serve(r, &r->watch.list[i]->target);
    for (unsigned i = r->watch.n; i-- > 0;) {
        mt_watched *w = r->watch.list[i];
        if (!w->gone || w->target.pid == r->child.pid) continue;
        if (done++ == 0 || now_ms() - begin < SLICE_MS) finish(r, w);
        else all = false;
    }
    mt_watched *w = mt_watch_find(&r->watch, r->child.pid);
    if (w && !r->child.ended) mt_child_look(&r->child, &w->target);
    mt_named_kept_tidy(r->arguments.show.kept);
    return all;
}

static void look_for_orphans(run *r) {
    if (mt_orphans_due_ms(r->orphans) != 0) return;
    for (unsigned i = 0; i < r->watch.n; i++)
        mt_orphans_look(r->orphans, &r->watch.list[i]->target);
    mt_orphans_done(r->orphans);
}

/* The first of two that are due; -1 is never. */
static int sooner(int a, int b) {
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* Processes whose end nobody tells us of are looked after now and then. */
static void wait_for_something(run *r) {
    unsigned n = 3;
    struct pollfd *fds = calloc(n + r->watch.n, sizeof *fds);
    if (!fds) return;
    fds[0] = (struct pollfd){r->signals, POLLIN, 0};
    fds[1] = (struct pollfd){r->socket.fd, POLLIN, 0};
    fds[2] = (struct pollfd){r->watch.bell[0], POLLIN, 0};
    int patience = sooner(mt_orphans_due_ms(r->orphans), mt_child_due_ms(&r->child));
    patience = sooner(patience, mt_named_kept_due_ms(r->arguments.show.kept));
    for (unsigned i = 0; i < r->watch.n; i++) {
        mt_watched *w = r->watch.list[i];
        if (w->process < 0 || !w->listening) patience = sooner(patience, 100);
        if (w->target.pid != r->child.pid && w->process >= 0)
            fds[n++] = (struct pollfd){w->process, POLLIN, 0};
    }
    poll(fds, n, patience);
    free(fds);
}

static void follow(run *r) {
    bool all = true;
    while (!r->child.ended) {
        if (all) wait_for_something(r);
        welcome(r);
        all = serve_all(r);
        look_for_orphans(r);
        pass_on(r);
    }
    welcome(r);
    while (!serve_all(r))
        ;
    mt_watched *w = mt_watch_find(&r->watch, r->child.pid);
    if (w) finish(r, w);
}

static bool take_signals(run *r) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++) sigaddset(&set, handled[i]);
    sigprocmask(SIG_BLOCK, &set, &r->before);
    r->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (r->signals < 0) mt_say("no signalfd: %s", strerror(errno));
    return r->signals >= 0;
}

static int end(run *r) {
    int code = (int)r->arguments.error_exitcode;
    const char *program = r->arguments.rest[0];
    if (!r->traced && r->socket.without)
        mt_say("%s was not traced: our object was loaded into it, but had no tables to share "
               "or could not write its log; a line of its own (mtrace: ...) says why",
               program);
    else if (!r->traced && !r->told)
        mt_say("%s was not traced: our object was not loaded into it, or its environment was "
               "emptied before",
               program);
    /* one that nobody reads on stderr is no reason to lose the program's status */
    bool failed = mt_outfile_close(&r->outfile) != 0 && r->arguments.outfile;
    failed |= mt_orphans_close(r->orphans) != 0;
    mt_watch_close(&r->watch);
    mt_socket_close(&r->socket);
    mt_named_kept_close(r->arguments.show.kept);
    int how = r->child.status;
    if (WIFSIGNALED(how)) mt_end_by(WTERMSIG(how));
    if (r->left && code) return code;
    int status = WIFSIGNALED(how) ? 128 + WTERMSIG(how) : WEXITSTATUS(how);
    return status == 0 && (failed || r->failed) ? MT_EXIT_FAILED : status;
}

static void usage(void) {
    puts("usage: mtracectl run [OPTIONS] [--] PROGRAM [ARGUMENTS]\n\n"
         "Runs a program and reports, when it has ended, what it has allocated and not\n"
         "freed, by stack. Its exit status, or the signal that ended it, becomes ours.\n\n"
         "What is recorded:");
    fputs(mt_arguments_help, stdout);
    puts("  --children         programs that it starts are traced, too; each reports at\n"
         "                     its end. So is one that it executes in its own place\n"
         "  --log FILE         every event into a file, for mtracectl log (%p: process,\n"
         "                     %c: its name)\n"
         "  --log-limit SIZE   how large that may get\n"
         "  --log-full WHAT    what then: over (begin anew), stop\n\n"
         "While it runs:\n"
         "  SIGUSR1, SIGUSR2   sent to the program: a report by size, by count\n"
         "  SIGQUIT            reports tell what was allocated since; peaks and calls\n"
         "                     stay those since the start\n"
         "  --signals          also where these were ignored when it was started. What\n"
         "                     the program does about them itself always comes first\n"
         "  --no-signals       they do what they do without us\n"
         "  mtracectl report PID does the same from elsewhere\n\n"
         "What becomes of it:\n"
         "  --outfile FILE     reports go there (%p: process, %c: its name), not to stderr\n"
         "  --error-exitcode N exit with N if something is left\n"
         "  --orphans SECONDS  every so many seconds, what is older and not freed, and\n"
         "  --csv FILE         frees without an allocation, are added to this file");
    fputs(mt_show_help, stdout);
    puts("\nA program that forks and ends, as daemons do, is followed to its own end only:\n"
         "let it stay in the foreground.");
}

static bool has_orphans(run *r) {
    if (r->arguments.csv)
        r->orphans = mt_orphans_open(r->arguments.csv, r->arguments.orphans_s);
    return r->orphans || !r->arguments.csv;
}

static int run_it(run *r) {
    char *path = mt_program_find(r->arguments.rest[0]), *object = NULL;
    int status = MT_EXIT_FAILED;
    pid_t pid;
    if (path && mt_program_check(path) && (object = mt_program_object()) && mt_start_may() &&
        mt_show_check(&r->arguments.show) == 0 &&
        mt_outfile_prepare(&r->outfile, r->arguments.outfile, stderr) == 0 &&
        mt_outfile_may(r->arguments.log) && has_orphans(r) &&
        mt_socket_listen(&r->socket) == 0 && mt_watch_open(&r->watch) == 0 && take_signals(r) &&
        (pid = mt_start(&r->arguments, path, object, r->socket.name, &r->before)) > 0) {
        mt_child_begin(&r->child, pid, r->arguments.signals);
        r->arguments.show.kept = mt_named_kept_open();
        follow(r);
        status = end(r);
    }
    free(path);
    free(object);
    return status;
}

int mt_command_run(int argc, char **argv) {
    static run r;
    int status;
    if (!mt_arguments_parse(&r.arguments,
                            MT_ARGUMENTS_TABLE | MT_ARGUMENTS_RUN | MT_ARGUMENTS_OUTFILE, usage,
                            argc, argv, &status))
        return status;
    if (r.arguments.rest[0]) return run_it(&r);
    mt_say("which program? mtracectl run [OPTIONS] [--] PROGRAM [ARGUMENTS]");
    return MT_EXIT_USAGE;
}
