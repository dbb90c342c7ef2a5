/* startup: see the header. */
#include "startup.h"

#include <link.h>
#include <stdbool.h>
#include <string.h>

enum { OBJECTS = 256 };

typedef struct {
    uintptr_t base;
    const ElfW(Phdr) * header;
    int headers;
    const ElfW(Dyn) * dynamic;
    const char *strings; /* of the dynamic section */
    const char *name;    /* what others need it by */
    bool stays, followed;
} object;

typedef struct {
    object o[OBJECTS];
    int n;
} objects;

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* glibc relocates this pointer in place, other than on some machines. */
static const char *strings_of(const object *o) {
    for (const ElfW(Dyn) *d = o->dynamic; d && d->d_tag != DT_NULL; d++)
        if (d->d_tag == DT_STRTAB)
            return (const char *)(d->d_un.d_ptr < o->base ? o->base + d->d_un.d_ptr
                                                          : d->d_un.d_ptr);
    return NULL;
}

static const char *name_of(const object *o, const char *path) {
    for (const ElfW(Dyn) *d = o->dynamic; o->strings && d && d->d_tag != DT_NULL; d++)
        if (d->d_tag == DT_SONAME) return o->strings + d->d_un.d_val;
    return last_part(path ? path : "");
}

static int note(struct dl_phdr_info *info, size_t size, void *context) {
    objects *all = context;
    (void)size;
    if (all->n == OBJECTS) return 1;
    object *o = &all->o[all->n];
    *o = (object){
        .base = info->dlpi_addr, .header = info->dlpi_phdr, .headers = info->dlpi_phnum};
    for (int i = 0; i < o->headers; i++) {
        const ElfW(Phdr) *p = &o->header[i];
        uintptr_t lo = o->base + p->p_vaddr;
        if (p->p_type == PT_DYNAMIC) o->dynamic = (const ElfW(Dyn) *)lo;
        if (p->p_type == PT_LOAD && (uintptr_t)note - lo < p->p_memsz) o->stays = true;
    }
    o->strings = strings_of(o);
    o->name = name_of(o, info->dlpi_name);
    if (all->n++ == 0) o->stays = true; /* the program itself */
    return 0;
}

static void keep_needed(objects *all, const object *by) {
    for (const ElfW(Dyn) *d = by->dynamic; by->strings && d && d->d_tag != DT_NULL; d++)
        for (int i = 0; d->d_tag == DT_NEEDED && i < all->n; i++)
            if (strcmp(last_part(by->strings + d->d_un.d_val), all->o[i].name) == 0)
                all->o[i].stays = true;
}

static void follow(objects *all) {
    for (int i = 0; i < all->n; i++) {
        if (!all->o[i].stays || all->o[i].followed) continue;
        all->o[i].followed = true;
        keep_needed(all, &all->o[i]);
        i = -1; /* what came before may stay now */
    }
}

int mt_startup_list(mt_startup_code *code, int max) {
    static objects all; /* one caller: the start */
    int n = 0;
    all.n = 0;
    dl_iterate_phdr(note, &all);
    follow(&all);
    for (int i = 0; i < all.n; i++)
        for (int k = 0; all.o[i].stays && k < all.o[i].headers && n < max; k++) {
            const ElfW(Phdr) *p = &all.o[i].header[k];
            if (p->p_type != PT_LOAD || !(p->p_flags & PF_X)) continue;
            code[n].lo = all.o[i].base + p->p_vaddr;
            code[n++].hi = all.o[i].base + p->p_vaddr + p->p_memsz;
        }
    return n;
}
