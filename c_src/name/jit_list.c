/* jit_list: see the header. */
#include "jit_list.h"

#include <link.h>
#include <string.h>

/* Far beyond any system seen; a lying list must take neither the time nor the memory. */
enum { MOST_ENTRIES = 1 << 17, MOST_SEGMENT = 64 << 20, MOST_BYTES = 256 << 20 };
enum { FIRST_ROOM = 1024, WALKS = 8, SEGMENTS = 8, LOOK_AT = 64 };

typedef struct {
    uintptr_t next, prev, symfile;
    uint64_t size;
} entry;

typedef struct {
    uint32_t version, action;
    uintptr_t relevant, first;
} descriptor;

typedef struct {
    uintptr_t at;
    entry entry; /* as it was when we came by */
} link;

typedef struct {
    link *link;
    uint32_t n, room;
    bool whole; /* came to the list's end */
} list;

typedef struct {
    mt_jit_image image, data[SEGMENTS];
    int n;
} program;

static bool is_aligned(uintptr_t address) {
    return address % _Alignof(entry) == 0;
}

static bool may_be_symfile(const entry *e) {
    return e->symfile && e->size >= MT_JIT_SYMFILE_LEAST && e->size <= MT_JIT_SYMFILE_MOST;
}

/* The entry at `at`, if it follows `before`. What OTP 25 leaves in the first one's prev is not
 * initialised. Any other entry has one predecessor: only the first can be come by twice. */
static bool step(const mt_peek *peek, uintptr_t first, uintptr_t at, uintptr_t before,
                 entry *e) {
    return is_aligned(at) && (before == 0) == (at == first) &&
           mt_peek_copy(peek, at, e, sizeof *e) && (before == 0 || e->prev == before);
}

static bool has_module(const mt_peek *peek, const entry *e) {
    mt_jit_symfile file;
    uint32_t header = 0;
    if (!may_be_symfile(e) || !mt_peek_copy(peek, e->symfile, &header, sizeof header) ||
        header != 1)
        return false;
    char *copy = mt_memory_map(e->size);
    bool is = copy && mt_peek_copy(peek, e->symfile, copy, e->size) &&
              mt_jit_symfile_open(&file, copy, e->size);
    mt_memory_unmap(copy, e->size);
    return is;
}

/* Other kinds of symfiles may stand before the first module's. */
static bool leads_to_module(const mt_peek *peek, uintptr_t first) {
    entry e = {0};
    uintptr_t before = 0, at = first;
    for (int i = 0; i < LOOK_AT && at && step(peek, first, at, before, &e); i++) {
        if (has_module(peek, &e)) return true;
        before = at;
        at = e.next;
    }
    return false;
}

static bool looks_like(const descriptor *d, mt_jit_image image) {
    return d->version == 1 && d->action <= 2 && is_aligned(d->relevant) && d->first &&
           is_aligned(d->first) && (d->first < image.lo || d->first >= image.hi);
}

uintptr_t mt_jit_list_search(const mt_peek *peek, uintptr_t lo, uintptr_t hi,
                             mt_jit_image image) {
    uintptr_t found = 0;
    lo = (lo + _Alignof(descriptor) - 1) & ~(uintptr_t)(_Alignof(descriptor) - 1);
    if (hi < lo || hi - lo < sizeof(descriptor) || hi - lo > MOST_SEGMENT) return 0;
    char *copy = mt_memory_map(hi - lo);
    if (copy && mt_peek_copy(peek, lo, copy, hi - lo))
        for (size_t i = 0; i + sizeof(descriptor) <= hi - lo; i += _Alignof(descriptor)) {
            descriptor d;
            memcpy(&d, copy + i, sizeof d);
            if (!looks_like(&d, image) || !leads_to_module(peek, d.first)) continue;
            if (found) { /* which of the two it is nobody can tell */
                found = 0;
                break;
            }
            found = lo + i;
        }
    mt_memory_unmap(copy, hi - lo);
    return found;
}

