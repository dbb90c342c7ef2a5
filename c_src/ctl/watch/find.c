/* find: see the header. What may not be looked at is passed over. */
#include "find.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/commands.h"
#include "processes.h"

enum {
    TRIES = 20,
    PAUSE_US = 50000,
    LOADING = 60, /* times that a process which is being started is looked at: 3 s */
    FORKED = 5    /* the same, while it is still a copy of mtracectl */
};

/* The memory as the process has it mapped, and whose process that is. */
typedef struct {
    char name[64];
    uint64_t inode;
    int64_t user;
} wanted;

/* By the number that the process knows itself by, another one in a container: the child of a
 * fork has its parent's mapped, too, which is not meant. */
static bool want(wanted *w, pid_t pid) {
    char path[64], *line = NULL;
    size_t room = 0;
    bool found = false;
    w->user = mt_process_user(pid);
    snprintf(w->name, sizeof w->name, "/memfd:mtrace.%d (deleted)",
             (int)mt_process_own_number(pid));
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    while (maps && !found && getline(&line, &room, maps) > 0) {
        char *at = strstr(line, w->name);
        unsigned long long inode;
        found = at && strcmp(at + strlen(w->name), "\n") == 0 &&
                sscanf(line, "%*s %*s %*s %*s %llu", &inode) == 1;
        if (found) w->inode = inode;
    }
    if (maps) fclose(maps);
    free(line);
    return found;
}

/* A name is free for all, and one that another user has given to memory of his is not believed;
 * nor is a number, which a process in another container may have. */
static bool is_wanted(int fd, const wanted *w) {
    struct stat s;
    return fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && s.st_ino == w->inode &&
           (s.st_uid == 0 || s.st_uid == geteuid() || (int64_t)s.st_uid == w->user);
}

/* Opens one of the process's descriptors if it is that memory. It may have become something
 * else meanwhile. */
static int open_if(const char *folder, const char *entry, const wanted *w) {
    char path[320], link[64];
    snprintf(path, sizeof path, "%s/%s", folder, entry);
    ssize_t n = readlink(path, link, sizeof link - 1);
    if (n < 0) return -1;
    link[n] = '\0';
    if (strcmp(link, w->name) != 0) return -1;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || is_wanted(fd, w)) return fd;
    close(fd);
    return -1;
}

static int look_in(pid_t pid, const wanted *w) {
    char folder[64];
    struct dirent *entry;
    int fd = -1;
    snprintf(folder, sizeof folder, "/proc/%d/fd", (int)pid);
    DIR *d = opendir(folder);
    while (d && fd < 0 && (entry = readdir(d)))
        if (entry->d_name[0] != '.') fd = open_if(folder, entry->d_name, w);
    if (d) closedir(d);
    return fd;
}

static int look_everywhere(pid_t first, const wanted *w) {
    struct dirent *entry;
    int fd = look_in(first, w);
    DIR *d = fd < 0 ? opendir("/proc") : NULL;
    while (d && fd < 0 && (entry = readdir(d)))
        if (atoi(entry->d_name) > 0) fd = look_in(atoi(entry->d_name), w);
    if (d) closedir(d);
    return fd;
}

/* On its way from the process to mtracectl it is nobody's. */
int mt_find_tables(pid_t pid) {
    wanted w = {0};
    int fd = -1;
    for (int i = 0; i < TRIES && fd < 0 && want(&w, pid); i++) {
        if (i > 0) usleep(PAUSE_US);
        fd = look_everywhere(pid, &w);
    }
    return fd;
}

