/* linked: see the header. */
#include "linked.h"

#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

/* The loader protects whole pages only, as this rounds (glibc, elf/dl-reloc.c). */
static void take_relro(mt_linked *o, const ElfW(Phdr) * p) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    o->relro.lo = (o->slots.base + p->p_vaddr) & ~(page - 1);
    o->relro.hi = (o->slots.base + p->p_vaddr + p->p_memsz) & ~(page - 1);
}

static void take_segment(mt_linked *o, const ElfW(Phdr) * p) {
    uintptr_t lo = o->slots.base + p->p_vaddr, hi = lo + p->p_memsz;
    if (lo < o->lo) o->lo = lo;
    if (hi > o->hi) o->hi = hi;
    if (!(p->p_flags & PF_X) || o->codes == MT_LINKED_SEGMENTS) return;
    o->code[o->codes].lo = lo;
    o->code[o->codes++].hi = hi;
}

mt_linked mt_linked_of(const struct dl_phdr_info *info, bool program) {
    mt_linked o = {.path = info->dlpi_name ? info->dlpi_name : "", .program = program};
    const ElfW(Dyn) *dynamic = NULL;
    o.slots.base = info->dlpi_addr;
    o.lo = UINTPTR_MAX;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_LOAD) take_segment(&o, p);
        if (p->p_type == PT_GNU_RELRO) take_relro(&o, p);
        if (p->p_type == PT_DYNAMIC)
            dynamic = (const ElfW(Dyn) *)(info->dlpi_addr + p->p_vaddr);
    }
    if (o.hi == 0) o.lo = 0;
    o.slots = mt_slots_of(info->dlpi_addr, dynamic);
    return o;
}

bool mt_linked_is_code(const mt_linked *object, const void *address) {
    for (uint32_t i = 0; i < object->codes; i++)
        if ((uintptr_t)address - object->code[i].lo < object->code[i].hi - object->code[i].lo)
            return true;
    return false;
}

bool mt_linked_is_ours(const mt_linked *object) {
    return mt_linked_holds(object, (const void *)mt_linked_is_ours) ||
           mt_slots_defines(&object->slots, "mtrace_core");
}

/* "libdw.so.1", and "libdw-0.188.so" too. */
static bool is_library(const char *path, const char *name) {
    const char *slash = strrchr(path, '/'), *last = slash ? slash + 1 : path;
    size_t n = strlen(name);
    return strncmp(last, name, n) == 0 && (last[n] == '.' || last[n] == '-');
}

/* AT_BASE is 0 where the linker was started by hand; it then goes by its name. */
static bool is_linker(const mt_linked *object) {
    uintptr_t linker = getauxval(AT_BASE), kernel = getauxval(AT_SYSINFO_EHDR);
    return (linker && object->slots.base == linker) ||
           (kernel && mt_linked_holds(object, (const void *)kernel)) ||
           is_library(object->path, "ld") || is_library(object->path, "ld-linux") ||
           is_library(object->path, "ld-musl");
}

bool mt_linked_is_left_alone(const mt_linked *object) {
    return is_linker(object) || is_library(object->path, "libdw") ||
           is_library(object->path, "libelf") || mt_linked_is_ours(object);
}
