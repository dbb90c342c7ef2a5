/* objects: asks the dynamic linker; reads nothing that could go away under it. */
#include "objects.h"

#include <limits.h>
#include <link.h>
#include <string.h>
#include <unistd.h>

/* What is forgotten stays in the arena until it has grown by this, then all is copied. */
#define SPARE_BYTES ((size_t)1 << 20)

typedef struct {
    mt_arena *arena;
    mt_object *objects, **end; /* in the loader's order */
    uint64_t adds, subs;
    bool counted, failed;
} gathering;

static const char *path_of(mt_arena *arena, const struct dl_phdr_info *info) {
    if (info->dlpi_name && *info->dlpi_name) return mt_arena_string(arena, info->dlpi_name);
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    return mt_arena_string(arena, path);
}

/* A note need not be loaded, whatever its header says: only what lies in the file's part of a
 * readable segment surely is. */
static bool is_loaded(const struct dl_phdr_info *info, const ElfW(Phdr) * note) {
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_R) || note->p_vaddr < p->p_vaddr)
            continue;
        uint64_t offset = note->p_vaddr - p->p_vaddr;
        if (offset <= p->p_filesz && note->p_memsz <= p->p_filesz - offset) return true;
    }
    return false;
}

/* The loader holds its lock meanwhile: the notes that are read here stay mapped. */
static void identify(mt_object *object, const struct dl_phdr_info *info) {
    mt_elf_identity *id = &object->identity;
    id->headers = mt_elf_hash_headers(info->dlpi_phdr, info->dlpi_phnum);
    for (int i = 0; i < info->dlpi_phnum && !id->build_id_bytes; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_NOTE && is_loaded(info, p))
            id->build_id_bytes = mt_build_id_find((const void *)(object->base + p->p_vaddr),
                                                  p->p_memsz, id->build_id);
    }
}

/* Older C libraries do not tell what came and went: then each picture is taken in full. */
static void count(gathering *g, const struct dl_phdr_info *info, size_t size) {
    g->counted = size >= offsetof(struct dl_phdr_info, dlpi_subs) + sizeof info->dlpi_subs;
    if (!g->counted) return;
    g->adds = info->dlpi_adds;
    g->subs = info->dlpi_subs;
}

static int count_only(struct dl_phdr_info *info, size_t size, void *context) {
    count(context, info, size);
    return 1;
}

static int gather(struct dl_phdr_info *info, size_t size, void *context) {
    gathering *g = context;
    count(g, info, size);
    mt_object *object = mt_arena_take(g->arena, sizeof *object);
    if (!object || !(object->path = path_of(g->arena, info))) return g->failed = true;
    object->base = info->dlpi_addr;
    identify(object, info);
    for (int i = 0; i < info->dlpi_phnum && object->extents < MT_OBJECT_EXTENTS; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X)) continue;
        uintptr_t lo = object->base + p->p_vaddr;
        object->extent[object->extents].lo = lo;
        object->extent[object->extents++].hi = lo + p->p_memsz;
    }
    *g->end = object;
    g->end = &object->next;
    return 0;
}

static bool is_same(const mt_object *a, const mt_object *b) {
    return a->base == b->base && a->extents == b->extents &&
           memcmp(a->extent, b->extent, sizeof a->extent) == 0 &&
           memcmp(&a->identity, &b->identity, sizeof a->identity) == 0 &&
           strcmp(a->path, b->path) == 0;
}

/* Takes the same object out of a list. */
static mt_object *take_same(mt_object **list, const mt_object *object) {
    for (; *list; list = &(*list)->next)
        if (is_same(*list, object)) {
            mt_object *found = *list;
            *list = found->next;
            return found;
        }
    return NULL;
}

/* A copy in the arena; NULL without memory. */
static mt_object *keep(mt_arena *arena, const mt_object *object) {
    mt_object *copy = mt_arena_take(arena, sizeof *copy);
    if (!copy) return NULL;
    *copy = *object;
    copy->path = mt_arena_string(arena, object->path);
    return copy->path ? copy : NULL;
}

static void push(mt_object **list, mt_object *object) {
    object->next = *list;
    *list = object;
}

/* One that was there before, in the same place, is called what it was called then. */
static uint32_t number_of(mt_objects *objects, const mt_object *object) {
    for (const mt_object *o = objects->gone; o; o = o->next)
        if (is_same(o, object)) return o->number;
    return ++objects->numbers;
}

static mt_object *meet(mt_objects *objects, const mt_object *object, uint64_t now_ns) {
    mt_object *known = keep(&objects->arena, object);
    if (!known) return NULL;
    known->number = number_of(objects, object);
    known->since_ns = objects->read_ns;
    known->seen_ns = now_ns;
    known->last_ns = known->until_ns = MT_OBJECT_THERE;
    return known;
}

/* From what is there now to what is known. The loader keeps its order, so that what stayed is
 * found at once. Where memory ends an object stays unknown. */