bool mt_find_process(pid_t pid) {
    char path[64];
    int64_t user = mt_process_user(pid);
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    if (user < 0) {
        mt_say("there is no process %d", (int)pid);
        return false;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char byte;
    ssize_t n = fd >= 0 ? read(fd, &byte, 1) : -1;
    int error = errno;
    if (fd >= 0) close(fd);
    if (n > 0) return true;
    if (n == 0) mt_say("%d has ended, or is a part of the kernel", (int)pid);
    else if (user != (int64_t)geteuid())
        mt_say("%d belongs to another user (%lld): ask as that one, or as root", (int)pid,
               (long long)user);
    else mt_say("%d may not be looked at: %s", (int)pid, strerror(error));
    return false;
}

bool mt_find_object(pid_t pid) {
    mt_picture p = {0};
    bool found = false;
    if (mt_picture_take(&p, pid))
        for (uint32_t i = 0; i < p.mappings && !found; i++) {
            const char *path = p.texts + p.mapping[i].path, *last = strrchr(path, '/');
            found = last && strncmp(last, "/mtrace.so", 10) == 0;
        }
    mt_picture_free(&p);
    return found;
}

/* The name of the socket that it was told of when its program was executed: what it does with
 * its variables itself does not show there. "": of none. */
static void read_socket(pid_t pid, char name[64]) {
    static const char variable[] = "MTRACE_CTL=";
    char path[64], *text = NULL;
    size_t room = 0, n = sizeof variable - 1;
    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    FILE *f = fopen(path, "re");
    *name = '\0';
    while (f && !*name && getdelim(&text, &room, '\0', f) > 0)
        if (strncmp(text, variable, n) == 0) snprintf(name, 64, "%s", text + n);
    if (f) fclose(f);
    free(text);
}

/* Is somebody there who was to get its tables? */
static bool is_listened_to(pid_t pid, const char *name) {
    char path[64], *line = NULL;
    size_t room = 0, n = strlen(name);
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/net/unix", (int)pid);
    FILE *f = fopen(path, "re");
    while (f && !found && getline(&line, &room, f) > 0) {
        const char *at = strchr(line, '@');
        found = at && strncmp(at + 1, name, n) == 0 && at[1 + n] == '\n';
    }
    if (f) fclose(f);
    free(line);
    return found;
}

static bool is_mtracectl(pid_t pid) {
    struct stat its, own;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    return stat(path, &its) == 0 && stat("/proc/self/exe", &own) == 0 &&
           its.st_dev == own.st_dev && its.st_ino == own.st_ino;
}

/* The child of a fork has its parent's tables mapped, and will never have its own. */
static bool has_tables(pid_t pid) {
    mt_picture p = {0};
    bool found = false;
    if (mt_picture_take(&p, pid))
        for (uint32_t i = 0; i < p.mappings && !found; i++) found = p.mapping[i].tables;
    mt_picture_free(&p);
    return found;
}

static bool is_starting(pid_t pid) {
    char name[64];
    read_socket(pid, name);
    return *name && !has_tables(pid) && is_listened_to(pid, name);
}

/* mtracectl run has forked, then the program is loaded, and then our object runs in it. */
static int wait_for_tables(pid_t pid) {
    int fd = mt_find_tables(pid), forked = 0;
    for (int i = 0; i < LOADING && fd < 0; i++) {
        if (is_mtracectl(pid) ? ++forked > FORKED : !is_starting(pid)) break;
        usleep(PAUSE_US);
        fd = mt_find_tables(pid);
    }
    return fd;
}

static void say_why_not(pid_t pid) {
    wanted own;
    int n = (int)pid;
    if (is_mtracectl(pid))
        mt_say("%d is mtracectl itself: ask for the program that it runs (pgrep -P %d)", n, n);
    else if (want(&own, pid))
        mt_say("%d is traced, but the mtracectl that kept its tables has ended, and nobody "
               "else can read them",
               n);
    else if (is_starting(pid))
        mt_say("%d is being started by mtracectl run and has not handed over its tables yet: "
               "ask again, or see whether it has said why it is not traced",
               n);
    else if (has_tables(pid))
        mt_say("%d was forked by a process that is traced, and is not traced itself: what it "
               "executes is, with mtracectl run --children",
               n);
    else if (mt_find_object(pid))
        mt_say("%d has mtrace loaded, but shares no tables with anybody: a node of Erlang is "
               "asked by Mtrace in iex or a remote console",
               n);
    else
        mt_say("%d is not traced: start it with mtracectl run, or use mtracectl attach %d", n,
               n);
}

int mt_find_tables_or_say(pid_t pid) {
    if (!mt_find_process(pid)) return -1;
    int fd = wait_for_tables(pid);
    if (fd < 0 && mt_find_process(pid)) say_why_not(pid);
    return fd;
}
