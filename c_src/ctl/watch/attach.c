/* attach: `mtracectl attach PID` and `mtracectl detach PID`: tracing on and off in a process
 * that was started plain: two functions of our object (hook/attached) that are called there
 * (call). In between, the tables are found by their descriptor in the process. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/arguments.h"
#include "ctl/commands.h"
#include "call.h"
#include "deliver.h"
#include "find.h"
#include "hook/attach.h"
#include "hook/attached.h"
#include "program.h"

static const char *reason_of(long result) {
    switch (result) {
    case MT_ATTACH_PRELOADED:
        return "it is traced already, from its start or from inside";
    case MT_ATTACH_OFF:
        return "it was started with MTRACE=0";
    case MT_ATTACH_SHADOWED:
        return "another allocator stands in front of us there";
    case MT_ATTACH_NO_MEMORY:
        return "there is no memory for the tables; try fewer --slots";
    case MT_ATTACH_NO_LOG:
        return "it cannot write the file of --log: its own rights and folders count";
    case MT_ATTACH_NO_ALLOCATOR:
        return "no object in it calls a malloc that could be stood in front of";
    case MT_ATTACHED_NOT_SHARED:
        return "its tables cannot be shared: no memory, no descriptor, or no memfd_create "
               "(Linux 3.17)";
    case MT_ATTACHED_ANOTHER:
        return "another version of mtrace.so is loaded there";
    default:
        return "mtrace.so could not be loaded into it";
    }
}

/* Seen from here, not from the folder of the process. */
static void put_log(FILE *to, const char *path) {
    char *folder = *path == '/' ? NULL : getcwd(NULL, 0);
    fputs("MTRACE_LOG=", to);
    for (const char *c = folder ? folder : ""; *c; c++)
        fputs(*c == '%' ? "%%" : (char[]){*c, 0}, to);
    fprintf(to, "%s%s\n", folder ? "/" : "", path);
    free(folder);
}

static char *options_of(const mt_arguments *a) {
    char *text = NULL;
    size_t n;
    FILE *to = open_memstream(&text, &n);
    if (!to) return NULL;
    fprintf(to, "MTRACE_DEPTH=%llu\nMTRACE_SLOTS=%llu\n", (unsigned long long)a->depth,
            (unsigned long long)a->slots);
    if (a->interval != MT_ADAPTIVE)
        fprintf(to, "MTRACE_INTERVAL=%llu\n", (unsigned long long)a->interval);
    if (a->log) put_log(to, a->log);
    if (a->log_limit) fprintf(to, "MTRACE_LOG_LIMIT=%s\n", a->log_limit);
    if (a->log_full) fprintf(to, "MTRACE_LOG_FULL=%s\n", a->log_full);
    return fclose(to) == 0 ? text : NULL;
}

/* The state that the tables tell, or 0 where there are none. */
static uint32_t state_of(pid_t pid) {
    mt_target t;
    int fd = mt_find_tables(pid);
    uint32_t state = 0;
    if (fd < 0) return 0;
    if (mt_target_open(&t, fd, pid)) {
        state = atomic_load(&t.header->state);
        mt_target_close(&t);
    }
    close(fd);
    return state;
}

/* The same file there as here: another one, or none, stands there in a container. */
static bool is_there(pid_t pid, const char *object) {
    char *path;
    struct stat here, there;
    if (asprintf(&path, "/proc/%d/root%s", (int)pid, object) < 0) return false;
    bool same = stat(object, &here) == 0 && stat(path, &there) == 0 &&
                here.st_ino == there.st_ino && here.st_dev == there.st_dev;
    free(path);
    if (!same)
        mt_say("%d does not see %s: it has other file systems, in a container; run mtracectl "
               "there",
               (int)pid, object);
    return same;
}

