/* names: see the header. Objects lead from an address and a moment to a file; places that have
 * been named are kept in a table by address, file and base.
 */
#include "names.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "named_file.h"
#include "named_kept.h"

enum { FIRST_SLOTS = 8192 };

typedef struct {
    uint64_t lo, hi, base, since, until; /* lo first: mt_memory_search */
    uint64_t reach; /* the largest hi up to here: mappings of several times overlap */
    mt_named_file *file;
} object;

typedef struct {
    mt_names_place place;
    uint64_t address, base;
    const mt_named_file *file;
} known;

struct mt_names {
    mt_arena arena;
    mt_named_where where;
    mt_named_file *files, *last;
    object *object; /* sorted by lo, then since, unless there are new ones */
    uint32_t objects, room;
    bool sorted, asked_lines;
    known **slot; /* open addressing, at most half full */
    uint32_t slots, n;
};

static const mt_names_frame unknown_frame;
static const mt_names_place unknown = {.frames = 1, .frame = &unknown_frame};

/* The folders are searched for debug files too. */
static const char *search_path(mt_names *names, const char *folders) {
    const char *own = secure_getenv("MTRACE_DEBUG_PATH");
    if (!folders || !own) return folders ? folders : own;
    size_t n = strlen(folders);
    char *both = mt_arena_take(&names->arena, n + strlen(own) + 2);
    if (!both) return folders;
    memcpy(both, folders, n);
    both[n] = ':';
    strcpy(both + n + 1, own);
    return both;
}

mt_names *mt_names_open(const char *folders) {
    mt_names *names = calloc(1, sizeof *names);
    if (!names) return NULL;
    names->slot = calloc(FIRST_SLOTS, sizeof *names->slot);
    names->slots = FIRST_SLOTS;
    if (folders) folders = mt_arena_string(&names->arena, folders);
    names->where = (mt_named_where){.folders = folders,
                                    .search_path = search_path(names, folders),
                                    .lines = true,
                                    .arena = &names->arena};
    if (names->slot) return names;
    mt_names_close(names);
    return NULL;
}

void mt_names_no_lines(mt_names *names) {
    names->where.lines = false;
}

void mt_names_keep(mt_names *names, mt_named_kept *kept) {
    names->where.kept = kept;
}

/* The kernel's list of mappings has "\\012" for a line's end in a path, but nothing else for a
 * backslash: what is meant is what is there. */
static void restore_ends(char *path) {
    if (!strstr(path, "\\012") || access(path, F_OK) == 0) return;
    for (char *s; (s = strstr(path, "\\012"));) {
        *s = '\n';
        memmove(s + 1, s + 4, strlen(s + 4) + 1);
    }
}

/* It writes " (deleted)" behind the path of a file that was replaced. */
static char *path_of(mt_names *names, const char *path) {
    static const char deleted[] = " (deleted)";
    char *copy = mt_arena_string(&names->arena, path);
    size_t n = copy ? strlen(copy) : 0, mark = sizeof deleted - 1;
    if (n > mark && strcmp(copy + n - mark, deleted) == 0) copy[n - mark] = 0;
    if (copy) restore_ends(copy);
    return copy;
}

static mt_named_file *file_of(mt_names *names, const char *path,
                              const mt_elf_identity *identity) {
    char *own = path_of(names, path);
    if (!own) return NULL;
    for (mt_named_file *f = names->files; f; f = f->next)
        if (strcmp(f->path, own) == 0 &&
            f->identity.build_id_bytes == identity->build_id_bytes &&
            memcmp(f->identity.build_id, identity->build_id, identity->build_id_bytes) == 0)
            return f;
    mt_named_file *f = mt_arena_take(&names->arena, sizeof *f);
    if (!f) return NULL;
    f->path = own;
    f->identity = *identity;
    if (names->last) names->last->next = f;
    else names->files = f;
    return names->last = f;
}

void mt_names_object(mt_names *names, uint64_t lo, uint64_t hi, uint64_t base, uint64_t since,
                     uint64_t until, const char *path, const uint8_t *build_id,
                     uint32_t build_id_bytes) {
    mt_elf_identity identity = {0};
    if (build_id_bytes > MT_BUILD_ID_MAX) build_id_bytes = 0;
    identity.build_id_bytes = build_id_bytes;
    if (build_id_bytes) memcpy(identity.build_id, build_id, build_id_bytes);
    if (names->objects == names->room) {
        uint32_t room = names->room ? 2 * names->room : 64;
        object *more = realloc(names->object, room * sizeof *more);
        if (!more) return;
        names->object = more;
        names->room = room;
    }
    mt_named_file *file = file_of(names, path, &identity);
    if (!file) return;
    names->object[names->objects++] =
        (object){lo, hi, base, since, until ? until : UINT64_MAX, 0, file};
    names->sorted = false;
}

