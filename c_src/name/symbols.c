/* symbols: reads ELF files that may be anything. Every offset and size is checked against the
 * file before it is used. */
#include "symbols.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"

/* No symbol table in the wild comes near this; a lying header must not take the memory. */
#define MAX_TABLE ((uint64_t)512 << 20)

#if __ELF_NATIVE_CLASS == 64
#define CLASS       ELFCLASS64
#define SYM_TYPE(i) ELF64_ST_TYPE(i)
#define SYM_BIND(i) ELF64_ST_BIND(i)
#else
#define CLASS       ELFCLASS32
#define SYM_TYPE(i) ELF32_ST_TYPE(i)
#define SYM_BIND(i) ELF32_ST_BIND(i)
#endif

typedef struct {
    int fd;
    uint64_t bytes;
    ElfW(Ehdr) head;
} elf;

/* All `n` bytes at `offset`, or false. */
static bool fetch(const elf *f, uint64_t offset, void *to, uint64_t n) {
    if (offset > f->bytes || n > f->bytes - offset) return false;
    for (uint64_t done = 0; done < n;) {
        ssize_t got = pread(f->fd, (char *)to + done, n - done, (off_t)(offset + done));
        if (got <= 0) return false;
        done += (uint64_t)got;
    }
    return true;
}

/* A copy of n bytes at offset, with one more that is 0; NULL if it cannot be. */
static void *copy(const elf *f, uint64_t offset, uint64_t n) {
    if (n > MAX_TABLE || offset > f->bytes || n > f->bytes - offset) return NULL;
    char *memory = mt_memory_map(n + 1);
    if (memory && !fetch(f, offset, memory, n)) {
        mt_memory_unmap(memory, n + 1);
        return NULL;
    }
    return memory;
}

/* A pipe or a device under this name must neither block us nor be read. */
static bool open_elf(elf *f, const char *path) {
    struct stat st;
    f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (f->fd < 0) return false;
    if (fstat(f->fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        f->bytes = (uint64_t)st.st_size;
        if (fetch(f, 0, &f->head, sizeof f->head) &&
            memcmp(f->head.e_ident, ELFMAG, SELFMAG) == 0 && f->head.e_ident[EI_CLASS] == CLASS)
            return true;
    }
    close(f->fd);
    return false;
}

uint64_t mt_elf_hash_headers(const ElfW(Phdr) * headers, size_t n) {
    uint64_t h = n;
    for (size_t i = 0; i < n; i++) {
        const ElfW(Phdr) *p = &headers[i];
        uint64_t part[] = {p->p_type,  p->p_flags,  p->p_offset,
                           p->p_vaddr, p->p_filesz, p->p_memsz};
        for (size_t k = 0; k < sizeof part / sizeof *part; k++)
            h = (h ^ part[k]) * 0x9e3779b97f4a7c15ull, h ^= h >> 32;
    }
    return h;
}

void mt_elf_build_id(const void *notes, size_t bytes, mt_elf_identity *identity) {
    const char *at = notes;
    while (bytes >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) n;
        memcpy(&n, at, sizeof n);
        uint64_t name = ((uint64_t)n.n_namesz + 3) & ~3ull;
        uint64_t data = ((uint64_t)n.n_descsz + 3) & ~3ull;
        if (sizeof n + name + data > bytes) return;
        if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == 4 &&
            memcmp(at + sizeof n, "GNU", 4) == 0 && n.n_descsz > 0 &&
            n.n_descsz <= MT_BUILD_ID_MAX) {
            memcpy(identity->build_id, at + sizeof n + name, n.n_descsz);
            identity->build_id_bytes = n.n_descsz;
            return;
        }
        at += sizeof n + name + data;
        bytes -= sizeof n + name + data;
    }
}

static bool read_identity(const elf *f, mt_elf_identity *id) {
    size_t n = f->head.e_phnum;
    if (n == 0 || n > 512 || f->head.e_phentsize != sizeof(ElfW(Phdr))) return false;
    ElfW(Phdr) *headers = copy(f, f->head.e_phoff, n * sizeof *headers);
    if (!headers) return false;
    id->headers = mt_elf_hash_headers(headers, n);
    for (size_t i = 0; i < n && !id->build_id_bytes; i++) {
        if (headers[i].p_type != PT_NOTE) continue;
        uint64_t bytes = headers[i].p_filesz;
        void *notes = bytes <= 65536 ? copy(f, headers[i].p_offset, bytes) : NULL;
        if (!notes) continue;
        mt_elf_build_id(notes, bytes, id);
        mt_memory_unmap(notes, bytes + 1);
    }
    mt_memory_unmap(headers, n * sizeof *headers + 1);
    return true;
}

