/* log_file: see the header. Runs inside malloc and free. */
#include "log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "log_fd.h"
#include "shelter.h"

enum { RETRY_NS = 1000000000 };

static struct {
    char path[PATH_MAX];
    uint64_t limit;
    bool stops;
    mt_log_file_first *first;
    mt_log_file_last *last;
    /* Written by who has `changing`. */
    _Atomic int fd;
    _Atomic uint64_t device, inode;
    _Atomic uint64_t bytes; /* of the generation */
    atomic_bool changing, ended;
    _Atomic uint64_t looked_ns, retry_ns;
} f = {.fd = -1};

_Atomic uint32_t mt_log_file_present; /* the same */

static bool is_same(const mt_log_fd_identity *id) {
    return id->device == atomic_load(&f.device) && id->inode == atomic_load(&f.inode);
}

static bool is_ours(int fd) {
    mt_log_fd_identity id;
    return fd >= 0 && mt_log_fd_identify(fd, "", &id) && is_same(&id);
}

/* Takes back the part of a block that was written, if it is the file's end. Two threads of
 * which one does this while the other appends may lose the other's block: its sequence tells.
 */
static void take_back(int fd, const mt_log_block *block, size_t n) {
    mt_log_fd_identity id;
    uint64_t there[sizeof *block / 8] = {0};
    size_t head = n < sizeof there ? n : sizeof there;
    if (!mt_log_fd_identify(fd, "", &id) || id.bytes < n) return;
    off_t begin = (off_t)(id.bytes - n);
    if (pread(fd, there, head, begin) == (ssize_t)head && memcmp(there, block, head) == 0 &&
        ftruncate(fd, begin) != 0)
        return;
}

static bool put(int fd, const mt_log_block *block) {
    long n = syscall(SYS_write, fd, block, (size_t)block->bytes);
    if (n == (long)block->bytes) return true;
    if (n > 0) take_back(fd, block, (size_t)n);
    atomic_store_explicit(&f.retry_ns, block->end_ns + RETRY_NS, memory_order_relaxed);
    return false;
}

/* The first of a generation. */
static bool put_first(int fd, const mt_log_block *block) {
    atomic_store(&f.bytes, block->bytes);
    return put(fd, block);
}

/* Room for a block within the limit, taken before it is written: else all threads at once
 * might find the same room. */
static bool reserve(uint64_t bytes) {
    uint64_t now = atomic_load_explicit(&f.bytes, memory_order_relaxed);
    do {
        if (f.limit && now + bytes > f.limit) return false;
    } while (!atomic_compare_exchange_weak_explicit(
        &f.bytes, &now, now + bytes, memory_order_relaxed, memory_order_relaxed));
    return true;
}

