/* target: see the header. */
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/commands.h"
#include "record/futex.h"

/* Else we could be ended by a signal (SIGBUS) while we read. */
static bool is_whole_for_good(int fd) {
#ifdef F_GET_SEALS
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && seals & F_SEAL_SHRINK;
#else
    return fd >= 0;
#endif
}

static const char *map(mt_target *t, int fd) {
    struct stat s;
    if (fstat(fd, &s) != 0 || s.st_size < MT_REGION_HEADER) return "they are cut off";
    if (!is_whole_for_good(fd)) return "somebody could cut them off meanwhile";
    t->bytes = (uint64_t)s.st_size;
    t->header = mmap(NULL, MT_REGION_HEADER, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (t->header == MAP_FAILED) return strerror(errno);
    if (t->header->magic != MT_REGION_MAGIC || t->header->version != MT_REGION_VERSION)
        return "they are of another version of mtrace; use the mtracectl that lies beside the "
               "mtrace.so that it loaded";
    t->memory = mmap(NULL, t->bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
    return t->memory == MAP_FAILED ? strerror(errno) : NULL;
}

bool mt_target_open(mt_target *t, int fd, pid_t pid) {
    *t = (mt_target){.pid = pid, .header = MAP_FAILED, .memory = MAP_FAILED};
    const char *why = map(t, fd);
    if (why) {
        mt_say("the tables of %d cannot be read: %s", (int)pid, why);
        mt_target_close(t);
        return false;
    }
    t->command = strndup(t->header->command, sizeof t->header->command);
    snprintf(t->name, sizeof t->name, "%.*s", (int)sizeof t->header->name, t->header->name);
    return true;
}

void mt_target_close(mt_target *t) {
    if (t->memory != MAP_FAILED) munmap(t->memory, t->bytes);
    if (t->header != MAP_FAILED) munmap(t->header, MT_REGION_HEADER);
    free(t->command);
    mt_picture_free(&t->last);
    *t = (mt_target){.header = MAP_FAILED, .memory = MAP_FAILED};
}

void mt_target_look(mt_target *t, bool at_end) {
    if (mt_picture_take(&t->last, t->pid)) t->final = at_end;
    if (!at_end) return;
    atomic_store(&t->header->answered, 1);
    mt_futex_wake(&t->header->answered, INT_MAX);
}

uint32_t mt_target_requests(mt_target *t) {
    return atomic_exchange(&t->header->requests, 0);
}

void *mt_target_part(const mt_target *t, mt_region_part kind, uint32_t i, uint64_t *bytes,
                     uint64_t *a, uint64_t *b) {
    const mt_region_header *h = t->header;
    uint32_t parts = atomic_load(&h->parts), seen = 0;
    for (uint32_t k = 0; k < parts && k < MT_REGION_PARTS; k++) {
        const mt_region_entry *e = &h->entry[k];
        if (atomic_load_explicit(&e->kind, memory_order_acquire) != (uint32_t)kind) continue;
        uint64_t offset = e->offset, n = e->bytes;
        if (offset % 64 || offset > t->bytes || n > t->bytes - offset || seen++ != i) continue;
        *bytes = n, *a = e->a, *b = e->b;
        return t->memory + offset;
    }
    return NULL;
}
