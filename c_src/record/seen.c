/* seen: see the header. Runs inside malloc where a stack is new. */
#include "seen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "mapped.h"
#include "region.h"
#include "shelter.h"
#include "tracer.h"

enum { PAGE_BITS = 12, PLACE_BITS = 48, CACHED = 4096, WITHOUT_PATH = MT_SEEN_ENTRIES / 4 };

#define FREE_NS 1000000000u /* of readings in vain */

/* What the journal has no place for, by the same numbers. Written under the lock. */
typedef struct {
    uint64_t lo, hi, device, inode;
    uint64_t head;    /* where its file begins, if its code belongs to that; else lo */
    bool open, there; /* there: in the reading that is under way */
} known;

mt_seen_journal *_Atomic mt_seen_mine;
static known object[MT_SEEN_ENTRIES];
static uint32_t without_path;

/* page of an address | how the journal was when it was covered. Relaxed: a word is its own
 * proof. */
static _Atomic uint64_t cache[CACHED];

static atomic_flag reading = ATOMIC_FLAG_INIT;
static atomic_bool wanted; /* by who found another reading */
static _Atomic uint64_t started_ns, vain_ns;

/* Under the lock. */
static struct {
    char text[8192]; /* a line with its path is at most half of it */
    mt_mapped_scratch scratch;
    mt_peek peek;
    uint64_t now_ns;
    uint64_t head, head_device, head_inode; /* where a file's beginning was last seen */
    uint64_t left_out[1024];                /* bits, of what had no place */
    char path[MT_SEEN_PATH];
    bool found_file;
} r;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void end(mt_seen_journal *j, uint32_t i) {
    object[i].open = false;
    atomic_store_explicit(&j->entry[i].until_ns, r.now_ns, memory_order_relaxed);
    mt_tracer_not_before(r.now_ns);
    /* release: who sees that something changed sees what */
    atomic_fetch_add_explicit(&j->changes, 1, memory_order_release);
}

static bool is_of(const known *k, const mt_mapped *m) {
    return k->device == m->device && k->inode == m->inode;
}

/* A file's header, for code that is mapped apart from it: where the file is mapped as a whole.
 */
static uint64_t head_elsewhere(const mt_mapped *m, uint32_t n) {
    for (uint32_t i = 0; m->inode && i < n; i++)
        if (object[i].open && is_of(&object[i], m) && object[i].head != object[i].lo)
            return object[i].head;
    return m->lo;
}

/* What was there before, and nothing since that another one lay there: its entry counts again.
 */
static bool append_again(mt_seen_journal *j, const mt_mapped *m, uint64_t head, uint32_t n) {
    uint32_t i = n;
    while (i-- > 0)
        if (object[i].lo < m->hi && m->lo < object[i].hi) break;
    if (i >= n || object[i].open || !m->inode || !is_of(&object[i], m) ||
        object[i].lo != m->lo || object[i].hi != m->hi)
        return false;
    mt_seen *e = &j->entry[i];
    mt_mapped_file file = {0};
    mt_mapped_path(m, r.path, sizeof r.path);
    if (strcmp(r.path, e->path) != 0) return false;
    mt_mapped_file_read(&r.peek, head, m, &r.scratch, &file);
    if (file.base != e->base || file.build_id_bytes != e->build_id_bytes ||
        memcmp(file.build_id, e->build_id, file.build_id_bytes) != 0)
        return false;
    object[i].open = object[i].there = true;
    object[i].head = file.apart ? m->lo : head;
    r.found_file = true;
    atomic_store_explicit(&e->until_ns, 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&j->changes, 1, memory_order_release);
    return true;
}

/* Each is met again and again: two of a thousand may be taken for one. */
static void leave_out(mt_seen_journal *j, const mt_mapped *m) {
    uint64_t h = m->lo * 0x9e3779b97f4a7c15ull >> 48;
    uint64_t bit = 1ull << (h & 63), *word = &r.left_out[h >> 6];
    if (!(*word & bit)) atomic_fetch_add_explicit(&j->left_out, 1, memory_order_relaxed);
    *word |= bit;
}