static bool is_expected(const elf *f, const mt_elf_identity *expected) {
    mt_elf_identity id = {0};
    if (!read_identity(f, &id)) return false;
    if (!expected->build_id_bytes) return id.headers == expected->headers;
    return id.build_id_bytes == expected->build_id_bytes &&
           memcmp(id.build_id, expected->build_id, id.build_id_bytes) == 0;
}

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
static void read_table(mt_symbols *symbols, const elf *f, const ElfW(Shdr) * table,
                       const ElfW(Shdr) * strings, int which) {
    size_t n = table->sh_size / sizeof(ElfW(Sym));
    char *names = copy(f, strings->sh_offset, strings->sh_size);
    if (!names) return;
    symbols->strings[which] = names; /* ends in a 0 of our own */
    symbols->string_bytes[which] = strings->sh_size + 1;
    ElfW(Sym) *entry = copy(f, table->sh_offset, n * sizeof *entry);
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

/* A file with more than 65,279 sections keeps their number in the first one. */
static uint64_t section_count(const elf *f) {
    ElfW(Shdr) first;
    if (f->head.e_shnum) return f->head.e_shnum;
    if (!fetch(f, f->head.e_shoff, &first, sizeof first)) return 0;
    return first.sh_size;
}

static void read_sections(mt_symbols *symbols, const elf *f) {
    uint64_t n = section_count(f);
    if (f->head.e_shentsize != sizeof(ElfW(Shdr)) || n == 0 || n > 1u << 20) return;
    ElfW(Shdr) *section = copy(f, f->head.e_shoff, n * sizeof *section);
    if (!section) return;
    for (uint64_t i = 0; i < n; i++) {
        const ElfW(Shdr) *s = &section[i];
        int which = s->sh_type == SHT_SYMTAB ? 0 : s->sh_type == SHT_DYNSYM ? 1 : -1;
        if (which < 0 || symbols->strings[which] || s->sh_entsize != sizeof(ElfW(Sym)) ||
            s->sh_link >= n || section[s->sh_link].sh_type != SHT_STRTAB)
            continue;
        read_table(symbols, f, s, &section[s->sh_link], which);
    }
    mt_memory_unmap(section, n * sizeof *section + 1);
}

static int by_address(const void *a, const void *b) {
    const mt_symbol *x = a, *y = b;
    if (x->address != y->address) return x->address < y->address ? -1 : 1;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

int mt_symbols_read(mt_symbols *symbols, const char *path, const mt_elf_identity *expected) {
    elf f;
    memset(symbols, 0, sizeof *symbols);
    if (!open_elf(&f, path)) return -1;
    if (!expected || is_expected(&f, expected)) read_sections(symbols, &f);
    close(f.fd);
    mt_memory_sort(symbols->symbol, symbols->n, sizeof(mt_symbol), by_address);
    return symbols->n ? 0 : -1;
}

const char *mt_symbols_find(const mt_symbols *symbols, uint64_t address) {
    size_t lo = 0, hi = symbols->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (symbols->symbol[mid].address <= address) lo = mid + 1;
        else hi = mid;
    }
    /* Back over the symbols that begin at or below the address: some overlap, so the first
     * that does not reach it need not be the last word. */
    const mt_symbol *best = NULL;
    uint64_t nearest = lo ? symbols->symbol[lo - 1].address : 0;
    for (int steps = 0; lo-- > 0 && steps < 32; steps++) {
        const mt_symbol *s = &symbols->symbol[lo];
        if (best && s->address != best->address) break;
        bool covers = s->size ? address - s->address < s->size : s->address == nearest;
        if (!covers) continue;
        if (!best || (s->size != 0) > (best->size != 0) ||
            ((s->size != 0) == (best->size != 0) && s->rank < best->rank))
            best = s;
    }
    return best ? best->name : NULL;
}

void mt_symbols_free(mt_symbols *symbols) {
    mt_memory_unmap(symbols->symbol, symbols->room * sizeof(mt_symbol));
    for (int i = 0; i < 2; i++) mt_memory_unmap(symbols->strings[i], symbols->string_bytes[i]);
    memset(symbols, 0, sizeof *symbols);
}