/* It was not used. A generation that has begun meanwhile knows nothing of it. */
static void give_room_back(uint64_t bytes) {
    uint64_t now = atomic_load_explicit(&f.bytes, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&f.bytes, &now, now > bytes ? now - bytes : 0,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

static void publish(int fd, const mt_log_fd_identity *id, uint32_t generation) {
    atomic_store(&f.device, id->device);
    atomic_store(&f.inode, id->inode);
    atomic_store(&f.fd, fd);
    atomic_store(&mt_log_file_present, generation);
}

/* In a new file, whose first block is in it before anybody else can write to it. It takes the
 * place of the descriptor `old`, if that is ours still: a thread that is about to write by its
 * number must not meet a file of the program's. */
static bool begin_in(int fd, int old, mt_log_reason reason) {
    uint32_t generation = atomic_load(&mt_log_file_present) + (reason != MT_LOG_FIRST);
    mt_log_fd_identity id;
    if (fd < 0) return false;
    if (!mt_log_fd_identify(fd, "", &id) || !put_first(fd, f.first(generation, reason))) {
        mt_log_fd_close(fd);
        return false;
    }
    if (is_ours(old) && dup3(fd, old, O_CLOEXEC) == old) {
        mt_log_fd_close(fd);
        fd = old;
    } else {
        fd = mt_log_fd_raise(fd);
    }
    publish(fd, &id, generation);
    return true;
}

/* Empties the file. A thread that was about to write may come first: its block must not be the
 * one that the file begins with. */
static bool begin_over(int fd) {
    uint32_t generation = atomic_load(&mt_log_file_present) + 1;
    for (int i = 0; i < 3; i++) {
        mt_log_block there = {0};
        if (ftruncate(fd, 0) != 0) return false;
        if (!put_first(fd, f.first(generation, MT_LOG_STARTED_OVER))) return false;
        if (pread(fd, &there, sizeof there, 0) != sizeof there ||
            there.generation == generation)
            break;
    }
    atomic_store(&mt_log_file_present, generation);
    return true;
}

static bool take_turn(void) {
    return !atomic_exchange_explicit(&f.changing, true, memory_order_acquire);
}

static void give_turn(void) {
    atomic_store_explicit(&f.changing, false, memory_order_release);
}

/* Where another thread is about to open the file or to empty it, its end: a moment, as a write
 * may take one too; 10 ms at most. */
static void settle(void) {
    struct timespec moment = {0, 100000};
    for (int i = 0; i < 100 && atomic_load_explicit(&f.changing, memory_order_acquire); i++)
        nanosleep(&moment, NULL);
}

/* The program has closed our descriptor, and may have got another file by its number. */
static bool find_again(void) {
    mt_log_fd_identity id;
    bool found = false;
    if (!take_turn()) {
        settle();
        return is_ours(atomic_load(&f.fd));
    }
    int fd = mt_log_fd_open(f.path, O_NONBLOCK);
    if (fd >= 0 && mt_log_fd_identify(fd, "", &id) && is_same(&id)) {
        flock(fd, LOCK_EX | LOCK_NB);
        publish(mt_log_fd_raise(fd), &id, atomic_load(&mt_log_file_present));
        found = true;
    } else {
        if (fd >= 0) mt_log_fd_close(fd);
        found = begin_in(mt_log_fd_create(f.path), -1, MT_LOG_REOPENED);
    }
    give_turn();
    return found;
}

/* Asked once a second, of one thread. */
static bool has_moved(uint64_t now_ns) {
    uint64_t looked = atomic_load_explicit(&f.looked_ns, memory_order_relaxed);
    mt_log_fd_identity id;
    if (now_ns - looked < RETRY_NS ||
        !atomic_compare_exchange_strong(&f.looked_ns, &looked, now_ns))
        return false;
    if (!mt_log_fd_identify(AT_FDCWD, f.path, &id)) return errno == ENOENT;
    return !is_same(&id) && S_ISREG(id.mode) && id.bytes == 0 && id.owner == geteuid();
}

static void move(int old) {
    if (!take_turn()) return;
    begin_in(mt_log_fd_create(f.path), old, MT_LOG_REOPENED);
    give_turn();
}

static mt_log_written fill(int fd, uint64_t now_ns) {
    if (!take_turn()) return MT_LOG_LOST;
    bool done = false;
    if (f.stops) {
        atomic_store(&f.ended, true);
        if (f.last) put(fd, f.last(atomic_load(&mt_log_file_present), MT_LOG_END_LIMIT));
    } else if (!(done = begin_over(fd))) {
        atomic_store(&f.retry_ns, now_ns + RETRY_NS);
    }
    give_turn();
    return f.stops ? MT_LOG_ENDED : done ? MT_LOG_FORMER : MT_LOG_LOST;
}

static mt_log_written append(const mt_log_block *block) {
    uint64_t now = block->end_ns;
    if (atomic_load(&f.ended)) return MT_LOG_ENDED;
    if (now < atomic_load_explicit(&f.retry_ns, memory_order_relaxed)) return MT_LOG_LOST;
    settle();
    if (!is_ours(atomic_load(&f.fd)) && !find_again()) {
        atomic_store(&f.retry_ns, now + RETRY_NS);
        return MT_LOG_LOST;
    }
    if (block->generation != atomic_load(&mt_log_file_present)) return MT_LOG_FORMER;
    if (atomic_load(&f.changing)) return MT_LOG_LOST;
    int fd = atomic_load(&f.fd);
    bool moved = has_moved(now);
    if (!moved && !reserve(block->bytes)) return fill(fd, now);
    bool written = put(fd, block);
    if (moved) move(fd);
    else if (!written && block->generation == atomic_load(&mt_log_file_present))
        give_room_back(block->bytes);
    return written ? MT_LOG_WRITTEN : MT_LOG_LOST;
}

mt_log_written mt_log_file_append(const mt_log_block *block) {
    mt_shelter shelter;
    mt_shelter_enter(&shelter);
    mt_log_written result = append(block);
    mt_shelter_leave(&shelter);
    return result;
}

void mt_log_file_on_limit(mt_log_file_last *last) {
    f.last = last;
}

/* Whatever the limit, and however short ago a larger block could not be written: there may be
 * room for this one. */
void mt_log_file_end(mt_log_ending why) {
    mt_shelter shelter;
    mt_shelter_enter(&shelter);
    settle();
    if (!atomic_exchange(&f.ended, true) && (is_ours(atomic_load(&f.fd)) || find_again()))
        put(atomic_load(&f.fd), f.last(atomic_load(&mt_log_file_present), why));
    mt_shelter_leave(&shelter);
}

/* There was a log before, which has ended: what still lies in buffers is of its generation. */
static void begin_again(void) {
    int before = atomic_load(&f.fd);
    if (!atomic_load(&f.ended)) return;
    if (is_ours(before)) mt_log_fd_close(before);
    atomic_store(&f.fd, -1);
    atomic_fetch_add(&mt_log_file_present, 1);
    atomic_store(&f.retry_ns, 0);
    atomic_store(&f.ended, false);
}

int mt_log_file_open(const char *path, uint64_t limit, bool stops, mt_log_file_first *first) {
    mt_shelter shelter;
    strncpy(f.path, path, sizeof f.path - 1);
    f.limit = limit;
    f.stops = stops;
    f.first = first;
    mt_shelter_enter(&shelter);
    begin_again();
    errno = 0;
    bool opened = begin_in(mt_log_fd_create_instead(f.path, sizeof f.path), -1, MT_LOG_FIRST);
    int error = errno;
    mt_shelter_leave(&shelter);
    if (!opened) errno = error ? error : EIO;
    return opened ? 0 : -1;
}
