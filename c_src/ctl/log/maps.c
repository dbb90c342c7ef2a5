/* log_maps: lines of proc(5). */
#include "maps.h"

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/commands.h"
#include "out.h"
#include "name/elf_file.h"

static bool open_in(mt_elf *elf, const char *folders, const char *path) {
    const char *name = strrchr(path, '/');
    for (const char *f = folders; name && f && *f;) {
        size_t n = strcspn(f, ":");
        char *full = NULL;
        if (asprintf(&full, "%.*s%s", (int)n, f, name) < 0) mt_out_need(NULL);
        bool opened = mt_elf_open(elf, full) == 0;
        free(full);
        if (opened) return true;
        f += n + (f[n] == ':');
    }
    return mt_elf_open(elf, path) == 0;
}

/* The address in the file of what stands at this offset, and its build id. Without the file:
 * the offset, as in most libraries. */
static uint64_t in_file(const char *path, const char *folders, uint64_t offset,
                        mt_elf_identity *identity) {
    mt_elf elf;
    uint64_t address = offset;
    *identity = (mt_elf_identity){0};
    if (!open_in(&elf, folders, path)) return address;
    *identity = elf.identity;
    for (unsigned i = 0; i < elf.head.e_phnum; i++) {
        ElfW(Phdr) p;
        uint64_t at = elf.head.e_phoff + (uint64_t)i * sizeof p;
        if (!mt_elf_fetch(&elf, at, &p, sizeof p)) break;
        uint64_t page = p.p_offset & ~0xfffull;
        if (p.p_type == PT_LOAD && page <= offset && offset < p.p_offset + p.p_filesz)
            address = offset - p.p_offset + p.p_vaddr;
    }
    mt_elf_close(&elf);
    return address;
}

int mt_logged_maps_read(mt_names *names, const char *path, const char *folders) {
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t room = 0, lines = 0;
    if (!file) {
        mt_say("%s cannot be read: %s", path, strerror(errno));
        return -1;
    }
    while (getline(&line, &room, file) > 0) {
        unsigned long long lo, hi, offset;
        char mode[5];
        int name = 0;
        line[strcspn(line, "\n")] = 0;
        if (sscanf(line, "%llx-%llx %4s %llx %*s %*s %n", &lo, &hi, mode, &offset, &name) < 4)
            continue;
        lines++;
        if (!strchr(mode, 'x') || name == 0 || line[name] != '/') continue;
        mt_elf_identity identity;
        uint64_t address = in_file(line + name, folders, offset, &identity);
        mt_names_object(names, lo, hi, lo - address, 0, 0, line + name, identity.build_id,
                        identity.build_id_bytes);
    }
    free(line);
    fclose(file);
    if (lines == 0) mt_say("%s is no copy of a /proc/PID/maps", path);
    return lines ? 0 : -1;
}
