/* aliases: see the header. proc(5) has the format of a line. */
#include "aliases.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

typedef struct mt_alias mapping;

/* Reads a number in base 10 or 16 and moves on behind it. */
static uint64_t number(const char **at, unsigned base) {
    uint64_t n = 0;
    for (;; ++*at) {
        unsigned char c = (unsigned char)**at;
        unsigned digit = c >= '0' && c <= '9'   ? c - '0'
                         : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                                : 99;
        if (digit >= base) return n;
        n = n * base + digit;
    }
}

static bool skip(const char **at, char c) {
    return **at == c && ++*at;
}

/* lo-hi rwxs offset major:minor inode path */
static bool parse(const char *line, mapping *m, bool *shared) {
    m->lo = number(&line, 16);
    if (!skip(&line, '-')) return false;
    m->hi = number(&line, 16);
    if (!skip(&line, ' ') || strnlen(line, 5) < 5) return false;
    m->writes = line[1] == 'w';
    m->executes = line[2] == 'x';
    *shared = line[3] == 's';
    line += 5;
    m->offset = number(&line, 16);
    if (!skip(&line, ' ')) return false;
    uint64_t device = number(&line, 16) << 20;
    if (!skip(&line, ':')) return false;
    device |= number(&line, 16);
    if (!skip(&line, ' ')) return false;
    uint64_t inode = number(&line, 10);
    m->file = inode && *shared ? device << 40 ^ inode : 0;
    return m->lo < m->hi;
}

void mt_aliases_note(mt_aliases *aliases, const char *line) {
    mapping m;
    bool shared;
    if (aliases->n < MT_ALIASES && parse(line, &m, &shared) &&
        (m.executes || (shared && m.writes)))
        aliases->map[aliases->n++] = m;
}

/* Lines are longer than the buffer only by their paths, which do not matter. */
bool mt_aliases_read(mt_aliases *aliases) {
    char buffer[4096], line[160];
    size_t n = 0;
    ssize_t got;
    int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    aliases->n = 0;
    if (file < 0) return false;
    while ((got = read(file, buffer, sizeof buffer)) > 0 || (got < 0 && errno == EINTR))
        for (ssize_t i = 0; i < got; i++) {
            if (buffer[i] != '\n') {
                if (n < sizeof line - 1) line[n++] = buffer[i];
                continue;
            }
            line[n] = '\0';
            mt_aliases_note(aliases, line);
            n = 0;
        }
    close(file);
    return got == 0;
}

static const mapping *holding(const mt_aliases *aliases, uintptr_t address) {
    for (uint32_t i = 0; i < aliases->n; i++)
        if (aliases->map[i].executes && address >= aliases->map[i].lo &&
            address < aliases->map[i].hi)
            return &aliases->map[i];
    return NULL;
}

bool mt_aliases_is_code(const mt_aliases *aliases, uintptr_t address) {
    return holding(aliases, address) != NULL;
}

uintptr_t mt_aliases_find(const mt_aliases *aliases, uintptr_t address) {
    const mapping *code = holding(aliases, address);
    if (!code) return 0;
    if (code->writes) return address;
    uint64_t at = code->offset + (address - code->lo);
    for (uint32_t i = 0; i < aliases->n && code->file; i++) {
        const mapping *m = &aliases->map[i];
        if (m->writes && m->file == code->file && at >= m->offset &&
            at - m->offset < m->hi - m->lo)
            return m->lo + (at - m->offset);
    }
    return 0;
}
