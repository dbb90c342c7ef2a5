/* orphans: see the header. */
#include "orphans.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ctl/commands.h"
#include "journal.h"
#include "ctl/log/frames.h"
#include "ctl/log/out.h"
#include "ctl/show/names.h"
#include "record/strays.h"
#include "tables.h"

/* A chunk that has been written; gone ones are found by the round in which they were seen. */
typedef struct {
    uint64_t address, born_ns;
    uint32_t round, thread;
    pid_t pid; /* 0: not used */
} written;

struct mt_orphans {
    int fd;
    const char *path;
    uint64_t older_ns, due_ns;
    written *table; /* open addressing; never more than half full */
    uint32_t room, count, round;
    mt_out rows;
    /* Of the target that is being looked at. */
    mt_target *target;
    mt_tables tables;
    mt_names *names;
    uint64_t now_ns, wall_ns;
    struct {
        pid_t pid;
        uint64_t read;
    } strays;
    bool failed;
};

static uint64_t now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int open_file(const char *path, int flags) {
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | flags, 0600);
}

mt_orphans *mt_orphans_open(const char *path, uint64_t seconds) {
    mt_orphans *o = calloc(1, sizeof *o);
    int fd = open_file(path, O_TRUNC);
    if (!o || fd < 0) {
        mt_say("%s cannot be written: %s", path, strerror(errno));
        if (fd >= 0) close(fd);
        free(o);
        return NULL;
    }
    o->fd = fd;
    o->path = path;
    o->older_ns = seconds * 1000000000u;
    o->due_ns = now(CLOCK_MONOTONIC) + o->older_ns;
    mt_out_open(&o->rows, -1);
    return o;
}

int mt_orphans_due_ms(const mt_orphans *o) {
    if (!o) return -1;
    uint64_t t = now(CLOCK_MONOTONIC);
    if (t >= o->due_ns) return 0;
    uint64_t ms = (o->due_ns - t) / 1000000 + 1;
    return ms < 1000000 ? (int)ms : 1000000;
}

static written *place_of(const mt_orphans *o, pid_t pid, uint64_t address) {
    uint64_t h = mt_chunks_hash(address ^ (uint64_t)pid << 48);
    for (uint32_t i = (uint32_t)(h >> 32);; i++) {
        written *w = &o->table[i & (o->room - 1)];
        if (w->pid == 0 || (w->pid == pid && w->address == address)) return w;
    }
}

/* Anew, without those that are gone. */
static void rehash(mt_orphans *o, uint32_t room) {
    written *old = o->table;
    uint32_t n = o->room;
    o->table = mt_out_need(calloc(room, sizeof *o->table));
    o->room = room;
    o->count = 0;
    for (uint32_t i = 0; i < n; i++)
        if (old[i].pid) {
            *place_of(o, old[i].pid, old[i].address) = old[i];
            o->count++;
        }
    free(old);
}

static void put_row(mt_orphans *o, const char *function, uint32_t thread, uint64_t address,
                    uint64_t size, uint64_t at_ns, const char *stack) {
    mt_out *to = &o->rows;
    uint64_t ago = o->now_ns > at_ns ? o->now_ns - at_ns : 0;
    mt_out_quoted(to, function);
    mt_out_print(to, ";%u;", thread);
    mt_out_number(to, address);
    mt_out_str(to, ";");
    mt_out_number(to, size);
    mt_out_str(to, ";");
    mt_out_number(to, (o->wall_ns - ago) / 1000000);
    mt_out_str(to, ";");
    mt_out_quoted(to, stack);
    mt_out_str(to, "\n");
}

static void open_names(mt_orphans *o) {
    uint32_t n = 0;
    void *texts = NULL;
    o->names = mt_out_need(mt_names_open(NULL));
    mt_census_object *object = mt_journal_read(o->target, &n, &texts);
    for (uint32_t i = 0; i < n; i++)
        mt_names_object(o->names, object[i].lo, object[i].hi, object[i].base,
                        object[i].since_ns, object[i].until_ns, object[i].path,
                        object[i].build_id, object[i].build_id_bytes);
    free(object);
    free(texts);
}

static void put_chunk(mt_orphans *o, const mt_chunk *chunk) {
    uint64_t stack[MT_TABLES_FRAMES];
    uint32_t frames = mt_tables_stack(&o->tables, chunk->site, stack);
    const char *function = "malloc";
    mt_out json;
    if (!o->names) open_names(o);
    mt_out_open(&json, -1);
    mt_out_str(&json, "[");
    for (uint32_t i = 0; i < frames; i++) {
        const mt_names_place *place = mt_names_find(o->names, stack[i], chunk->born_ns);
        if (i == 0 && place->frame[place->frames - 1].function)
            function = place->frame[place->frames - 1].function;
        for (uint32_t k = 0; k < place->frames; k++) {
            if (i || k) mt_out_str(&json, ",");
            mt_logged_frame_short(&json, stack[i], place, &place->frame[k]);
        }
    }
    mt_out_put(&json, "]", 2); /* with the 0 */
    put_row(o, function, chunk->thread & MT_CHUNK_TID, chunk->address, chunk->size,
            chunk->born_ns, json.bytes);
    mt_out_close(&json);
}

