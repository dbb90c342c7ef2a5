/* mapped: see the header. */
#include "mapped.h"

#include <elf.h>
#include <link.h>
#include <string.h>

/* Up to a character that is no digit of this base; false if that is not `end`. */
static bool number(const char **at, const char *limit, unsigned base, char end, uint64_t *n) {
    const char *begin = *at;
    *n = 0;
    for (; *at < limit; (*at)++) {
        char c = **at;
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                : 16;
        if (digit >= base) break;
        *n = *n * base + digit;
    }
    if (*at == begin || *at == limit || **at != end) return false;
    (*at)++;
    return true;
}

bool mt_mapped_parse(const char *line, size_t bytes, mt_mapped *m) {
    const char *at = line, *limit = line + bytes;
    uint64_t major, minor;
    if (!number(&at, limit, 16, '-', &m->lo) || !number(&at, limit, 16, ' ', &m->hi))
        return false;
    if (limit - at < 5 || at[4] != ' ' || m->hi <= m->lo) return false;
    m->executable = at[2] == 'x';
    at += 5;
    if (!number(&at, limit, 16, ' ', &m->offset) || !number(&at, limit, 16, ':', &major) ||
        !number(&at, limit, 16, ' ', &minor))
        return false;
    m->device = major << 32 | minor;
    if (!number(&at, limit, 10, ' ', &m->inode)) {
        if (at != limit) return false; /* some kernels end the line there */
        m->inode = 0;
    }
    while (at < limit && *at == ' ') at++;
    m->path = at;
    m->path_bytes = (size_t)(limit - at);
    return true;
}

static bool begins(const mt_mapped *m, const char *with) {
    size_t n = strlen(with);
    return m->path_bytes >= n && memcmp(m->path, with, n) == 0;
}

/* Code that was written into memory has such a name where it is mapped twice. */
static bool is_file(const mt_mapped *m) {
    return m->inode != 0 && begins(m, "/") && !begins(m, "/memfd:") && !begins(m, "/dev/") &&
           !begins(m, "/SYSV") && !begins(m, "/anon_hugepage");
}

void mt_mapped_path(const mt_mapped *m, char *path, size_t room) {
    static const char deleted[] = " (deleted)";
    size_t n = is_file(m) ? m->path_bytes : 0, gone = sizeof deleted - 1;
    if (n > gone && memcmp(m->path + n - gone, deleted, gone) == 0) n -= gone;
    if (n < room) {
        memcpy(path, m->path, n);
        path[n] = '\0';
    } else {
        memcpy(path, "...", 3);
        memcpy(path + 3, m->path + n - (room - 4), room - 4);
        path[room - 1] = '\0';
    }
}

static void read_build_id(const mt_peek *peek, uint64_t base, const ElfW(Phdr) * note,
                          void *notes, size_t n, mt_mapped_file *file) {
    if (note->p_filesz < n) n = note->p_filesz;
    if (mt_peek_copy(peek, (uintptr_t)(base + note->p_vaddr), notes, n))
        file->build_id_bytes = mt_build_id_find(notes, n, file->build_id);
}

static bool holds(const ElfW(Phdr) * p, const mt_mapped *code) {
    return p->p_type == PT_LOAD && p->p_flags & PF_X &&
           p->p_offset < code->offset + (code->hi - code->lo) &&
           code->offset < p->p_offset + p->p_filesz;
}

/* What is added to addresses of the file where its header is mapped: the code may be there once
 * more, elsewhere. */
static uint64_t base_at(uint64_t head, const ElfW(Phdr) * p, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (p[i].p_type == PT_LOAD && p[i].p_offset < 4096)
            return head - (p[i].p_vaddr - p[i].p_offset);
    return head;
}

bool mt_mapped_file_read(const mt_peek *peek, uint64_t head, const mt_mapped *code,
                         mt_mapped_scratch *scratch, mt_mapped_file *file) {
    ElfW(Ehdr) e;
    ElfW(Phdr) *p = (void *)scratch->headers;
    uint32_t most = (uint32_t)(sizeof scratch->headers / (sizeof *p));
    bool found = false;
    memset(file, 0, sizeof *file);
    file->base = code->lo - code->offset;
    if (!mt_peek_copy(peek, (uintptr_t)head, &e, sizeof e) ||
        memcmp(e.e_ident, ELFMAG, SELFMAG) != 0 || e.e_phentsize != sizeof *p)
        return false;
    if (e.e_ident[EI_CLASS] != (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32)) return false;
    uint32_t n = e.e_phnum < most ? e.e_phnum : most;
    if (!mt_peek_copy(peek, (uintptr_t)(head + e.e_phoff), p, n * sizeof *p)) return false;
    for (uint32_t i = 0; i < n && !found; i++) {
        if (!holds(&p[i], code)) continue;
        file->base += p[i].p_offset - p[i].p_vaddr;
        found = true;
    }
    uint64_t base = base_at(head, p, n);
    file->apart = file->base != base;
    for (uint32_t i = 0; found && i < n && !file->build_id_bytes; i++)
        if (p[i].p_type == PT_NOTE)
            read_build_id(peek, base, &p[i], scratch->notes, sizeof scratch->notes, file);
    return found;
}