/* The program itself is the first that the loader tells of. */
static int note_program(struct dl_phdr_info *info, size_t size, void *context) {
    program *p = context;
    (void)size;
    p->image.lo = UINTPTR_MAX;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        uintptr_t lo = info->dlpi_addr + h->p_vaddr;
        if (h->p_type != PT_LOAD) continue;
        if (lo < p->image.lo) p->image.lo = lo;
        if (lo + h->p_memsz > p->image.hi) p->image.hi = lo + h->p_memsz;
        if ((h->p_flags & PF_W) && p->n < SEGMENTS)
            p->data[p->n++] = (mt_jit_image){lo, lo + h->p_filesz};
    }
    return 1;
}

static uintptr_t find_descriptor(const mt_peek *peek) {
    program p = {.n = 0};
    uintptr_t found = 0;
    dl_iterate_phdr(note_program, &p);
    for (int i = 0; i < p.n; i++) {
        uintptr_t one = mt_jit_list_search(peek, p.data[i].lo, p.data[i].hi, p.image);
        if (one && found) return 0;
        if (one) found = one;
    }
    return found;
}

static bool make_room(list *l) {
    uint32_t room = l->room ? 2 * l->room : FIRST_ROOM;
    link *bigger = mt_memory_map(room * sizeof *bigger);
    if (!bigger) return false;
    if (l->n) memcpy(bigger, l->link, l->n * sizeof *bigger);
    mt_memory_unmap(l->link, l->room * sizeof *bigger);
    l->link = bigger;
    l->room = room;
    return true;
}

static void walk(const mt_peek *peek, uintptr_t descriptor_at, list *l) {
    descriptor d = {0};
    uintptr_t before = 0, at = 0;
    l->n = 0;
    if (mt_peek_copy(peek, descriptor_at, &d, sizeof d)) at = d.first;
    while (at && l->n < MOST_ENTRIES) {
        link next = {.at = at};
        if (!step(peek, d.first, at, before, &next.entry) || (l->n == l->room && !make_room(l)))
            return;
        l->link[l->n++] = next;
        before = at;
        at = next.entry.next;
    }
    l->whole = true;
}

/* Whether the entry is still the same and in the list: what stands before it leads to it. */
static bool is_listed(const mt_peek *peek, uintptr_t descriptor_at, const link *l) {
    descriptor d = {0};
    entry e = {0}, before = {0};
    if (!mt_peek_copy(peek, l->at, &e, sizeof e) || e.symfile != l->entry.symfile ||
        e.size != l->entry.size)
        return false;
    if (e.prev && mt_peek_copy(peek, e.prev, &before, sizeof before) && before.next == l->at)
        return true;
    return mt_peek_copy(peek, descriptor_at, &d, sizeof d) && d.first == l->at;
}

static int copy_symfiles(const mt_peek *peek, uintptr_t descriptor_at, const list *l,
                         mt_arena *arena, mt_jit_symfile **files, uint32_t *n) {
    uint64_t bytes = 0;
    *files = mt_arena_take(arena, l->n * sizeof **files);
    if (!*files) return -1;
    for (uint32_t i = 0; i < l->n; i++) {
        const entry *e = &l->link[i].entry;
        if (!may_be_symfile(e)) continue;
        if ((bytes += e->size) > MOST_BYTES) break;
        char *copy = mt_arena_take(arena, e->size);
        if (!copy) return -1;
        if (mt_peek_copy(peek, e->symfile, copy, e->size) &&
            is_listed(peek, descriptor_at, &l->link[i]) &&
            mt_peek_same(peek, e->symfile, copy, e->size) &&
            mt_jit_symfile_open(&(*files)[*n], copy, e->size))
            ++*n;
    }
    return *n ? 0 : -1;
}

int mt_jit_list_read(mt_arena *arena, mt_jit_symfile **files, uint32_t *n) {
    mt_peek peek;
    list l = {0};
    int result = -1;
    *n = 0;
    mt_peek_open(&peek);
    uintptr_t at = find_descriptor(&peek);
    /* An entry that goes while we stand on it ends a walk early: then once more. */
    for (int i = 0; at && i < WALKS && !l.whole; i++) walk(&peek, at, &l);
    if (l.n) result = copy_symfiles(&peek, at, &l, arena, files, n);
    mt_memory_unmap(l.link, l.room * sizeof *l.link);
    mt_peek_close(&peek);
    return result;
}
