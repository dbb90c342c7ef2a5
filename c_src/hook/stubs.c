/* stubs: a list; it holds some hundred at most. */
#include "stubs.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

typedef struct {
    void **slot;
    void *stub;
    uint32_t look; /* in which it was met last */
} entry;

enum { FIRST_ROOM = 512 };

static struct {
    entry *entry;
    size_t n, room;
    uint32_t look;
} stubs;

static bool has_room(void) {
    if (stubs.n < stubs.room) return true;
    size_t room = stubs.room ? 2 * stubs.room : FIRST_ROOM;
    void *more = stubs.room ? mremap(stubs.entry, stubs.room * sizeof(entry),
                                     room * sizeof(entry), MREMAP_MAYMOVE)
                            : mmap(NULL, room * sizeof(entry), PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (more == MAP_FAILED) return false;
    stubs.entry = more;
    stubs.room = room;
    return true;
}

static entry *find(void **slot) {
    for (size_t i = 0; i < stubs.n; i++)
        if (stubs.entry[i].slot == slot) return &stubs.entry[i];
    return NULL;
}

bool mt_stubs_put(void **slot, void *stub) {
    entry *e = find(slot);
    if (!e && !has_room()) return false;
    if (!e) e = &stubs.entry[stubs.n++];
    *e = (entry){slot, stub, stubs.look};
    return true;
}

void *mt_stubs_get(void **slot) {
    entry *e = find(slot);
    if (!e) return NULL;
    e->look = stubs.look;
    return e->stub;
}

void mt_stubs_begin(void) {
    stubs.look++;
}

void mt_stubs_end(void) {
    size_t kept = 0;
    for (size_t i = 0; i < stubs.n; i++)
        if (stubs.entry[i].look == stubs.look) stubs.entry[kept++] = stubs.entry[i];
    stubs.n = kept;
}
