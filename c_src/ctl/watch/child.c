/* child: see the header. */
#include "child.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "ctl/plain.h"
#include "record/options.h"

/* Who starts another program does that soon, mostly: a script, or a wrapper. */
enum { SOON_MS = 5, MOST_MS = 1000 };

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Those that we ignore it ignores from the start, and keeps so (hook/observed.c). */
static uint64_t handled(uint64_t signals) {
    static const int numbers[] = {SIGUSR1, SIGUSR2, SIGQUIT};
    uint64_t set = 0;
    for (size_t i = 0; signals && i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction now;
        bool ignored = sigaction(numbers[i], NULL, &now) == 0 && now.sa_handler == SIG_IGN;
        if (!ignored || signals == MT_SIGNALS_ALL) set |= 1ull << (numbers[i] - 1);
    }
    return set;
}

void mt_child_begin(mt_child *c, pid_t pid, uint64_t signals) {
    *c = (mt_child){.pid = pid, .expected = handled(signals), .pause_ms = SOON_MS};
}

int mt_child_due_ms(const mt_child *c) {
    if (c->ended || c->replaced || !c->start_ns) return -1;
    uint64_t now = now_ns();
    return now >= c->due_ns ? 0 : (int)((c->due_ns - now + 999999) / 1000000);
}

/* A process that is ending has no memory any more, and tells nothing. */
static void look_for_tables(mt_child *c, const char *name) {
    mt_picture p = {0};
    bool there = false;
    if (!mt_picture_take(&p, c->pid)) return;
    for (uint32_t i = 0; i < p.mappings && !there; i++) there = p.mapping[i].tables;
    mt_picture_free(&p);
    if (there) memcpy(c->seen, name, sizeof c->seen);
    else c->replaced = true;
}

void mt_child_look(mt_child *c, const mt_target *t) {
    char name[64];
    if (c->start_ns != t->header->start_ns) {
        c->start_ns = t->header->start_ns;
        c->seen[0] = '\0';
        c->replaced = false;
        c->pause_ms = SOON_MS;
        c->due_ns = 0;
    }
    if (mt_child_due_ms(c) != 0) return;
    mt_process_name(c->pid, name);
    if (*name && strcmp(name, t->name) != 0 && strcmp(name, c->seen) != 0)
        look_for_tables(c, name);
    c->due_ns = now_ns() + (uint64_t)c->pause_ms * 1000000u;
    if (c->pause_ms < MOST_MS) c->pause_ms *= 2;
}

void mt_child_see_end(mt_child *c) {
    siginfo_t info = {0};
    if (c->ended || waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid != c->pid)
        return;
    mt_process_name(c->pid, c->name);
    c->caught = mt_process_caught(c->pid);
    c->ended = waitpid(c->pid, &c->status, WNOHANG) == c->pid;
}

mt_child_is mt_child_is_still(const mt_child *c, const mt_target *t) {
    bool same_name = strcmp(c->name, t->name) == 0,
         about_it = c->start_ns == t->header->start_ns;
    if (t->final) return MT_CHILD_SAME;
    if (about_it && c->replaced) return MT_CHILD_OTHER;
    if (WIFSIGNALED(c->status)) return MT_CHILD_SAME;
    if (c->expected && (c->caught & c->expected) == c->expected) return MT_CHILD_SAME;
    if (about_it && !same_name && strcmp(c->name, c->seen) == 0) return MT_CHILD_SAME;
    return c->expected && !same_name && !(c->caught & c->expected) ? MT_CHILD_OTHER
                                                                   : MT_CHILD_MAYBE;
}

void mt_child_tell(const mt_child *c, const mt_target *t, mt_child_is is, char *text,
                   size_t n) {
    const char *known = "its tables tell what it held then, not the figures of the process";
    char name[80];
    int pid = (int)t->pid;
    mt_plain(name, sizeof name, c->name);
    if (t->pid != c->pid)
        snprintf(text, n,
                 "%d ended by _exit or a signal, or executed another program, which is not "
                 "followed without --children: %s",
                 pid, known);
    else if (WIFSIGNALED(c->status))
        snprintf(text, n, "%d was ended by signal %d (%s): %s", pid, WTERMSIG(c->status),
                 strsignal(WTERMSIG(c->status)), known);
    else if (is == MT_CHILD_SAME) snprintf(text, n, "%d ended by _exit: %s", pid, known);
    else
        snprintf(text, n,
                 "%d ended by _exit, or executed another program, which is not followed "
                 "without --children (at its end it was called %s): %s",
                 pid, name, known);
}