static void append(mt_seen_journal *j, const mt_mapped *m) {
    uint32_t n = atomic_load_explicit(&j->count, memory_order_relaxed);
    mt_seen *e = &j->entry[n];
    mt_mapped_file file = {0};
    bool has_head = r.head && r.head_device == m->device && r.head_inode == m->inode;
    uint64_t head = has_head ? r.head : m->lo;
    if (append_again(j, m, head, n)) return;
    if (n == MT_SEEN_ENTRIES) {
        if (m->inode) leave_out(j, m);
        return;
    }
    mt_mapped_path(m, e->path, sizeof e->path);
    if (!*e->path && without_path == WITHOUT_PATH) return;
    if (*e->path && !mt_mapped_file_read(&r.peek, head, m, &r.scratch, &file))
        mt_mapped_file_read(&r.peek, head_elsewhere(m, n), m, &r.scratch, &file);
    if (file.apart) head = m->lo;
    object[n] = (known){m->lo, m->hi, m->device, m->inode, head, true, true};
    e->lo = m->lo;
    e->hi = m->hi;
    e->base = file.base;
    e->since_ns = r.now_ns;
    e->build_id_bytes = file.build_id_bytes;
    memcpy(e->build_id, file.build_id, file.build_id_bytes);
    if (*e->path) r.found_file = true;
    else without_path++;
    atomic_store_explicit(&j->count, n + 1, memory_order_release);
}

/* Notes which objects this mapping is a part of; code that is no part of one is a new one. */
static void meet(mt_seen_journal *j, const mt_mapped *m) {
    uint32_t n = atomic_load_explicit(&j->count, memory_order_relaxed);
    bool covered = false;
    if (m->inode && m->offset == 0) {
        r.head = m->lo;
        r.head_device = m->device;
        r.head_inode = m->inode;
    }
    for (uint32_t i = 0; i < n; i++) {
        known *k = &object[i];
        if (!k->open) continue;
        bool same = is_of(k, m);
        if (same && m->inode && m->hi > k->head && m->lo < k->hi) k->there = true;
        if (!m->executable || m->lo < k->lo || m->hi > k->hi) continue;
        /* what was copied to memory without a file is still what it was */
        if (same || !m->inode) covered = true;
    }
    if (m->executable && !covered) append(j, m);
}

/* All lines; false if the list could not be read to its end. */
static bool meet_all(mt_seen_journal *j, int file) {
    size_t have = 0;
    for (;;) {
        long got = syscall(SYS_read, file, r.text + have, sizeof r.text - have);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return got == 0 && have == 0;
        have += (size_t)got;
        char *line = r.text, *newline;
        while ((newline = memchr(line, '\n', have - (size_t)(line - r.text)))) {
            mt_mapped m;
            if (mt_mapped_parse(line, (size_t)(newline - line), &m)) meet(j, &m);
            line = newline + 1;
        }
        have -= (size_t)(line - r.text);
        if (have == sizeof r.text) return false;
        memmove(r.text, line, have);
    }
}

/* Code without a path ends where a file's has come to lie. */
static bool is_overlaid(const known *k, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (object[i].open && object[i].inode && object[i].there && object[i].lo < k->hi &&
            object[i].hi > k->lo)
            return true;
    return false;
}

static void end_what_is_gone(mt_seen_journal *j) {
    uint32_t n = atomic_load_explicit(&j->count, memory_order_relaxed);
    for (uint32_t i = 0; i < n; i++)
        if (object[i].open && object[i].inode && !object[i].there) end(j, i);
    for (uint32_t i = 0; i < n; i++)
        if (object[i].open && !object[i].inode && is_overlaid(&object[i], n)) end(j, i);
}

static bool read_list(mt_seen_journal *j) {
    uint32_t n = atomic_load_explicit(&j->count, memory_order_relaxed);
    long file = syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    mt_peek_open(&r.peek);
    r.now_ns = now();
    r.head = 0;
    for (uint32_t i = 0; i < n; i++) object[i].there = false;
    bool whole = meet_all(j, (int)file);
    if (whole) end_what_is_gone(j);
    mt_peek_close(&r.peek);
    syscall(SYS_close, (int)file);
    return whole;
}

