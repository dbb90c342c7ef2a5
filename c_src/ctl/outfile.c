/* outfile: see the header. Files are for their owner alone: 0600. */
#include "outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"

static void put_name(FILE *to, const char *name) {
    for (; *name; name++) {
        unsigned char c = (unsigned char)*name;
        fputc(c <= ' ' || c == 127 || c == '/' ? '_' : c, to);
    }
}

char *mt_outfile_expand(const char *pattern, pid_t pid, const char *name) {
    char *text = NULL;
    size_t n;
    FILE *to = open_memstream(&text, &n);
    if (!to) return NULL;
    for (; *pattern; pattern++) {
        if (*pattern != '%' || !strchr("pc%", pattern[1]) || !pattern[1]) {
            fputc(*pattern, to);
            continue;
        }
        pattern++;
        if (*pattern == 'p') fprintf(to, "%d", (int)pid);
        else if (*pattern == 'c') put_name(to, name);
        else fputc('%', to);
    }
    return fclose(to) == 0 ? text : NULL;
}

static FILE *open_one(const char *path, int flags) {
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | flags, 0600);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!f) {
        mt_say("the report cannot be written to %s: %s", path, strerror(errno));
        if (fd >= 0) close(fd);
    }
    return f;
}

static int see_folder(const char *pattern) {
    char *folder = strdup(pattern), *slash = folder ? strrchr(folder, '/') : NULL;
    struct stat s;
    int error = 0;
    if (!folder) return -1;
    if (slash) slash[slash == folder ? 1 : 0] = '\0';
    else strcpy(folder, pattern[0] ? "." : "");
    if (!strchr(folder, '%')) {
        if (stat(folder, &s) != 0 || access(folder, W_OK | X_OK) != 0) error = errno;
        else if (!S_ISDIR(s.st_mode)) error = ENOTDIR;
    }
    if (error) mt_say("%s cannot be written: %s", pattern, strerror(error));
    free(folder);
    return error ? -1 : 0;
}

bool mt_outfile_may(const char *pattern) {
    if (!pattern) return true;
    if (access(pattern, F_OK) != 0) return see_folder(pattern) == 0;
    struct stat s;
    if (stat(pattern, &s) == 0 && S_ISDIR(s.st_mode)) errno = EISDIR;
    else if (access(pattern, W_OK) == 0) return true;
    mt_say("%s cannot be written to: %s", pattern, strerror(errno));
    return false;
}

int mt_outfile_prepare(mt_outfile *o, const char *pattern, FILE *none) {
    *o = (mt_outfile){.pattern = pattern, .none = none};
    if (!pattern) return 0;
    char *one = mt_outfile_expand(pattern, 0, "a"), *other = mt_outfile_expand(pattern, 1, "b");
    int failed = -1;
    if (!one || !other) {
        mt_say("out of memory");
    } else if (strcmp(one, other) != 0) {
        failed = see_folder(pattern);
    } else {
        o->one = open_one(one, O_TRUNC);
        failed = o->one ? 0 : -1;
    }
    free(one);
    free(other);
    return failed;
}

int mt_outfile_write(mt_outfile *o, pid_t pid, const char *name, const char *text, size_t n) {
    if (!o->pattern) return fwrite(text, 1, n, o->none) == n && !fflush(o->none) ? 0 : -1;
    FILE *to = o->one;
    char *path = mt_outfile_expand(o->pattern, pid, name);
    if (!to && path) to = open_one(path, O_APPEND);
    bool well = to && fwrite(text, 1, n, to) == n && fflush(to) == 0;
    if (to && !well) mt_say("the report is not whole in %s: %s", path, strerror(errno));
    if (to && to != o->one) fclose(to);
    free(path);
    o->failed |= !well;
    return well ? 0 : -1;
}

int mt_outfile_close(mt_outfile *o) {
    int failed = o->one ? fclose(o->one) : 0;
    if (failed) mt_say("the report is not whole in %s: %s", o->pattern, strerror(errno));
    o->one = NULL;
    return failed || o->failed ? -1 : 0;
}
