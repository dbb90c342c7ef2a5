/* slots: walks the relocations of an object that the dynamic linker has already checked. */
#include "slots.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The two relocations that stand for "the address of a function of another object", and that
 * of a word of data which holds one. */
#if defined __x86_64__
enum { JUMP_SLOT = R_X86_64_JUMP_SLOT, GLOB_DAT = R_X86_64_GLOB_DAT, WORD = R_X86_64_64 };
#elif defined __aarch64__
enum { JUMP_SLOT = R_AARCH64_JUMP_SLOT, GLOB_DAT = R_AARCH64_GLOB_DAT, WORD = R_AARCH64_ABS64 };
#elif defined __i386__
enum { JUMP_SLOT = R_386_JMP_SLOT, GLOB_DAT = R_386_GLOB_DAT, WORD = R_386_32 };
#elif defined __arm__
enum { JUMP_SLOT = R_ARM_JUMP_SLOT, GLOB_DAT = R_ARM_GLOB_DAT, WORD = R_ARM_ABS32 };
#elif defined __riscv && __riscv_xlen == 64
enum { JUMP_SLOT = R_RISCV_JUMP_SLOT, GLOB_DAT = -1, WORD = R_RISCV_64 };
#else
enum { JUMP_SLOT = -1, GLOB_DAT = -1, WORD = -1 };
#endif

#if __ELF_NATIVE_CLASS == 64
#define R_SYM(info)  ELF64_R_SYM(info)
#define R_TYPE(info) ELF64_R_TYPE(info)
#else
#define R_SYM(info)  ELF32_R_SYM(info)
#define R_TYPE(info) ELF32_R_TYPE(info)
#endif

/* glibc relocates these pointers in place for most objects, but not on every machine, and not
 * in the vdso. */
static uintptr_t absolute(uintptr_t base, uintptr_t value) {
    return value < base ? base + value : value;
}

mt_slots mt_slots_of(uintptr_t base, const ElfW(Dyn) * dynamic) {
    mt_slots v = {.base = base};
    for (const ElfW(Dyn) *d = dynamic; d && d->d_tag != DT_NULL; d++) {
        uintptr_t p = absolute(v.base, d->d_un.d_ptr);
        size_t n = d->d_un.d_val;
        switch (d->d_tag) {
        case DT_SYMTAB:
            v.symbols = (const ElfW(Sym) *)p;
            break;
        case DT_STRTAB:
            v.strings = (const char *)p;
            break;
        case DT_GNU_HASH:
            v.gnu_hash = (const uint32_t *)p;
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

static mt_slot_kind kind_of(int type) {
    if (type == JUMP_SLOT) return MT_SLOT_CALL;
    if (type == GLOB_DAT) return MT_SLOT_ADDRESS;
    return type == WORD ? MT_SLOT_WORD : MT_SLOT_OTHER;
}

int mt_slots_each(const mt_slots *of, mt_slots_visit *visit, void *context) {
    if (!of->symbols || !of->strings) return 0;
    for (int t = 0; t < 3; t++) {
        if (!of->table[t] || !of->entry[t]) continue;
        for (size_t at = 0; at + of->entry[t] <= of->bytes[t]; at += of->entry[t]) {
            const ElfW(Rel) *r = (const ElfW(Rel) *)(of->table[t] + at);
            mt_slot_kind kind = kind_of((int)R_TYPE(r->r_info));
            if (kind == MT_SLOT_OTHER || R_SYM(r->r_info) == 0) continue;
            const ElfW(Sym) *symbol = &of->symbols[R_SYM(r->r_info)];
            mt_slot slot = {.at = (void **)(of->base + r->r_offset),
                            .name = of->strings + symbol->st_name,
                            .symbol = symbol,
                            .kind = kind};
            int stop = visit(&slot, context);
            if (stop) return stop;
        }
    }
    return 0;
}

/* The hash and its table: "ELF symbol hash tables", GNU's, as the dynamic linker reads it. */
bool mt_slots_defines(const mt_slots *in, const char *name) {
    const uint32_t *table = in->gnu_hash;
    uint32_t h = 5381;
    if (!table || !in->symbols || !in->strings || table[0] == 0) return false;
    for (const char *c = name; *c; c++) h = h * 33 + (unsigned char)*c;
    const uint32_t *bucket = table + 4 + table[2] * (sizeof(ElfW(Addr)) / sizeof *table);
    const uint32_t *chain = bucket + table[0], first = table[1];
    uint32_t i = bucket[h % table[0]];
    if (i < first) return false;
    for (;; i++) {
        uint32_t found = chain[i - first];
        const ElfW(Sym) *symbol = &in->symbols[i];
        if ((found | 1) == (h | 1) && symbol->st_shndx != SHN_UNDEF &&
            strcmp(in->strings + symbol->st_name, name) == 0)
            return true;
        if (found & 1) return false;
    }
}

typedef struct {
    const char *name;
    void *target;
    relro_range relro;
    int set;
} pointing;

static int point(const mt_slot *slot, void *context) {
    pointing *p = context;
    if (slot->kind == MT_SLOT_WORD || strcmp(slot->name, p->name) != 0) return 0;
    uintptr_t at = (uintptr_t)slot->at;
    if (store(slot->at, p->target, at >= p->relro.lo && at < p->relro.hi) != 0) return -1;
    p->set++;
    return 0;
}

int mt_slots_point(const struct link_map *object, const char *name, void *target) {
    mt_slots slots = mt_slots_of(object->l_addr, object->l_ld);
    pointing p = {.name = name, .target = target, .relro = {.base = slots.base}};
    dl_iterate_phdr(find_relro, &p.relro);
    return mt_slots_each(&slots, point, &p) != 0 ? -1 : p.set;
}
