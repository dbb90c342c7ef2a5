/* call: see the header. */
#include "call.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backtraces.h"
#include "ctl/commands.h"
#include "gdb.h"
#include "hook/attached.h"
#include "processes.h"

enum { TRIES = 50, PAUSE_US = 200000, LOOK_SECONDS = 60, CALL_SECONDS = 30 };

/* Stops the process where no thread is in what our call needs. Stopped when it returns true. */
static bool stop_quietly(mt_gdb *g, pid_t pid) {
    char command[128], where[256] = "";
    for (int i = 0; i < TRIES; i++) {
        snprintf(command, sizeof command, "attach %d\nthread apply all backtrace\n", (int)pid);
        bool answered = mt_gdb_ask(g, LOOK_SECONDS, command);
        if (answered && mt_backtraces_quiet(g->text, where, sizeof where)) return true;
        if (answered && (strstr(g->text, "ptrace: ") || strstr(g->text, "Could not attach"))) {
            mt_say("gdb may not attach to %d: it is traced by another debugger, or ptrace is "
                   "restricted (/proc/sys/kernel/yama/ptrace_scope): try as root",
                   (int)pid);
            return false;
        }
        if (!answered || !mt_gdb_ask(g, LOOK_SECONDS, "detach\n")) {
            mt_say("gdb has ended, or does not answer; nothing was done in %d", (int)pid);
            return false;
        }
        usleep(PAUSE_US);
    }
    mt_say("no moment was found at which %d could be changed (%s); nothing was done, try again",
           (int)pid, where);
    return false;
}

enum { OBJECT_ROOM = 8192, FUNCTION_ROOM = 64, ROOM = 16384 };

/* A string between quotes would be put into memory that gdb allocates there, in the program's
 * heap, and leaves. So it is written word by word, into a page that is unmapped again. */
static void put_string(FILE *to, const char *text, size_t at) {
    size_t n = strlen(text) + 1;
    for (size_t i = 0; i < n; i += sizeof(uint64_t)) {
        uint64_t word = 0;
        memcpy(&word, text + i, n - i < sizeof word ? n - i : sizeof word);
        fprintf(to, "set {unsigned long long}($mt_room + %zu) = 0x%llx\n", at + i,
                (unsigned long long)word);
    }
}

/* In gdb's own language. dlopen is libc's own from glibc 2.34 on; before, programs may have
 * only libc's private one. */
static char *calls(const char *object, const char *function, const char *options) {
    char *text = NULL;
    size_t n;
    if (strlen(object) >= OBJECT_ROOM || strlen(function) >= FUNCTION_ROOM ||
        (options && strlen(options) >= ROOM - OBJECT_ROOM - FUNCTION_ROOM))
        return NULL;
    FILE *to = open_memstream(&text, &n);
    if (!to) return NULL;
    fprintf(to,
            "set language c\n"
            "set $mt_handle = (void *)0\n"
            "set $mt_function = (void *)0\n"
            "set $mt_room = ((char *(*)(void *, unsigned long, int, int, int, long))mmap)"
            "(0, %d, %d, %d, -1, 0)\n"
            "if (long)$mt_room != -1\n",
            ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    put_string(to, object, 0);
    put_string(to, function, OBJECT_ROOM);
    if (options) put_string(to, options, OBJECT_ROOM + FUNCTION_ROOM);
    fprintf(to,
            "set $mt_handle = ((void *(*)(const char *, int))dlopen)($mt_room, 2)\n"
            "if $mt_handle != 0\n"
            "set $mt_function = ((void *(*)(void *, const char *))dlsym)"
            "($mt_handle, $mt_room + %d)\nend\n"
            "if $mt_function != 0\nprintf \"mtrace-result %%d\\n\", ",
            OBJECT_ROOM);
    if (options)
        fprintf(to, "((int (*)(int, const char *))$mt_function)(%d, $mt_room + %d)\nend\n",
                MT_ATTACHED_VERSION, OBJECT_ROOM + FUNCTION_ROOM);
    else fprintf(to, "((int (*)(int))$mt_function)(%d)\nend\n", MT_ATTACHED_VERSION);
    fprintf(to, "call ((int (*)(void *, unsigned long))munmap)($mt_room, %d)\nend\n", ROOM);
    return fclose(to) == 0 ? text : NULL;
}

/* A call in it would be stopped, too. */
static bool is_stopped(pid_t pid) {
    if (mt_process_state(pid) != 'T') return false;
    mt_say("%d is stopped, and nothing can be called in it: let it go on first (kill -CONT %d)",
           (int)pid, (int)pid);
    return true;
}

bool mt_call(pid_t pid, const char *object, const char *function, const char *options,
             long *result) {
    mt_gdb g;
    bool called = false;
    *result = -1;
    if (is_stopped(pid) || !mt_gdb_start(&g)) return false;
    if (stop_quietly(&g, pid)) {
        char *commands = calls(object, function, options);
        called = commands && mt_gdb_ask(&g, CALL_SECONDS, commands);
        if (called) *result = mt_gdb_result(&g);
        else mt_say("gdb did not come back from a call in %d; it lets go of it", (int)pid);
        free(commands);
    }
    mt_gdb_end(&g);
    return called;
}
