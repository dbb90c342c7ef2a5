/* pages: reads /proc/self/maps, whose lines begin "7f12a000-7f13b000 r-xp" (proc(5)). */
#include "pages.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BUFFER = 4096, FIRST_ROOM = 1024 };

/* Where in a line the reader is: the two addresses, the permissions, what does not matter. */
typedef struct {
    enum { LOW, HIGH, PERMISSIONS, REST } at;
    mt_mapping line;
} reader;

static bool has_room(mt_pages *pages) {
    if (pages->n < pages->room) return true;
    size_t room = pages->room ? 2 * pages->room : FIRST_ROOM, size = sizeof *pages->mapping;
    void *more = pages->room
                     ? mremap(pages->mapping, pages->room * size, room * size, MREMAP_MAYMOVE)
                     : mmap(NULL, room * size, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (more == MAP_FAILED) return false;
    pages->mapping = more;
    pages->room = room;
    return true;
}

static int digit(char c) {
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static bool take(mt_pages *pages, reader *r, char c) {
    switch (r->at) {
    case LOW:
        if (c == '-') r->at = HIGH;
        else r->line.lo = r->line.lo << 4 | (uintptr_t)digit(c);
        break;
    case HIGH:
        if (c == ' ') r->at = PERMISSIONS;
        else r->line.hi = r->line.hi << 4 | (uintptr_t)digit(c);
        break;
    case PERMISSIONS:
        if (c == 'r') r->line.protection |= PROT_READ;
        if (c == 'w') r->line.protection |= PROT_WRITE;
        if (c == 'x') r->line.protection |= PROT_EXEC;
        if (c != ' ') break;
        if (!has_room(pages)) return false;
        pages->mapping[pages->n++] = r->line;
        r->at = REST;
        break;
    default:
        if (c == '\n') *r = (reader){.at = LOW};
    }
    return true;
}

/* All or nothing: half a list would say "not mapped" of what is. */
static void read_all(mt_pages *pages) {
    char buffer[BUFFER];
    reader r = {.at = LOW};
    ssize_t n = -1;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    pages->asked = true;
    if (fd < 0) return;
    for (;;) {
        n = read(fd, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR) continue;
        bool well = true;
        for (ssize_t i = 0; i < n && well; i++) well = take(pages, &r, buffer[i]);
        if (!well) n = -1;
        if (n <= 0) break;
    }
    close(fd);
    if (n < 0) pages->n = 0;
}

int mt_pages_protection(mt_pages *pages, uintptr_t address) {
    if (!pages->asked) read_all(pages);
    size_t lo = 0, hi = pages->n;
    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        if (pages->mapping[middle].hi <= address) lo = middle + 1;
        else hi = middle;
    }
    bool found = lo < pages->n && pages->mapping[lo].lo <= address;
    return found ? pages->mapping[lo].protection : -1;
}

static uintptr_t page_bytes(void) {
    return (uintptr_t)sysconf(_SC_PAGESIZE);
}

int mt_pages_open(mt_pages *pages, uintptr_t address, int before) {
    uintptr_t page = address & ~(page_bytes() - 1);
    if (pages->open == page) return 0;
    mt_pages_close(pages);
    if (mprotect((void *)page, page_bytes(), before | PROT_WRITE) != 0) return -1;
    pages->open = page;
    pages->before = before;
    return 0;
}

void mt_pages_close(mt_pages *pages) {
    if (pages->open) mprotect((void *)pages->open, page_bytes(), pages->before);
    pages->open = 0;
}

void mt_pages_empty(mt_pages *pages) {
    mt_pages_close(pages);
    if (pages->room) munmap(pages->mapping, pages->room * sizeof *pages->mapping);
    *pages = (mt_pages){0};
}