static int by_place(const void *a, const void *b) {
    const object *x = a, *y = b;
    if (x->lo != y->lo) return x->lo < y->lo ? -1 : 1;
    return x->since < y->since ? -1 : x->since > y->since;
}

static void sort(mt_names *names) {
    uint64_t reach = 0;
    mt_memory_sort(names->object, names->objects, sizeof(object), by_place);
    for (uint32_t i = 0; i < names->objects; i++) {
        if (names->object[i].hi > reach) reach = names->object[i].hi;
        names->object[i].reach = reach;
    }
    names->sorted = true;
}

/* A file is found a moment after its code first stands on a stack. So the last one that was
 * found by then counts, unless it is gone; else the first that was found later. */
static bool better(const object *o, const object *than, uint64_t at) {
    if (o->since <= at && o->until <= at) return false;
    if (!than) return true;
    bool o_later = o->since > at, than_later = than->since > at;
    if (o_later != than_later) return than_later;
    return o_later ? o->since < than->since : o->since >= than->since;
}

static const object *object_at(mt_names *names, uint64_t address, uint64_t at) {
    if (!names->sorted) sort(names);
    size_t below =
        mt_memory_search(names->object, names->objects, sizeof *names->object, address);
    const object *best = NULL;
    while (below-- > 0 && names->object[below].reach > address) {
        const object *o = &names->object[below];
        if (address < o->hi && better(o, best, at)) best = o;
    }
    return best;
}

static known **slot_of(known **table, uint32_t slots, uint64_t address, uint64_t base,
                       const mt_named_file *file) {
    uint64_t h = (address ^ base << 17 ^ (uintptr_t)file << 29) * 0x9e3779b97f4a7c15ull;
    for (uint32_t i = (uint32_t)(h >> 32);; i++) {
        known **slot = &table[i & (slots - 1)];
        if (!*slot ||
            ((*slot)->address == address && (*slot)->base == base && (*slot)->file == file))
            return slot;
    }
}

/* Room for one more. */
static bool grow(mt_names *names) {
    if (names->n < names->slots / 2) return true;
    uint32_t slots = 2 * names->slots;
    known **more = slots ? calloc(slots, sizeof *more) : NULL;
    if (!more) return false;
    for (uint32_t i = 0; i < names->slots; i++) {
        known *k = names->slot[i];
        if (k) *slot_of(more, slots, k->address, k->base, k->file) = k;
    }
    free(names->slot);
    names->slot = more;
    names->slots = slots;
    return true;
}

/* A return address is the instruction after the call, which may be another function's. */
const mt_names_place *mt_names_find(mt_names *names, uint64_t return_address, uint64_t at) {
    const object *o = object_at(names, return_address - 1, at);
    uint64_t base = o ? o->base : 0;
    mt_named_file *file = o ? o->file : NULL;
    known **slot = slot_of(names->slot, names->slots, return_address, base, file);
    if (*slot) return &(*slot)->place;
    if (!grow(names)) return &unknown;
    slot = slot_of(names->slot, names->slots, return_address, base, file);
    known *k = mt_arena_take(&names->arena, sizeof *k);
    if (!k) return &unknown;
    *k = (known){.place = unknown, .address = return_address, .base = base, .file = file};
    k->place.in_file = return_address - base;
    if (file && *file->path) {
        k->place.object = file->path;
        names->asked_lines |= names->where.lines;
        mt_named_file_find(file, &names->where, return_address - 1 - base, &k->place);
    }
    names->n++;
    return &(*slot = k)->place;
}

const char *mt_names_missing(mt_names *names, uint32_t i) {
    const char *why = NULL;
    for (const mt_named_file *f = names->files; f; f = f->next)
        if (f->missing && i-- == 0) return f->missing;
    return i == 0 && names->asked_lines && !mt_debug_available(&why) ? why : NULL;
}

void mt_names_close(mt_names *names) {
    if (!names) return;
    for (mt_named_file *f = names->files; f; f = f->next)
        mt_named_kept_give(names->where.kept, f);
    free(names->object);
    free(names->slot);
    mt_arena_empty(&names->arena);
    free(names);
}
