/* elf_file: checks first, then reads. */
#include "elf_file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"

/* No table in the wild comes near these; a lying header must not take the memory. */
#define MAX_COPY ((uint64_t)512 << 20)
enum { MAX_HEADERS = 512, MAX_NOTES = 65536, MAX_SECTIONS = 1 << 20 };

#define CLASS (__ELF_NATIVE_CLASS == 64 ? ELFCLASS64 : ELFCLASS32)
#define ORDER (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB)

bool mt_elf_fetch(const mt_elf *f, uint64_t offset, void *to, uint64_t n) {
    if (offset > f->bytes || n > f->bytes - offset) return false;
    if (f->image) {
        memcpy(to, f->image + offset, n);
        return true;
    }
    for (uint64_t done = 0; done < n;) {
        ssize_t got = pread(f->fd, (char *)to + done, n - done, (off_t)(offset + done));
        if (got <= 0) return false;
        done += (uint64_t)got;
    }
    return true;
}

void *mt_elf_copy(const mt_elf *f, uint64_t offset, uint64_t n) {
    if (n > MAX_COPY || offset > f->bytes || n > f->bytes - offset) return NULL;
    char *memory = mt_memory_map(n + 1);
    if (memory && !mt_elf_fetch(f, offset, memory, n)) {
        mt_memory_unmap(memory, n + 1);
        return NULL;
    }
    return memory;
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

static void read_notes(mt_elf *f, uint64_t offset, uint64_t bytes) {
    void *notes = bytes <= MAX_NOTES ? mt_elf_copy(f, offset, bytes) : NULL;
    if (!notes) return;
    f->identity.build_id_bytes = mt_build_id_find(notes, bytes, f->identity.build_id);
    mt_memory_unmap(notes, bytes + 1);
}

/* A separate debug file keeps its notes, but the segment that says where may lie. */
static void read_identity(mt_elf *f) {
    size_t n = f->head.e_phnum;
    if (n > 0 && n <= MAX_HEADERS && f->head.e_phentsize == sizeof(ElfW(Phdr))) {
        ElfW(Phdr) *p = mt_elf_copy(f, f->head.e_phoff, n * sizeof *p);
        if (p) f->identity.headers = mt_elf_hash_headers(p, n);
        for (size_t i = 0; p && i < n && !f->identity.build_id_bytes; i++)
            if (p[i].p_type == PT_NOTE) read_notes(f, p[i].p_offset, p[i].p_filesz);
        mt_memory_unmap(p, n * sizeof *p + 1);
    }
    for (uint64_t i = 0; i < f->sections && !f->identity.build_id_bytes; i++)
        if (f->section[i].sh_type == SHT_NOTE)
            read_notes(f, f->section[i].sh_offset, f->section[i].sh_size);
}

bool mt_elf_is(const mt_elf *f, const mt_elf_identity *expected) {
    const mt_elf_identity *id = &f->identity;
    if (!expected->build_id_bytes) return id->headers && id->headers == expected->headers;
    return id->build_id_bytes == expected->build_id_bytes &&
           memcmp(id->build_id, expected->build_id, id->build_id_bytes) == 0;
}

/* A file with more than 65,279 sections keeps their number, and the index of the section of
 * names, in the first one. */
static void read_sections(mt_elf *f) {
    ElfW(Shdr) first;
    if (f->head.e_shentsize != sizeof first ||
        !mt_elf_fetch(f, f->head.e_shoff, &first, sizeof first))
        return;
    uint64_t n = f->head.e_shnum ? f->head.e_shnum : first.sh_size;
    uint64_t names = f->head.e_shstrndx == SHN_XINDEX ? first.sh_link : f->head.e_shstrndx;
    if (n == 0 || n > MAX_SECTIONS) return;
    f->section = mt_elf_copy(f, f->head.e_shoff, n * sizeof first);
    if (!f->section) return;
    f->sections = n;
    if (names >= n || f->section[names].sh_type != SHT_STRTAB) return;
    f->name_bytes = f->section[names].sh_size;
    f->names = mt_elf_copy(f, f->section[names].sh_offset, f->name_bytes);
}

static int read_headers(mt_elf *f) {
    if (!mt_elf_fetch(f, 0, &f->head, sizeof f->head) ||
        memcmp(f->head.e_ident, ELFMAG, SELFMAG) != 0 || f->head.e_ident[EI_CLASS] != CLASS ||
        f->head.e_ident[EI_DATA] != ORDER) {
        mt_elf_close(f);
        return -1;
    }
    read_sections(f);
    read_identity(f);
    return 0;
}

/* A pipe or a device under this name must neither block us nor be read; opening some devices
 * already does something, so it is looked at first. */
int mt_elf_open(mt_elf *f, const char *path) {
    struct stat st;
    memset(f, 0, sizeof *f);
    f->fd = -1;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) return -1;
    f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (f->fd < 0) return -1;
    if (fstat(f->fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size <= 0) {
        mt_elf_close(f);
        return -1;
    }
    f->bytes = (uint64_t)st.st_size;
    return read_headers(f);
}

int mt_elf_open_image(mt_elf *f, void *image, size_t bytes) {
    memset(f, 0, sizeof *f);
    f->fd = -1;
    f->image = image;
    f->bytes = bytes;
    return read_headers(f);
}

void mt_elf_close(mt_elf *f) {
    if (f->fd >= 0) close(f->fd);
    mt_memory_unmap(f->image, f->bytes);
    mt_memory_unmap(f->section, f->sections * sizeof *f->section + 1);
    mt_memory_unmap(f->names, f->name_bytes + 1);
    memset(f, 0, sizeof *f);
    f->fd = -1;
}

const ElfW(Shdr) * mt_elf_section(const mt_elf *f, const char *name) {
    for (uint64_t i = 0; f->names && i < f->sections; i++) {
        const ElfW(Shdr) *s = &f->section[i];
        if (s->sh_type != SHT_NOBITS && s->sh_name < f->name_bytes &&
            strcmp(f->names + s->sh_name, name) == 0)
            return s;
    }
    return NULL;
}

bool mt_elf_has(const mt_elf *f, uint32_t type) {
    for (uint64_t i = 0; i < f->sections; i++)
        if (f->section[i].sh_type == type) return true;
    return false;
}
