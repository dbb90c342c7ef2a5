/* processes: see the header. */
#include "processes.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static FILE *open_file(pid_t pid, const char *name) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    return fopen(path, "re");
}

static bool grow(void **array, uint32_t *room, uint32_t wanted, size_t size) {
    if (wanted <= *room) return true;
    uint32_t more = *room ? *room : 64;
    while (more < wanted) more *= 2;
    void *larger = realloc(*array, more * size);
    if (!larger) return false;
    *array = larger;
    *room = more;
    return true;
}

static bool keep_text(mt_picture *p, const char *text, uint32_t *where) {
    uint32_t n = (uint32_t)strlen(text) + 1;
    if (!grow((void **)&p->texts, &p->text_room, p->text_bytes + n, 1)) return false;
    memcpy(p->texts + p->text_bytes, text, n);
    *where = p->text_bytes;
    p->text_bytes += n;
    return true;
}

/* "lo-hi perms offset device inode    path" */
static bool add(mt_picture *p, char *line) {
    unsigned long long lo, hi, offset;
    char permissions[8];
    int path = 0;
    if (sscanf(line, "%llx-%llx %7s %llx %*s %*s %n", &lo, &hi, permissions, &offset, &path) <
            4 ||
        !path)
        return true;
    if (!grow((void **)&p->mapping, &p->room, p->mappings + 1, sizeof *p->mapping))
        return false;
    mt_mapping *m = &p->mapping[p->mappings];
    *m = (mt_mapping){.lo = lo, .hi = hi, .offset = offset};
    m->executable = permissions[2] == 'x';
    m->tables = strncmp(line + path, "/memfd:mtrace.", 14) == 0;
    line[strcspn(line, "\n")] = '\0';
    if (!keep_text(p, line + path, &m->path)) return false;
    p->mappings++;
    return true;
}

/* A mapping's line begins with its address, the others with a name. */
static bool read_mappings(mt_picture *p, FILE *from) {
    char *line = NULL;
    size_t room = 0;
    bool well = true;
    while (well && getline(&line, &room, from) > 0) {
        unsigned long long kib;
        if (sscanf(line, "Rss: %llu kB", &kib) == 1 && p->mappings)
            p->mapping[p->mappings - 1].resident = kib * 1024;
        else if (line[0] < 'A' || line[0] > 'Z') well = add(p, line);
    }
    free(line);
    return well && p->mappings > 0;
}

static void sum_up(mt_picture *p, pid_t pid) {
    unsigned long long size = 0, resident = 0, shared = 0, page;
    uint64_t own = 0, own_resident = 0;
    page = (unsigned long long)sysconf(_SC_PAGESIZE);
    FILE *f = open_file(pid, "statm");
    if (f && fscanf(f, "%llu %llu %llu", &size, &resident, &shared) != 3) size = shared = 0;
    if (f) fclose(f);
    p->rss = 0;
    for (uint32_t i = 0; i < p->mappings; i++) {
        const mt_mapping *m = &p->mapping[i];
        if (m->tables) own += m->hi - m->lo, own_resident += m->resident;
        else p->rss += m->resident;
    }
    p->vss = size * page > own ? size * page - own : 0;
    p->shared = shared * page > own_resident ? shared * page - own_resident : 0;
}

bool mt_picture_take(mt_picture *picture, pid_t pid) {
    mt_picture fresh = {0};
    FILE *f = open_file(pid, "smaps");
    if (!f) f = open_file(pid, "maps");
    bool well = f && read_mappings(&fresh, f);
    if (f) fclose(f);
    if (!well) {
        mt_picture_free(&fresh);
        return false;
    }
    sum_up(&fresh, pid);
    mt_picture_free(picture);
    *picture = fresh;
    return true;
}

void mt_picture_free(mt_picture *picture) {
    free(picture->mapping);
    free(picture->texts);
    *picture = (mt_picture){0};
}

void mt_process_name(pid_t pid, char name[64]) {
    FILE *f = open_file(pid, "comm");
    *name = '\0';
    if (f && !fgets(name, 64, f)) *name = '\0';
    if (f) fclose(f);
    name[strcspn(name, "\n")] = '\0';
}

uint64_t mt_process_caught(pid_t pid) {
    FILE *f = open_file(pid, "status");
    char line[256];
    unsigned long long caught = 0;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "SigCgt: %llx", &caught) == 1) break;
    if (f) fclose(f);
    return caught;
}

/* "NSpid:" and its numbers, the outermost first. */
pid_t mt_process_own_number(pid_t pid) {
    FILE *f = open_file(pid, "status");
    char line[256];
    long number = pid;
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, "NSpid:", 6) != 0) continue;
        char *at = line + 6, *end;
        for (long n; n = strtol(at, &end, 10), end != at; at = end) number = n;
        break;
    }
    if (f) fclose(f);
    return (pid_t)number;
}

char mt_process_state(pid_t pid) {
    FILE *f = open_file(pid, "status");
    char line[256], state = 0;
    while (f && !state && fgets(line, sizeof line, f)) sscanf(line, "State: %c", &state);
    if (f) fclose(f);
    return state;
}

int64_t mt_process_user(pid_t pid) {
    char path[64];
    struct stat s;
    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    return stat(path, &s) == 0 ? (int64_t)s.st_uid : -1;
}
