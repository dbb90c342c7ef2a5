/* named_kept: see the header. A list: there are as many as a report had files. */
#include "named_kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LONG_NS 1000000000u

enum {
    MOST = 256 /* files; a program with more of them in its stacks names the others anew */
};

typedef struct entry {
    struct entry *next;
    char *path, *found;
    struct stat was; /* of `found`, when it was last seen to be the one */
    mt_elf_identity identity;
    mt_symbols symbols;
    mt_debug *debug;
    bool asked_debug;
} entry;

struct mt_named_kept {
    entry *first;
    unsigned n;
    uint64_t last_ns; /* when something was kept */
};

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

mt_named_kept *mt_named_kept_open(void) {
    return calloc(1, sizeof(mt_named_kept));
}

static bool is_as_it_was(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void release(entry *e) {
    mt_symbols_free(&e->symbols);
    mt_debug_close(e->debug);
    free(e->path);
    free(e->found);
    free(e);
}

static bool is_of(const entry *e, const mt_named_file *file) {
    return strcmp(e->path, file->path) == 0 &&
           e->identity.build_id_bytes == file->identity.build_id_bytes &&
           memcmp(e->identity.build_id, file->identity.build_id, e->identity.build_id_bytes) ==
               0;
}

static entry *unlink_one(mt_named_kept *kept, const mt_named_file *file) {
    for (entry **at = &kept->first; *at; at = &(*at)->next)
        if (is_of(*at, file)) {
            entry *e = *at;
            *at = e->next;
            kept->n--;
            return e;
        }
    return NULL;
}

bool mt_named_kept_take(mt_named_kept *kept, mt_named_file *file, mt_arena *arena) {
    entry *e = kept ? unlink_one(kept, file) : NULL;
    struct stat now;
    if (!e) return false;
    if (stat(e->found, &now) == 0 && is_as_it_was(&e->was, &now) &&
        (file->found = mt_arena_string(arena, e->found))) {
        file->status = now;
        file->symbols = e->symbols;
        file->debug = e->debug;
        file->asked_debug = e->asked_debug;
        e->symbols = (mt_symbols){0};
        e->debug = NULL;
    }
    release(e);
    return file->found != NULL;
}

/* Where its status is not known it was never found. */
void mt_named_kept_give(mt_named_kept *kept, mt_named_file *file) {
    bool well = kept && kept->n < MOST && file->found && file->status.st_ino;
    entry *e = well ? calloc(1, sizeof *e) : NULL;
    if (!e || !(e->path = strdup(file->path)) || !(e->found = strdup(file->found))) {
        if (e) release(e);
        mt_named_file_close(file);
        return;
    }
    e->was = file->status;
    e->identity = file->identity;
    e->symbols = file->symbols;
    e->debug = file->debug;
    e->asked_debug = file->asked_debug;
    e->next = kept->first;
    kept->first = e;
    kept->n++;
    kept->last_ns = now_ns();
}

static void empty(mt_named_kept *kept) {
    for (entry *e; (e = kept->first);) {
        kept->first = e->next;
        release(e);
    }
    kept->n = 0;
}

int mt_named_kept_due_ms(const mt_named_kept *kept) {
    if (!kept || !kept->first) return -1;
    uint64_t age = now_ns() - kept->last_ns;
    return age >= LONG_NS ? 0 : (int)((LONG_NS - age + 999999) / 1000000);
}

/* Not what is shared: tables that are watched, files. */
static bool is_large(void) {
    unsigned long long resident = 0, shared = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%*u %llu %llu", &resident, &shared) != 2) resident = 0;
    if (f) fclose(f);
    return resident > shared &&
           (resident - shared) * (unsigned long long)sysconf(_SC_PAGESIZE) >
               MT_NAMED_KEPT_BYTES;
}

void mt_named_kept_tidy(mt_named_kept *kept) {
    if (kept && kept->first && (mt_named_kept_due_ms(kept) == 0 || is_large())) empty(kept);
}

void mt_named_kept_close(mt_named_kept *kept) {
    if (kept) empty(kept);
    free(kept);
}
