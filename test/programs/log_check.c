/* Reads an event log by its format alone, and says what is in it; anything that the format does
 * not allow ends it with 1.
 *
 *   log_check FILE EVENTS      EVENTS: of each worker of logged.c
 *
 * Each block must be whole, each block of a thread follow the one before, definitions of one
 * stack be the same. A stack that is not defined in the block that it occurs in, or before it,
 * is counted. A worker's events must be those that it caused, each once and in order, unless
 * the log says that some were dropped or it begins anew. A block of another generation than the
 * first one's, of a thread that was about to write where the file begins anew, is passed over.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "record/log_format.h"

#define MUST(condition)                                                                        \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            printf("at %zu: not so: %s\n", (size_t)((char *)at - file), #condition);           \
            exit(1);                                                                           \
        }                                                                                      \
    } while (0)

enum { THREADS = 1 << 14, STACKS = 1 << 20, LIVE = 64 };

typedef struct {
    uint32_t blocks, allocations, frees;
    uint64_t time, live[LIVE], from;
    char name[24];
} thread;

static thread threads[THREADS];
static const uint64_t *defined[STACKS];
static uint32_t used[MT_LOG_BLOCK_MAX / 8], uses; /* by the events of one block */
static const char *file;
static uint64_t *at;
static uint64_t begins, ends, objects, gones, reason, ending, dropped, events, reallocs, failed,
    large, told_dropped, undefined, doubtful, shift, latest;
static int wanted;

static void live_add(thread *t, uint64_t address) {
    int i = 0;
    while (i < LIVE && t->live[i]) i++;
    if (i < LIVE) t->live[i] = address;
}

static int live_remove(thread *t, uint64_t address) {
    int i = 0;
    while (i < LIVE && t->live[i] != address) i++;
    if (i < LIVE) t->live[i] = 0;
    return i < LIVE;
}

static void define(thread *t, const mt_log_block *head) {
    mt_log_def def;
    memcpy(&def, at, sizeof def);
    MUST(def.words > 0 && at + def.words <= (uint64_t *)head + head->bytes / 8);
    switch (def.kind) {
    case MT_LOG_DEF_STACK:
        MUST(def.id > 0 && def.id < STACKS && def.words > 1);
        if (!defined[def.id]) defined[def.id] = at;
        else MUST(memcmp(defined[def.id], at, def.words * sizeof *at) == 0);
        break;
    case MT_LOG_DEF_OBJECT:
        MUST(at[1] < at[2] && def.words > 5);
        objects++;
        break;
    case MT_LOG_DEF_GONE:
        gones++;
        break;
    case MT_LOG_DEF_START:
        begins++;
        reason = ((mt_log_start *)(at + 1))->reason;
        shift = ((mt_log_start *)(at + 1))->tick_shift;
        break;
    case MT_LOG_DEF_THREAD:
        MUST(def.id == head->thread && t->blocks == 1);
        snprintf(t->name, sizeof t->name, "%s", (char *)(at + 2));
        break;
    case MT_LOG_DEF_END:
        ends++;
        ending = def.id;
        told_dropped = at[1];
        break;
    default:
        MUST(def.kind <= MT_LOG_DEF_END);
    }
    at += def.words;
}

static void event(thread *t) {
    static const uint8_t length[] = {1, 2, 3, 2, 1, 2, 3, 2, 1};
    uint32_t op = *at & 15;
    MUST(op <= MT_LOG_TIME);
    uint64_t address = *at >> MT_LOG_ADDRESS_SHIFT << 3, second = length[op] > 1 ? at[1] : 0;
    t->time += op == MT_LOG_TIME ? *at >> 4 : *at >> 4 & 0x7fff;
    if (op != MT_LOG_TIME) events++;
    if (length[op] > 1) {
        MUST(second >> 32 < STACKS);
        if (second >> 32) used[uses++] = (uint32_t)(second >> 32);
    }
    switch (op) {
    case MT_LOG_ALLOC:
        /* the kernel's names come with the first block, all that we look at are workers' */
        if ((uint32_t)second == 1000 + t->allocations % 5000) t->allocations++;
        else if ((uint32_t)second >= 1000 && (uint32_t)second < 6000) doubtful++;
        if ((uint32_t)second >= 1000) live_add(t, address);
        break;
    case MT_LOG_FREE:
        t->frees += live_remove(t, address);
        break;
    case MT_LOG_REALLOC_FROM:
        t->from = address;
        break;
    case MT_LOG_REALLOC_TO:
    case MT_LOG_REALLOC_TO_LARGE:
        MUST(t->from != 0);
        t->from = 0;
        reallocs++;
        break;
    case MT_LOG_REALLOC_FAILED:
        MUST(t->from == address);
        failed++;
        break;
    case MT_LOG_ALLOC_LARGE:
        MUST(at[2] > UINT32_MAX);
        large++;
        break;
    default:
        break;
    }
    at += length[op];
}

static void block(const mt_log_block *head, uint64_t *end, uint32_t generation) {
    MUST(head->magic == MT_LOG_MAGIC && head->version == MT_LOG_VERSION);
    MUST(head->bytes % 8 == 0 && head->bytes >= sizeof *head && at + head->bytes / 8 <= end);
    MUST(head->event_bytes <= head->bytes - sizeof *head && head->event_bytes % 8 == 0);
    MUST(mt_log_checksum(head + 1, head->bytes - sizeof *head) == head->checksum);
    if (head->generation != generation) {
        at += head->bytes / 8;
        return;
    }
    MUST(head->thread < THREADS);
    thread *t = &threads[head->thread];
    MUST(head->thread == 0 || head->sequence == t->blocks);
    t->blocks++;
    dropped += head->dropped;
    t->time = head->begin_ticks >> shift;
    at += sizeof *head / 8;
    uint64_t *defs = at + head->event_bytes / 8, *last = (uint64_t *)head + head->bytes / 8;
    while (at < defs) event(t);
    MUST(at == defs && t->time <= head->end_ticks >> shift);
    if (head->end_ns > latest) latest = head->end_ns;
    while (at < last) define(t, head);
    MUST(at == last);
    while (uses) undefined += !defined[used[--uses]];
}

int main(int argc, char **argv) {
    struct stat st;
    int fd = argc == 3 ? open(argv[1], O_RDONLY) : -1;
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size == 0) return 2;
    wanted = atoi(argv[2]);
    file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    at = (uint64_t *)file;
    uint64_t *end = at + st.st_size / 8;
    uint32_t generation = ((mt_log_block *)file)->generation;
    MUST(st.st_size % 8 == 0);
    while (at < end) block((mt_log_block *)at, end, generation);
    uint32_t whole = 0, partly = 0;
    for (int i = 1; i < THREADS; i++) {
        thread *t = &threads[i];
        if (strncmp(t->name, "worker", 6) != 0) continue;
        if ((int)t->allocations == wanted && (int)t->frees == wanted) whole++;
        else partly++;
    }
    printf(
        "generation %u reason %lu begins %lu ends %lu ending %lu mode %o workers %u partly %u "
        "doubtful %lu dropped %lu told %lu undefined %lu objects %lu gones %lu reallocs %lu "
        "failed %lu large %lu bytes %lu events %lu\n",
        generation, reason, begins, ends, ending, st.st_mode & 07777, whole, partly, doubtful,
        dropped, told_dropped, undefined, objects, gones, reallocs, failed, large,
        events ? (unsigned long)st.st_size / events : 0, events);
    return 0;
}
