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

#include "commands.h"
#include "processes.h"

/* A name is free for all: one that another user has given to memory of his is not believed. */
static bool is_trusted(int fd, int64_t user) {
    struct stat s;
    return fstat(fd, &s) == 0 && S_ISREG(s.st_mode) &&
           (s.st_uid == 0 || s.st_uid == geteuid() || (int64_t)s.st_uid == user);
}

/* Opens one of the process's descriptors if it is the memory of this name. It may have become
 * something else meanwhile. */
static int open_if(const char *folder, const char *entry, const char *name, int64_t user) {
    char path[320], link[64];
    snprintf(path, sizeof path, "%s/%s", folder, entry);
    ssize_t n = readlink(path, link, sizeof link - 1);
    if (n < 0) return -1;
    link[n] = '\0';
    if (strcmp(link, name) != 0) return -1;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || is_trusted(fd, user)) return fd;
    close(fd);
    return -1;
}

/* `user`: whose process it is that is looked for. */
static int look_in(pid_t pid, const char *name, int64_t user) {
    char folder[64];
    struct dirent *entry;
    int fd = -1;
    snprintf(folder, sizeof folder, "/proc/%d/fd", (int)pid);
    DIR *d = opendir(folder);
    while (d && fd < 0 && (entry = readdir(d)))
        if (entry->d_name[0] != '.') fd = open_if(folder, entry->d_name, name, user);
    if (d) closedir(d);
    return fd;
}

int mt_find_tables(pid_t pid) {
    char name[64];
    struct dirent *entry;
    pid_t own = mt_process_own_number(pid);
    snprintf(name, sizeof name, "/memfd:mtrace.%d (deleted)", (int)own);
    int64_t user = mt_process_user(pid);
    int fd = look_in(pid, name, user);
    /* elsewhere that number may be the one of a process in another container */
    DIR *d = fd < 0 && own == pid ? opendir("/proc") : NULL;
    while (d && fd < 0 && (entry = readdir(d)))
        if (atoi(entry->d_name) > 0) fd = look_in(atoi(entry->d_name), name, user);
    if (d) closedir(d);
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

int mt_find_tables_or_say(pid_t pid) {
    if (!mt_find_process(pid)) return -1;
    int fd = mt_find_tables(pid);
    if (fd >= 0) return fd;
    if (mt_find_object(pid))
        mt_say("%d has mtrace loaded, but shares no tables with anybody: a node of Erlang is "
               "asked by Mtrace in iex or a remote console",
               (int)pid);
    else
        mt_say("%d is not traced: start it with mtracectl run, or use mtracectl attach %d",
               (int)pid, (int)pid);
    return -1;
}
