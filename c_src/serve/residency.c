/* residency: see the header. Runs on dirty schedulers. */
#include "residency.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    PIECE = 4096,   /* pages that mincore is asked about at once: the kernel's own step */
    SMALLEST = 16,  /* and where some of them are gone */
    ENTRIES = 2048, /* of pagemap, read at once */
};

#define PAGE_PRESENT (1ull << 63)
#define PAGE_OF_FILE (1ull << 61) /* or of shared memory */

/* HEAP_MAX_SIZE: twice the largest threshold of mmap. */
#define HEAP_MAX ((uintptr_t)(sizeof(long) == 8 ? 64 : 1) << 20)

typedef struct heap_info {
    uintptr_t arena, prev;
    size_t size, mprotect_size;
} heap_info;

void mt_residency_open(mt_residency *r) {
    r->page = (uintptr_t)sysconf(_SC_PAGESIZE);
    r->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    mt_peek_open(&r->peek);
}

void mt_residency_close(mt_residency *r) {
    if (r->pagemap >= 0) close(r->pagemap);
    mt_peek_close(&r->peek);
}

/* Where part of a piece is not mapped, mincore tells nothing of the rest: smaller pieces, then.
 */
static uint64_t present(const mt_residency *r, uintptr_t start, uintptr_t end) {
    unsigned char pages[PIECE];
    size_t step = PIECE;
    uint64_t n = 0;
    while (start < end) {
        size_t left = (end - start) / r->page;
        size_t asked = left < step ? left : step;
        if (mincore((void *)start, asked * r->page, pages) == 0) {
            for (size_t i = 0; i < asked; i++) n += pages[i] & 1;
            if (step < PIECE) step *= 2;
        } else if (asked > SMALLEST) {
            step = asked / 2;
            continue;
        }
        start += asked * r->page;
    }
    return n * r->page;
}

/* Reading what is not present would make it so. */
static bool copy(const mt_residency *r, uintptr_t at, heap_info *h) {
    return present(r, at, at + r->page) > 0 && mt_peek_copy(&r->peek, at, h, sizeof *h);
}

static bool is_heap(const mt_residency *r, uintptr_t at, uintptr_t end, heap_info *h) {
    heap_info former;
    if (!copy(r, at, h)) return false;
    if (h->size < r->page || h->size > h->mprotect_size || h->mprotect_size > HEAP_MAX ||
        (h->size | h->mprotect_size) % r->page || h->mprotect_size > end - at)
        return false;
    if (h->prev == 0) return h->arena > at && h->arena - at <= 256;
    return h->prev != at && h->prev % HEAP_MAX == 0 && copy(r, h->prev, &former) &&
           former.arena == h->arena;
}

static uint64_t arenas(const mt_residency *r, uintptr_t start, uintptr_t end) {
    heap_info h;
    uint64_t bytes = 0;
    uintptr_t at = (start + HEAP_MAX - 1) / HEAP_MAX * HEAP_MAX;
    for (; at >= start && at < end && end - at >= sizeof h; at += HEAP_MAX)
        if (is_heap(r, at, end, &h)) bytes += present(r, at, at + h.mprotect_size);
    return bytes;
}

static void count(mt_resident *found, const mt_residency *r, const uint64_t *entry, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (!(entry[i] & PAGE_PRESENT)) continue;
        *(entry[i] & PAGE_OF_FILE ? &found->file : &found->anonymous) += r->page;
    }
}

static mt_resident of_file(const mt_residency *r, uintptr_t start, uintptr_t end) {
    uint64_t entry[ENTRIES];
    mt_resident found = {0};
    while (r->pagemap >= 0 && start < end) {
        size_t left = (end - start) / r->page;
        size_t asked = left < ENTRIES ? left : ENTRIES;
        off_t where = (off_t)(start / r->page * sizeof *entry);
        ssize_t got = pread(r->pagemap, entry, asked * sizeof *entry, where);
        if (got < (ssize_t)sizeof *entry) break;
        count(&found, r, entry, (size_t)got / sizeof *entry);
        start += (uintptr_t)got / sizeof *entry * r->page;
    }
    return found;
}

mt_resident mt_residency_of(const mt_residency *r, uintptr_t start, uintptr_t end, bool file) {
    if (start >= end || end - start > MT_RESIDENCY_MAX || end > UINTPTR_MAX - r->page)
        return (mt_resident){0};
    start -= start % r->page;
    end += (r->page - end % r->page) % r->page;
    if (file) return of_file(r, start, end);
    return (mt_resident){.anonymous = present(r, start, end), .arenas = arenas(r, start, end)};
}