static bool may_attach(pid_t pid, const char *object) {
    char path[64], name[32];
    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    snprintf(name, sizeof name, "%d", (int)pid);
    if (!mt_find_process(pid)) return false;
    uint32_t state = state_of(pid);
    if (state && state != MT_REGION_DETACHED)
        mt_say("%d is traced already: ask it by mtracectl report %d", (int)pid, (int)pid);
    else if (mt_program_suits(path, name) && is_there(pid, object)) return true;
    return false;
}

static int attach(const mt_arguments *a, pid_t pid) {
    char *object = mt_program_object(), *options = options_of(a);
    long result = -1;
    if (object && options && may_attach(pid, object) && mt_outfile_may(a->log)) {
        bool called = mt_call(pid, object, "mtrace_attach", options, &result);
        if (called && result != MT_ATTACH_DONE)
            mt_say("%d is not traced: %s", (int)pid, reason_of(result));
        else if (called && a->log)
            printf("%d is logged from now on into %s.\n"
                   "mtracectl detach %d ends it, mtracectl log %s tells what is in it.\n",
                   (int)pid, a->log, (int)pid, a->log);
        else if (called)
            printf("%d is traced from now on.\n"
                   "mtracectl report %d tells what it holds, mtracectl detach %d ends it.\n",
                   (int)pid, (int)pid, (int)pid);
    }
    free(object);
    free(options);
    return result == MT_ATTACH_DONE ? 0 : MT_EXIT_FAILED;
}

static int detach_target(const mt_arguments *a, mt_target *t) {
    char *object = mt_program_object();
    mt_outfile outfile;
    long result = -1;
    if (atomic_load(&t->header->observer)) {
        mt_say("%d was started by mtracectl run, and is traced to its end", (int)t->pid);
    } else if (atomic_load(&t->header->state) == MT_REGION_DETACHED) {
        mt_say("%d is not traced any more", (int)t->pid);
    } else if (object && mt_show_check(&a->show) == 0 &&
               mt_outfile_prepare(&outfile, a->outfile, stdout) == 0) {
        if (mt_call(t->pid, object, "mtrace_detach", NULL, &result) && result != MT_ATTACH_DONE)
            mt_say("%d is still traced: %s", (int)t->pid, reason_of(result));
    }
    free(object);
    return result == MT_ATTACH_DONE ? mt_deliver_once(t, &a->show, &outfile) : MT_EXIT_FAILED;
}

static int detach(const mt_arguments *a, pid_t pid) {
    mt_target t;
    int fd = mt_find_tables_or_say(pid), status = MT_EXIT_FAILED;
    if (fd < 0) return status;
    if (mt_target_open(&t, fd, pid)) {
        status = detach_target(a, &t);
        mt_target_close(&t);
    }
    close(fd);
    return status;
}

static void usage_attach(void) {
    puts("usage: mtracectl attach [OPTIONS] PID\n\n"
         "Begins to trace a process that was started plain. gdb, which must be installed,\n"
         "stops it for some moments in which no thread is in malloc or the loader, and\n"
         "loads mtrace.so into it, which stays. What was allocated before is not known.\n");
    fputs(mt_arguments_help, stdout);
    puts("  --log FILE, --log-limit SIZE, --log-full WHAT   as mtracectl run has them\n\n"
         "mtracectl report PID tells what it holds; mtracectl detach PID ends it.");
}

static void usage_detach(void) {
    puts("usage: mtracectl detach [OPTIONS] PID\n\n"
         "Ends what mtracectl attach began, puts everything back, and reports what was\n"
         "allocated since and is not freed. mtrace.so stays loaded, and does nothing.\n\n"
         "  --outfile FILE     the report goes there (%p: process, %c: its name)");
    fputs(mt_show_help, stdout);
}

int mt_command_attach(int argc, char **argv) {
    return mt_arguments_act(MT_ARGUMENTS_TABLE, usage_attach, attach, argc, argv);
}

int mt_command_detach(int argc, char **argv) {
    return mt_arguments_act(MT_ARGUMENTS_OUTFILE, usage_detach, detach, argc, argv);
}
