/* objects: asks the dynamic linker; reads nothing that could go away under it. */
#include "objects.h"

#include <limits.h>
#include <link.h>
#include <string.h>
#include <unistd.h>

typedef struct segment {
    struct segment *next;
    mt_code code;
} segment;

typedef struct {
    mt_arena *arena;
    segment *segments;
    uint32_t n;
    bool failed;
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
            mt_elf_build_id((const void *)(object->base + p->p_vaddr), p->p_memsz, id);
    }
}

static int gather(struct dl_phdr_info *info, size_t size, void *context) {
    (void)size;
    gathering *g = context;
    mt_object *object = mt_arena_take(g->arena, sizeof *object);
    if (!object || !(object->path = path_of(g->arena, info))) return g->failed = true;
    object->base = info->dlpi_addr;
    identify(object, info);
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X)) continue;
        segment *s = mt_arena_take(g->arena, sizeof *s);
        if (!s) return g->failed = true;
        uintptr_t lo = object->base + p->p_vaddr;
        *s = (segment){g->segments, {lo, lo + p->p_memsz, object}};
        g->segments = s;
        g->n++;
    }
    return 0;
}

static int by_address(const void *a, const void *b) {
    const mt_code *x = a, *y = b;
    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

int mt_objects_read(mt_objects *objects) {
    gathering g = {.arena = &objects->arena};
    dl_iterate_phdr(gather, &g);
    objects->n = 0;
    objects->code = g.failed ? NULL : mt_arena_take(g.arena, g.n * sizeof(mt_code));
    if (!objects->code) {
        mt_objects_empty(objects);
        return -1;
    }
    for (segment *s = g.segments; s; s = s->next) objects->code[objects->n++] = s->code;
    mt_memory_sort(objects->code, objects->n, sizeof(mt_code), by_address);
    return 0;
}

void mt_objects_empty(mt_objects *objects) {
    for (uint32_t i = 0; i < objects->n; i++)
        mt_symbols_free(&objects->code[i].object->symbols);
    mt_arena_empty(&objects->arena);
    objects->code = NULL;
    objects->n = 0;
}

mt_object *mt_objects_find(const mt_objects *objects, uintptr_t address) {
    uint32_t lo = 0, hi = objects->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (objects->code[mid].lo <= address) lo = mid + 1;
        else hi = mid;
    }
    if (lo == 0 || address >= objects->code[lo - 1].hi) return NULL;
    return objects->code[lo - 1].object;
}

const char *mt_objects_symbol(mt_object *object, uintptr_t address) {
    if (!object->asked) {
        object->asked = true;
        mt_symbols_read(&object->symbols, object->path, &object->identity);
    }
    return mt_symbols_find(&object->symbols, address - object->base);
}
