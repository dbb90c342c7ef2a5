/* program: see the header. */
#include "program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "ctl/commands.h"

enum { SCRIPTS = 5 /* the kernel follows no more interpreters of interpreters */ };

static bool is_file(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

/* execvp goes on after what it may not execute, and remembers. */
static char *search(const char *name, const char *folders, char **refused) {
    for (const char *at = folders, *end; at; at = *end ? end + 1 : NULL) {
        end = strchrnul(at, ':');
        char *path;
        int n = (int)(end - at);
        if (asprintf(&path, "%.*s%s%s", n, at, n ? "/" : "./", name) < 0) return NULL;
        if (is_file(path) && access(path, X_OK) == 0) return path;
        if (is_file(path) && !*refused) *refused = path;
        else free(path);
    }
    return NULL;
}

char *mt_program_find(const char *name) {
    if (strchr(name, '/')) return strdup(name);
    const char *folders = getenv("PATH");
    char *refused = NULL, *found = search(name, folders ? folders : "/bin:/usr/bin", &refused);
    if (found) {
        free(refused);
        return found;
    }
    if (!refused)
        mt_say("there is no program %s in the folders of PATH; give its path if it lies "
               "elsewhere",
               name);
    return refused; /* check says why */
}

static const char *reason_of(int error) {
    switch (error) {
    case ENOENT:
        return "it is not there";
    case ENOTDIR:
        return "a part of its path is no folder";
    case EACCES:
        return "a folder of its path may not be searched";
    default:
        return strerror(error);
    }
}

/* What makes the kernel start it with other rights, and ld.so ignore what we ask. */
static const char *raised(const char *path, const struct stat *s) {
    if (s->st_mode & S_ISUID && s->st_uid != getuid()) return "it is setuid";
    if ((s->st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && s->st_gid != getgid())
        return "it is setgid";
    if (getuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0)
        return "it has file capabilities";
    return NULL;
}

static bool may_start(const char *path, const char *whose) {
    struct stat s;
    if (stat(path, &s) != 0) {
        mt_say("%s%s cannot be run: %s", whose, path, reason_of(errno));
    } else if (S_ISDIR(s.st_mode)) {
        mt_say("%s%s cannot be run: it is a folder", whose, path);
    } else if (!S_ISREG(s.st_mode)) {
        mt_say("%s%s cannot be run: it is no file", whose, path);
    } else if (access(path, X_OK) != 0) {
        mt_say("%s%s cannot be run: it is not executable; chmod +x makes it so", whose, path);
    } else if (raised(path, &s)) {
        mt_say(
            "%s%s cannot be traced: %s, and the loader ignores LD_PRELOAD then; trace a copy "
            "of it, or as its owner",
            whose, path, raised(path, &s));
    } else {
        return true;
    }
    return false;
}

static bool fetch(int fd, uint64_t at, void *to, size_t n) {
    return at <= INT64_MAX && pread(fd, to, n, (off_t)at) == (ssize_t)n;
}

/* The loader that the file asks for, cut if it is long; "" if none, which is what it is to be
 * statically linked. */
static void read_interpreter(int fd, const ElfW(Ehdr) * head, char name[PATH_MAX]) {
    *name = '\0';
    for (int i = 0; i < head->e_phnum; i++) {
        ElfW(Phdr) p;
        if (!fetch(fd, head->e_phoff + (uint64_t)i * sizeof p, &p, sizeof p)) return;
        if (p.p_type != PT_INTERP) continue;
        size_t n = p.p_filesz < PATH_MAX - 1 ? p.p_filesz : PATH_MAX - 1;
        if (!fetch(fd, p.p_offset, name, n)) n = 0;
        name[n] = '\0';
        return;
    }
}

/* What this program itself is made for, our object is made for. */
static bool read_own(ElfW(Ehdr) * own) {
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    bool done = fd >= 0 && fetch(fd, 0, own, sizeof *own);
    if (fd >= 0) close(fd);
    return done;
}

static const char *unsuited(int fd) {
    static char reason[120];
    ElfW(Ehdr) head, own;
    char loader[PATH_MAX];
    if (!fetch(fd, 0, &head, sizeof head) || !read_own(&own)) return "its header is cut off";
    if (head.e_ident[EI_CLASS] != own.e_ident[EI_CLASS]) {
        int bits = head.e_ident[EI_CLASS] == ELFCLASS32 ? 32 : 64;
        snprintf(reason, sizeof reason,
                 "it is a %d-bit program, and this is for %d bits; build "
                 "mtrace for its machine",
                 bits, 96 - bits);
        return reason;
    }
    if (head.e_ident[EI_DATA] != own.e_ident[EI_DATA] || head.e_machine != own.e_machine)
        return "it is for another machine";
    if (head.e_phentsize != sizeof(ElfW(Phdr))) return "its header makes no sense";
    read_interpreter(fd, &head, loader);
    if (!*loader)
        return "it is statically linked: there is no loader that could preload anything; link "
               "it dynamically";
    if (strstr(loader, "ld-musl")) return "its C library is musl, and this is for glibc";
    return NULL;
}

/* The interpreter that is named behind "#!", or false. */
static bool is_script(const char *begin, char name[256]) {
    if (strncmp(begin, "#!", 2) != 0) return false;
    begin += 2 + strspn(begin + 2, " \t");
    size_t n = strcspn(begin, " \t\n");
    snprintf(name, 256, "%.*s", (int)n, begin);
    return true;
}

static bool check(const char *path, const char *whose, int depth);

static bool check_interpreter(const char *script, const char *name, int depth) {
    char whose[PATH_MAX + 80];
    snprintf(whose, sizeof whose, "%s is a script for %s: ", script, *name ? name : "nothing");
    if (depth < SCRIPTS) return check(name, whose, depth + 1);
    mt_say("%s cannot be run: it is a script for a script, too often", script);
    return false;
}

static bool check_file(int fd, const char *path, const char *whose, int depth) {
    char begin[256] = "", name[256];
    ssize_t n = pread(fd, begin, sizeof begin - 1, 0);
    if (n >= 4 && memcmp(begin, ELFMAG, SELFMAG) == 0) {
        const char *why = unsuited(fd);
        if (why) mt_say("%s%s cannot be traced: %s", whose, path, why);
        return !why;
    }
    begin[n > 0 ? n : 0] = '\0';
    if (is_script(begin, name)) return check_interpreter(path, name, depth);
    if (depth == 0 && n > 0 && !memchr(begin, '\0', (size_t)n))
        return check("/bin/sh", whose, 1); /* as execvp does */
    mt_say("%s%s cannot be run: it is no program", whose, path);
    return false;
}

static bool check(const char *path, const char *whose, int depth) {
    if (!may_start(path, whose)) return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return true; /* executable, and not to be read: then we shall see */
    bool well = check_file(fd, path, whose, depth);
    close(fd);
    return well;
}

bool mt_program_check(const char *path) {
    return check(path, "", 0);
}

bool mt_program_suits(const char *path, const char *name) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    const char *why = fd < 0 ? strerror(errno) : unsuited(fd);
    if (fd >= 0) close(fd);
    if (why) mt_say("%s cannot be traced: %s", name, why);
    return !why;
}

char *mt_program_object(void) {
    char own[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);
    char *path = NULL;
    own[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(own, '/');
    if (!slash || asprintf(&path, "%.*s/mtrace.so", (int)(slash - own), own) < 0) {
        mt_say("/proc/self/exe cannot be read: is /proc mounted?");
        return NULL;
    }
    if (access(path, R_OK) != 0)
        mt_say(
            "%s is not there, or not to be read; it is built together with mtracectl and must "
            "lie beside it",
            path);
    else if (strpbrk(path, ": ;"))
        mt_say("%s cannot be preloaded: LD_PRELOAD takes no path with a space or a colon; move "
               "mtracectl and mtrace.so elsewhere",
               path);
    else return path;
    free(path);
    return NULL;
}