/* Once more if another thread wanted that meanwhile; a third time it is his own turn. False if
 * the list was not read by this thread, or not to its end. */
static bool look(mt_seen_journal *j) {
    mt_shelter shelter; /* a handler that jumped out would leave the lock behind */
    bool whole = false;
    atomic_store(&wanted, true);
    mt_shelter_enter(&shelter);
    for (int i = 0; i < 2 && atomic_load(&wanted); i++) {
        if (atomic_flag_test_and_set_explicit(&reading, memory_order_acquire)) break;
        uint64_t begin = now();
        atomic_store(&wanted, false);
        r.found_file = false;
        whole = read_list(j);
        if (!r.found_file)
            atomic_fetch_add_explicit(&vain_ns, now() - begin, memory_order_relaxed);
        atomic_flag_clear_explicit(&reading, memory_order_release);
    }
    mt_shelter_leave(&shelter);
    return whole;
}

int mt_seen_start(void) {
    if (atomic_load(&mt_seen_mine)) return 0;
    mt_seen_journal *j =
        mt_region_take(MT_REGION_SEEN, sizeof *j, MT_SEEN_ENTRIES, sizeof *j->entry);
    if (!j) return -1;
    atomic_store(&started_ns, now());
    look(j);
    atomic_store(&mt_seen_mine, j);
    return 0;
}

/* Entries are few, and the latest are looked at first. */
static bool is_covered(const mt_seen_journal *j, uint64_t address) {
    uint32_t n = atomic_load_explicit(&j->count, memory_order_acquire);
    while (n-- > 0) {
        const mt_seen *e = &j->entry[n];
        if (address >= e->lo && address < e->hi &&
            atomic_load_explicit(&e->until_ns, memory_order_relaxed) == 0)
            return true;
    }
    return false;
}

/* Of an address that is looked for in vain too, so that it is not looked for again before
 * something is new. */
static uint64_t word_of(const mt_seen_journal *j, uint64_t address) {
    uint64_t version = atomic_load_explicit(&j->count, memory_order_relaxed) +
                       (uint64_t)atomic_load_explicit(&j->changes, memory_order_relaxed);
    return address >> PAGE_BITS | (version + 1) << (PLACE_BITS - PAGE_BITS);
}

static bool may_look(void) {
    uint64_t vain = atomic_load_explicit(&vain_ns, memory_order_relaxed);
    return vain < FREE_NS ||
           (vain - FREE_NS) <
               (now() - atomic_load_explicit(&started_ns, memory_order_relaxed)) / 100;
}

void mt_seen_note(void *const *stack, uint32_t frames) {
    mt_seen_journal *j = atomic_load_explicit(&mt_seen_mine, memory_order_acquire);
    for (uint32_t i = 0; j && i < frames; i++) {
        uint64_t address = (uintptr_t)stack[i] - 1; /* a return address may be the end */
        if (address >> PLACE_BITS || address >> PAGE_BITS == 0) continue;
        _Atomic uint64_t *word = &cache[(address >> PAGE_BITS) % CACHED];
        uint64_t current = word_of(j, address);
        if (__builtin_expect(atomic_load_explicit(word, memory_order_relaxed) == current, 1))
            continue;
        if (!is_covered(j, address) && may_look()) {
            if (!look(j)) continue;
            current = word_of(j, address);
        }
        atomic_store_explicit(word, current, memory_order_relaxed);
    }
}

void mt_seen_unloaded(void) {
    mt_seen_journal *j = atomic_load_explicit(&mt_seen_mine, memory_order_acquire);
    if (j) look(j);
}

uint32_t mt_seen_count(void) {
    mt_seen_journal *j = atomic_load_explicit(&mt_seen_mine, memory_order_acquire);
    return j ? atomic_load_explicit(&j->count, memory_order_acquire) : 0;
}

const mt_seen *mt_seen_entry(uint32_t i) {
    return &atomic_load_explicit(&mt_seen_mine, memory_order_acquire)->entry[i];
}