static void meet(const mt_chunk *chunk, void *context) {
    mt_orphans *o = context;
    if (chunk->born_ns + o->older_ns > o->now_ns) return;
    if (o->count * 2 >= o->room) rehash(o, o->room ? o->room * 2 : 1024);
    written *w = place_of(o, o->target->pid, chunk->address);
    bool same = w->pid && w->born_ns == chunk->born_ns;
    uint32_t thread = chunk->thread & MT_CHUNK_TID;
    if (!same) {
        if (w->pid) put_row(o, "free", w->thread, w->address, 0, o->now_ns, "[]");
        else o->count++;
        put_chunk(o, chunk);
    }
    *w = (written){chunk->address, chunk->born_ns, o->round, thread, o->target->pid};
}

/* Those that were not met are gone. */
static void put_gone(mt_orphans *o) {
    bool any = false;
    for (uint32_t i = 0; i < o->room; i++) {
        written *w = &o->table[i];
        if (w->pid != o->target->pid || w->round == o->round) continue;
        put_row(o, "free", w->thread, w->address, 0, o->now_ns, "[]");
        w->pid = 0;
        any = true;
    }
    if (any) rehash(o, o->room);
}

static void put_strays(mt_orphans *o) {
    uint64_t bytes, a, b;
    const mt_strays *ring = mt_target_part(o->target, MT_REGION_STRAYS, 0, &bytes, &a, &b);
    if (!ring || bytes < sizeof *ring) return;
    if (o->strays.pid != o->target->pid) o->strays.read = 0;
    o->strays.pid = o->target->pid;
    uint64_t end = atomic_load_explicit(&ring->count, memory_order_acquire);
    uint64_t i = o->strays.read;
    if (end - i > MT_STRAYS) i = end - MT_STRAYS;
    for (; i < end; i++) {
        const mt_stray *s = &ring->entry[i % MT_STRAYS];
        if (atomic_load_explicit(&s->sequence, memory_order_acquire) != i + 1) continue;
        uint64_t address = atomic_load_explicit(&s->address, memory_order_relaxed);
        uint64_t ns = atomic_load_explicit(&s->ns, memory_order_relaxed);
        uint64_t thread = atomic_load_explicit(&s->thread, memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&s->sequence, memory_order_relaxed) != i + 1) continue;
        put_row(o, "free", (uint32_t)thread, address, 0, ns, "[]");
    }
    o->strays.read = end;
}

void mt_orphans_look(mt_orphans *o, mt_target *target) {
    o->target = target;
    o->now_ns = now(CLOCK_MONOTONIC);
    o->wall_ns = now(CLOCK_REALTIME);
    o->round++;
    mt_tables_open(&o->tables, target);
    mt_tables_each(&o->tables, meet, o);
    put_gone(o);
    put_strays(o);
    if (o->names) mt_names_close(o->names);
    o->names = NULL;
}

/* Where it was moved away, or removed, a new one is begun. */
static void see_file(mt_orphans *o) {
    struct stat ours, there;
    if (fstat(o->fd, &ours) != 0) return;
    if (stat(o->path, &there) == 0 && there.st_ino == ours.st_ino &&
        there.st_dev == ours.st_dev)
        return;
    int fd = open_file(o->path, 0);
    if (fd < 0) return;
    close(o->fd);
    o->fd = fd;
}

static void write_rows(mt_orphans *o) {
    if (o->rows.used) see_file(o);
    for (size_t done = 0; done < o->rows.used && !o->failed;) {
        ssize_t n = write(o->fd, o->rows.bytes + done, o->rows.used - done);
        if (n < 0 && errno == EINTR) continue;
        if (n > 0) done += (size_t)n;
        else {
            o->failed = true;
            mt_say("%s is not written any further: %s", o->path, strerror(errno));
        }
    }
    o->rows.used = 0;
}

void mt_orphans_done(mt_orphans *o) {
    write_rows(o);
    o->due_ns = now(CLOCK_MONOTONIC) + o->older_ns;
}

void mt_orphans_ended(mt_orphans *o, pid_t pid) {
    write_rows(o);
    for (uint32_t i = 0; i < o->room; i++)
        if (o->table[i].pid == pid) o->table[i].pid = 0;
    if (o->room) rehash(o, o->room);
}

int mt_orphans_close(mt_orphans *o) {
    if (!o) return 0;
    write_rows(o);
    mt_out_close(&o->rows);
    int result = close(o->fd) != 0 || o->failed ? -1 : 0;
    free(o->table);
    free(o);
    return result;
}
