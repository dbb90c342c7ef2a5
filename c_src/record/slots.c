/* slots: walks the relocations of an object that the dynamic linker has already checked. */
#include "slots.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The two relocations that stand for "the address of a function of another object". */
#if defined __x86_64__
enum { JUMP_SLOT = R_X86_64_JUMP_SLOT, GLOB_DAT = R_X86_64_GLOB_DAT };
#elif defined __aarch64__
enum { JUMP_SLOT = R_AARCH64_JUMP_SLOT, GLOB_DAT = R_AARCH64_GLOB_DAT };
#elif defined __i386__
enum { JUMP_SLOT = R_386_JMP_SLOT, GLOB_DAT = R_386_GLOB_DAT };
#elif defined __arm__
enum { JUMP_SLOT = R_ARM_JUMP_SLOT, GLOB_DAT = R_ARM_GLOB_DAT };
#elif defined __riscv
enum { JUMP_SLOT = R_RISCV_JUMP_SLOT, GLOB_DAT = -1 };
#else
enum { JUMP_SLOT = -1, GLOB_DAT = -1 };
#endif

#if __ELF_NATIVE_CLASS == 64
#define R_SYM(info)  ELF64_R_SYM(info)
#define R_TYPE(info) ELF64_R_TYPE(info)
#else
#define R_SYM(info)  ELF32_R_SYM(info)
#define R_TYPE(info) ELF32_R_TYPE(info)
#endif

typedef struct {
    const ElfW(Sym) * symbols;
    const char *strings;
    uintptr_t table[3]; /* of relocations: PLT, RELA, REL */
    size_t bytes[3];
    size_t entry[3];
    uintptr_t base;
} object_view;

/* glibc relocates these pointers in place for most objects, but not on every machine, and not
 * in the vdso. */
static uintptr_t absolute(uintptr_t base, uintptr_t value) {
    return value < base ? base + value : value;
}

static object_view view_of(const struct link_map *object) {
    object_view v = {.base = object->l_addr};
    for (const ElfW(Dyn) *d = object->l_ld; d && d->d_tag != DT_NULL; d++) {
        uintptr_t p = absolute(v.base, d->d_un.d_ptr);
        size_t n = d->d_un.d_val;
        switch (d->d_tag) {
        case DT_SYMTAB:
            v.symbols = (const ElfW(Sym) *)p;
            break;
        case DT_STRTAB:
            v.strings = (const char *)p;
            break;
        case DT_JMPREL:
            v.table[0] = p;
            break;
        case DT_PLTRELSZ:
            v.bytes[0] = n;
            break;
        case DT_PLTREL:
            v.entry[0] = n == DT_RELA ? sizeof(ElfW(Rela)) : sizeof(ElfW(Rel));
            break;
        case DT_RELA:
            v.table[1] = p;
            break;
        case DT_RELASZ:
            v.bytes[1] = n;
            break;
        case DT_RELAENT:
            v.entry[1] = n;
            break;
        case DT_REL:
            v.table[2] = p;
            break;
        case DT_RELSZ:
            v.bytes[2] = n;
            break;
        case DT_RELENT:
            v.entry[2] = n;
            break;
        default:
            break;
        }
    }
    return v;
}

/* The protection is put back as the loader leaves slots: read-only after relocation where the
 * page was not writable. Reading it from /proc would cost more than asking for both. */
static int store(void **slot, void *target, bool relro) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    void *start = (void *)((uintptr_t)slot & ~(page - 1));
    if (relro && mprotect(start, page, PROT_READ | PROT_WRITE) != 0) return -1;
    __atomic_store_n(slot, target, __ATOMIC_RELEASE);
    if (relro) mprotect(start, page, PROT_READ);
    return 0;
}

typedef struct {
    uintptr_t base, lo, hi;
} relro_range;

static int find_relro(struct dl_phdr_info *info, size_t size, void *context) {
    (void)size;
    relro_range *r = context;
    if (info->dlpi_addr != r->base) return 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_GNU_RELRO) {
            uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
            r->lo = (r->base + info->dlpi_phdr[i].p_vaddr) & ~(page - 1);
            r->hi = (r->base + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz) &
                    ~(page - 1);
        }
    return 1;
}

int mt_slots_point(const struct link_map *object, const char *name, void *target) {
    object_view v = view_of(object);
    relro_range relro = {.base = v.base};
    int set = 0;
    if (!v.symbols || !v.strings) return 0;
    dl_iterate_phdr(find_relro, &relro);
    for (int t = 0; t < 3; t++) {
        if (!v.table[t] || !v.entry[t]) continue;
        for (size_t at = 0; at + v.entry[t] <= v.bytes[t]; at += v.entry[t]) {
            const ElfW(Rel) *r = (const ElfW(Rel) *)(v.table[t] + at);
            int type = (int)R_TYPE(r->r_info);
            if (type != JUMP_SLOT && type != GLOB_DAT) continue;
            if (strcmp(v.strings + v.symbols[R_SYM(r->r_info)].st_name, name) != 0) continue;
            uintptr_t slot = v.base + r->r_offset;
            if (store((void **)slot, target, slot >= relro.lo && slot < relro.hi) != 0)
                return -1;
            set++;
        }
    }
    return set;
}
