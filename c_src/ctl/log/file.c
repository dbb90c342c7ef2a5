/* log_file: headers, checksums, and the search for the next block behind damage. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/commands.h"
#include "out.h"

typedef enum { WHOLE, CUT, NONE, OTHER_VERSION } condition;

static bool fetch(const mt_logged_file *file, uint64_t at, void *to, size_t n) {
    for (size_t got = 0; got < n;) {
        ssize_t more = pread(file->fd, (char *)to + got, n - got, (off_t)(at + got));
        if (more < 0 && errno == EINTR) continue;
        if (more <= 0) return false;
        got += (size_t)more;
    }
    return true;
}

/* What is at this place; a whole block is then in file->block, its header in *head. */
static condition look(const mt_logged_file *file, uint64_t at, mt_log_block *head) {
    const uint64_t left = file->size - at, magic = MT_LOG_MAGIC;
    *head = (mt_log_block){0};
    if (!fetch(file, at, head, left < sizeof *head ? left : sizeof *head)) return NONE;
    if (left < sizeof *head)
        return memcmp(head, &magic, left < sizeof magic ? left : sizeof magic) == 0 ? CUT
                                                                                    : NONE;
    if (head->magic != magic) return NONE;
    if (head->version != MT_LOG_VERSION) return OTHER_VERSION;
    if (head->bytes % 8 || head->bytes < sizeof *head || head->bytes > MT_LOG_BLOCK_MAX ||
        head->event_bytes % 8 || head->event_bytes > head->bytes - sizeof *head)
        return NONE;
    if (head->bytes > left) return CUT;
    if (!fetch(file, at + sizeof *head, file->block, head->bytes - sizeof *head)) return NONE;
    uint32_t sum = mt_log_checksum(file->block, head->bytes - sizeof *head);
    return sum == head->checksum ? WHOLE : NONE;
}

/* The next whole block from `at` on, or the file's end. Only blocks whose header makes sense
 * cost more than a look; `*budget` bounds what a file made for it can cost. */
static uint64_t search(mt_logged_file *file, uint64_t at, uint64_t *budget) {
    static char piece[1 << 16];
    const uint64_t magic = MT_LOG_MAGIC;
    while (file->size - at >= sizeof(mt_log_block)) {
        size_t n = file->size - at < sizeof piece ? file->size - at : sizeof piece;
        if (!fetch(file, at, piece, n)) break;
        const char *found = memmem(piece, n, &magic, sizeof magic);
        if (!found) {
            at += n - (sizeof magic - 1);
            continue;
        }
        at += (uint64_t)(found - piece);
        mt_log_block head;
        if (look(file, at, &head) == WHOLE) return at;
        uint64_t cost = sizeof head + (head.bytes <= MT_LOG_BLOCK_MAX ? head.bytes : 0);
        if (cost > *budget) {
            file->gave_up = true;
            break;
        }
        *budget -= cost;
        at++;
    }
    return file->size;
}

static void note_time(mt_logged_file *file, uint64_t ticks, uint64_t ns, bool first) {
    if (first || file->ns[0] == 0) {
        file->ticks[0] = ticks;
        file->ns[0] = ns;
    }
    if (ns >= file->ns[1]) {
        file->ticks[1] = ticks;
        file->ns[1] = ns;
    }
}

/* A block that comes twice: who ends the program writes what other threads have, too, and one
 * of them may write its block a last time, with more in it. */
static void append(mt_logged_file *file, const mt_log_block *head, uint64_t at,
                   uint32_t thread) {
    while (thread >= file->threads_room || !file->first) {
        size_t before = file->threads_room, room = before;
        file->first = mt_out_grow(file->first, before, &room, sizeof *file->first);
        file->last = mt_out_grow(file->last, before, &file->threads_room, sizeof *file->last);
        for (size_t i = before; i < room; i++) file->first[i] = file->last[i] = MT_LOG_NO_ID;
    }
    uint32_t last = file->last[thread];
    uint32_t expected = last == MT_LOG_NO_ID ? 0 : file->part[last].sequence + 1;
    mt_logged_part part = {.offset = at,
                           .begin_ticks = head->begin_ticks,
                           .end_ticks = head->end_ticks,
                           .bytes = head->bytes,
                           .event_bytes = head->event_bytes,
                           .checksum = head->checksum,
                           .thread = thread,
                           .sequence = head->sequence,
                           .dropped = head->dropped};
    if (head->sequence < expected) {
        file->repeated++;
        if (head->sequence == file->part[last].sequence &&
            head->event_bytes > file->part[last].event_bytes)
            file->part[last] = part;
        return;
    }
    file->lost += head->sequence - expected;
    file->dropped += head->dropped;
    file->part = mt_out_grow(file->part, file->parts, &file->room, sizeof *file->part);
    if (last == MT_LOG_NO_ID) file->first[thread] = file->parts;
    else file->part[last].next = file->parts;
    file->last[thread] = file->parts;
    file->part[file->parts++] = part;
}

static void take(mt_logged_file *file, mt_logged_stacks *stacks, const mt_log_block *head,
                 uint64_t at) {
    uint32_t events = head->event_bytes / 8;
    uint32_t all = (uint32_t)(head->bytes - sizeof *head) / 8;
    if (!mt_logged_stacks_read(stacks, file->block + events, all - events)) file->strange++;
    note_time(file, head->end_ticks, head->end_ns, false);
    append(file, head, at, mt_logged_stacks_thread(stacks, head->thread));
}