static void compare(mt_objects *objects, mt_object *now, uint64_t now_ns) {
    mt_object *there = NULL, **end = &there, *next;
    for (; now; now = next) {
        next = now->next;
        mt_object *known = take_same(&objects->there, now);
        if (!known) known = meet(objects, now, now_ns);
        if (!known) continue;
        known->next = NULL;
        *end = known;
        end = &known->next;
    }
    for (mt_object *o = objects->there; o; o = next) {
        next = o->next;
        o->last_ns = objects->read_ns;
        o->until_ns = now_ns;
        push(&objects->gone, o);
    }
    objects->there = there;
}

static void forget_the_longest_gone(mt_objects *objects) {
    mt_object **at = &objects->gone;
    for (int n = 0; *at; at = &(*at)->next)
        if (n++ == MT_OBJECTS_GONE) {
            *at = NULL;
            return;
        }
}

static mt_object *copy_list(mt_arena *arena, const mt_object *list, bool *failed) {
    mt_object *copies = NULL, **end = &copies;
    for (; list; list = list->next) {
        mt_object *copy = keep(arena, list);
        if (!copy) return *failed = true, NULL;
        copy->next = NULL;
        *end = copy;
        end = &copy->next;
    }
    return copies;
}

static void compact(mt_objects *objects) {
    mt_arena fresh = {0};
    bool failed = false;
    mt_object *there = copy_list(&fresh, objects->there, &failed);
    mt_object *gone = copy_list(&fresh, objects->gone, &failed);
    if (failed) {
        mt_arena_empty(&fresh);
        return;
    }
    mt_arena_empty(&objects->arena);
    objects->arena = fresh;
    objects->there = there;
    objects->gone = gone;
    objects->kept_bytes = fresh.bytes;
}

static int by_address(const void *a, const void *b) {
    const mt_code *x = a, *y = b;
    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

static int sort_code(mt_objects *objects) {
    uint32_t n = 0;
    for (const mt_object *o = objects->there; o; o = o->next) n += o->extents;
    if (n > objects->code_room) {
        mt_code *more = mt_memory_map(2 * n * sizeof *more);
        if (!more) return -1;
        mt_memory_unmap(objects->code, objects->code_room * sizeof *more);
        objects->code = more;
        objects->code_room = 2 * n;
    }
    objects->codes = 0;
    for (const mt_object *o = objects->there; o; o = o->next)
        for (uint32_t i = 0; i < o->extents; i++)
            objects->code[objects->codes++] = (mt_code){o->extent[i].lo, o->extent[i].hi, o};
    mt_memory_sort(objects->code, objects->codes, sizeof(mt_code), by_address);
    return 0;
}

/* All anew: some 100 us for 60 objects. */
static int read_in_full(mt_objects *objects, uint64_t now_ns) {
    mt_arena arena = {0};
    gathering g = {.arena = &arena};
    g.end = &g.objects;
    dl_iterate_phdr(gather, &g);
    if (!g.failed) {
        compare(objects, g.objects, now_ns);
        forget_the_longest_gone(objects);
        objects->adds = g.adds;
        objects->subs = g.subs;
    }
    mt_arena_empty(&arena);
    if (g.failed) return -1;
    if (objects->arena.bytes > objects->kept_bytes + SPARE_BYTES) compact(objects);
    return sort_code(objects);
}

int mt_objects_read(mt_objects *objects, uint64_t now_ns) {
    gathering g = {0};
    dl_iterate_phdr(count_only, &g);
    bool same = g.counted && g.adds == objects->adds && g.subs == objects->subs;
    if (!(objects->read && same) && read_in_full(objects, now_ns) != 0) {
        objects->read = false; /* the next one is in full */
        return -1;
    }
    objects->read_ns = now_ns;
    objects->read = true;
    return 0;
}

/* What is mapped holds an address at most once. */
static const mt_object *mapped_at(const mt_objects *objects, uintptr_t address) {
    size_t below =
        mt_memory_search(objects->code, objects->codes, sizeof *objects->code, address);
    return below && address < objects->code[below - 1].hi ? objects->code[below - 1].object
                                                          : NULL;
}

static bool holds(const mt_object *o, uintptr_t address) {
    for (uint32_t i = 0; i < o->extents; i++)
        if (address >= o->extent[i].lo && address < o->extent[i].hi) return true;
    return false;
}

const mt_object *mt_objects_find(const mt_objects *objects, uintptr_t address, uint64_t at_ns) {
    const mt_object *possible = mapped_at(objects, address);
    if (possible && at_ns >= possible->seen_ns) return possible;
    if (possible && at_ns < possible->since_ns) possible = NULL;
    for (const mt_object *o = objects->gone; o; o = o->next) {
        if (at_ns < o->since_ns || at_ns > o->until_ns || !holds(o, address)) continue;
        if (at_ns >= o->seen_ns && at_ns <= o->last_ns) return o;
        if (possible) return NULL;
        possible = o;
    }
    return possible;
}

void mt_objects_empty(mt_objects *objects) {
    mt_memory_unmap(objects->code, objects->code_room * sizeof(mt_code));
    mt_arena_empty(&objects->arena);
    *objects = (mt_objects){0};
}
