/* symbols: gathers the function symbols of up to two files, sorts them, and searches. */
#include "symbols.h"

#include <string.h>

#include "debug_file.h"
#include "memory.h"

#if __ELF_NATIVE_CLASS == 64
#define SYM_TYPE(i) ELF64_ST_TYPE(i)
#define SYM_BIND(i) ELF64_ST_BIND(i)
#else
#define SYM_TYPE(i) ELF32_ST_TYPE(i)
#define SYM_BIND(i) ELF32_ST_BIND(i)
#endif

/* Exported names before internal ones, plain ones before those with underscores. */
static uint32_t rank_of(unsigned char info, const char *name) {
    uint32_t underscores = 0;
    while (underscores < 3 && name[underscores] == '_') underscores++;
    uint32_t binding = SYM_BIND(info) == STB_LOCAL ? 8 : SYM_BIND(info) == STB_WEAK ? 1 : 0;
    return binding + 2 * underscores;
}

/* Without a size a symbol says nothing about where its function ends: good enough only where
 * the full table says where the next one begins. */
static bool is_function(const ElfW(Sym) * s, const char *name, bool full) {
    unsigned type = SYM_TYPE(s->st_info);
    if (type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE) return false;
    if (s->st_shndx == SHN_UNDEF || s->st_shndx == SHN_ABS) return false;
    if (*name == '\0' || *name == '$' || (name[0] == '.' && name[1] == 'L')) return false;
    return s->st_size || full;
}

static bool make_room(mt_symbols *symbols, size_t more) {
    size_t room = symbols->n + more;
    mt_symbol *bigger = mt_memory_map(room * sizeof *bigger);
    if (!bigger) return false;
    if (symbols->n) memcpy(bigger, symbols->symbol, symbols->n * sizeof *bigger);
    mt_memory_unmap(symbols->symbol, symbols->room * sizeof *bigger);
    symbols->symbol = bigger;
    symbols->room = room;
    return true;
}

/* One table and the strings that it refers to, into strings[which]. */
static void read_table(mt_symbols *symbols, const mt_elf *f, const ElfW(Shdr) * table,
                       const ElfW(Shdr) * strings, int which) {
    size_t n = table->sh_size / sizeof(ElfW(Sym));
    char *names = mt_elf_copy(f, strings->sh_offset, strings->sh_size);
    if (!names) return;
    symbols->strings[which] = names; /* ends in a 0 of our own */
    symbols->string_bytes[which] = strings->sh_size + 1;
    ElfW(Sym) *entry = mt_elf_copy(f, table->sh_offset, n * sizeof *entry);
    if (!entry) return;
    if (make_room(symbols, n))
        for (size_t i = 0; i < n; i++) {
            const ElfW(Sym) *s = &entry[i];
            if (s->st_name >= strings->sh_size) continue;
            const char *name = names + s->st_name;
            if (is_function(s, name, table->sh_type == SHT_SYMTAB))
                symbols->symbol[symbols->n++] =
                    (mt_symbol){s->st_value, s->st_size, name, rank_of(s->st_info, name)};
        }
    mt_memory_unmap(entry, n * sizeof *entry + 1);
}

/* A table that an earlier file brought is not read again. */
static void read_tables(mt_symbols *symbols, const mt_elf *f) {
    for (uint64_t i = 0; i < f->sections; i++) {
        const ElfW(Shdr) *s = &f->section[i];
        int which = s->sh_type == SHT_SYMTAB ? 0 : s->sh_type == SHT_DYNSYM ? 1 : -1;
        if (which < 0 || symbols->strings[which] || s->sh_entsize != sizeof(ElfW(Sym)) ||
            s->sh_link >= f->sections || f->section[s->sh_link].sh_type != SHT_STRTAB)
            continue;
        read_table(symbols, f, s, &f->section[s->sh_link], which);
    }
}

static int by_address(const void *a, const void *b) {
    const mt_symbol *x = a, *y = b;
    if (x->address != y->address) return x->address < y->address ? -1 : 1;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static int finish(mt_symbols *symbols) {
    mt_memory_sort(symbols->symbol, symbols->n, sizeof(mt_symbol), by_address);
    return symbols->n ? 0 : -1;
}

int mt_symbols_read(mt_symbols *symbols, const char *path, const mt_elf_identity *expected) {
    mt_elf f;
    memset(symbols, 0, sizeof *symbols);
    if (mt_elf_open(&f, path) != 0) return -1;
    if (!expected || mt_elf_is(&f, expected)) read_tables(symbols, &f);
    mt_elf_close(&f);
    return finish(symbols);
}

int mt_symbols_read_all(mt_symbols *symbols, const char *path, const mt_elf_identity *expected,
                        const char *search_path) {
    mt_elf f, more;
    memset(symbols, 0, sizeof *symbols);
    bool there = mt_elf_open(&f, path) == 0;
    if (there && expected && !mt_elf_is(&f, expected)) {
        mt_elf_close(&f);
        there = false;
    }
    if (there) read_tables(symbols, &f);
    if (!symbols->strings[0] &&
        (mt_debug_file_find(&more, there ? &f : NULL, path, expected, search_path) == 0 ||
         (there && mt_debug_file_embedded(&more, &f) == 0))) {
        read_tables(symbols, &more);
        mt_elf_close(&more);
    }
    if (there) mt_elf_close(&f);
    return finish(symbols);
}

const mt_symbol *mt_symbols_at(const mt_symbols *symbols, uint64_t address) {
    size_t below =
        mt_memory_search(symbols->symbol, symbols->n, sizeof *symbols->symbol, address);
    /* Back over the symbols that begin at or below the address: some overlap, so the first
     * that does not reach it need not be the last word. */
    const mt_symbol *best = NULL;
    uint64_t nearest = below ? symbols->symbol[below - 1].address : 0;
    for (int steps = 0; below-- > 0 && steps < 32; steps++) {
        const mt_symbol *s = &symbols->symbol[below];
        if (best && s->address != best->address) break;
        bool covers = s->size ? address - s->address < s->size : s->address == nearest;
        if (!covers) continue;
        if (!best || (s->size != 0) > (best->size != 0) ||
            ((s->size != 0) == (best->size != 0) && s->rank < best->rank))
            best = s;
    }
    return best;
}

const char *mt_symbols_find(const mt_symbols *symbols, uint64_t address) {
    const mt_symbol *best = mt_symbols_at(symbols, address);
    return best ? best->name : NULL;
}

void mt_symbols_free(mt_symbols *symbols) {
    mt_memory_unmap(symbols->symbol, symbols->room * sizeof(mt_symbol));
    for (int i = 0; i < 2; i++) mt_memory_unmap(symbols->strings[i], symbols->string_bytes[i]);
    memset(symbols, 0, sizeof *symbols);
}