/* Whether a block of another generation begins one, where the first of the file does not: the
 * first was then written by a thread that had not heard yet that the file was emptied. */
static bool begins(const mt_logged_file *file, const mt_log_block *head) {
    uint32_t at = head->event_bytes / 8, all = (uint32_t)(head->bytes - sizeof *head) / 8;
    for (mt_log_def def; at < all; at += def.words) {
        memcpy(&def, file->block + at, sizeof def);
        if (def.kind == MT_LOG_DEF_START) return true;
        if (def.words == 0 || def.words > all - at) break;
    }
    return false;
}

static void damage(mt_logged_file *file, uint64_t at, uint64_t bytes) {
    if (file->damaged++ == 0) file->damaged_at = at;
    file->damaged_bytes += bytes;
}

/* Empties the index, all but what belongs to the file. */
static void anew(mt_logged_file *file, mt_logged_stacks *stacks) {
    mt_logged_file kept = {
        .path = file->path, .fd = file->fd, .size = file->size, .block = file->block};
    free(file->part);
    free(file->first);
    free(file->last);
    mt_logged_stacks_close(stacks);
    mt_logged_stacks_open(stacks);
    *file = kept;
}

/* True: a later generation than the one that was looked for has its beginning here. */
static bool index_blocks(mt_logged_file *file, mt_logged_stacks *stacks, bool decided,
                         uint32_t generation) {
    uint64_t budget = 64 * file->size + (64 << 20);
    bool any = decided;
    for (uint64_t at = 0; at < file->size;) {
        mt_log_block head;
        condition is = look(file, at, &head);
        if (is == WHOLE) {
            if (!any) generation = head.generation;
            any = true;
            if (head.generation == generation) take(file, stacks, &head, at);
            else if (!decided && !stacks->has_start && begins(file, &head)) {
                file->generation = head.generation;
                return true;
            } else file->former++;
            at += head.bytes;
            continue;
        }
        uint64_t next = search(file, at + 1, &budget);
        if (next == file->size && is == CUT) file->cut = file->size - at;
        else damage(file, at, next - at);
        at = next;
    }
    file->generation = generation;
    return false;
}

/* The sentence for a file without a single block. */
static int refuse(const mt_logged_file *file) {
    mt_log_block head;
    condition is = file->size ? look(file, 0, &head) : NONE;
    if (file->size == 0) mt_say("%s is empty: nothing has been written to it yet", file->path);
    else if (is == OTHER_VERSION)
        mt_say("%s was written by another version of Mtrace (its format is %u, this mtracectl "
               "reads %u): read it with the mtracectl of that version",
               file->path, head.version, MT_LOG_VERSION);
    else if (is == CUT)
        mt_say("%s breaks off within its first block: it has 0 events", file->path);
    else if (head.magic == MT_LOG_MAGIC)
        mt_say("%s is a log of Mtrace, but damaged: not one of its blocks is whole",
               file->path);
    else mt_say("%s is no event log of Mtrace: it does not begin as one", file->path);
    return -1;
}

static int open_file(mt_logged_file *file, const char *path) {
    struct stat is;
    *file = (mt_logged_file){.path = path};
    file->fd =
        open(strcmp(path, "-") == 0 ? "/dev/stdin" : path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file->fd < 0 || fstat(file->fd, &is) != 0) {
        mt_say("%s cannot be read: %s", path, strerror(errno));
    } else if (S_ISDIR(is.st_mode)) {
        mt_say("%s is a folder, not a log", path);
    } else if (!S_ISREG(is.st_mode)) {
        mt_say("%s is no regular file: a log is not read in the order of its bytes, so it "
               "cannot come through a pipe; store it first",
               path);
    } else {
        file->size = (uint64_t)is.st_size;
        return 0;
    }
    return -1;
}

int mt_logged_file_open(mt_logged_file *file, mt_logged_stacks *stacks, const char *path) {
    mt_logged_stacks_open(stacks);
    if (open_file(file, path) != 0) return -1;
    file->block = mt_out_need(malloc(MT_LOG_BLOCK_MAX));
    posix_fadvise(file->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    if (index_blocks(file, stacks, false, 0)) {
        uint32_t generation = file->generation;
        anew(file, stacks);
        index_blocks(file, stacks, true, generation);
    }
    if (file->parts == 0) return refuse(file);
    if (stacks->has_start) note_time(file, stacks->start.ticks, stacks->start.ns, true);
    mt_logged_stacks_ready(stacks);
    return 0;
}

void mt_logged_file_close(mt_logged_file *file) {
    if (file->fd >= 0) close(file->fd);
    free(file->part);
    free(file->first);
    free(file->last);
    free(file->block);
}

int mt_logged_file_read(mt_logged_file *file, const mt_logged_part *part, uint64_t *words) {
    size_t n = part->bytes - sizeof(mt_log_block);
    if (fetch(file, part->offset + sizeof(mt_log_block), words, n) &&
        mt_log_checksum(words, n) == part->checksum)
        return 0;
    file->vanished++;
    return -1;
}
