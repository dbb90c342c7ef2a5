/* debug_file: builds the few paths where a debug file may lie, and takes the first that fits.
 */
#include "debug_file.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"
#include "xz.h"

#define STANDARD "/usr/lib/debug"

enum { MAX_LINK = 4096, MAX_PACKED = 64 << 20, MAX_UNPACKED = 256 << 20, CRC_BLOCK = 16384 };

/* What a file must be to be taken. */
typedef struct {
    const mt_elf *object;           /* it must not be this one; may be NULL */
    const mt_elf_identity *id;      /* may be NULL */
    const uint32_t *crc;            /* may be NULL: then only the build id will do */
    const char *search_path, *name; /* name: the debuglink's */
} wanted;

/* CRC-32 of the file (ISO 3309), as .gnu_debuglink wants it. */
static bool has_crc(const mt_elf *f, uint32_t wanted_crc) {
    uint32_t table[256], crc = ~0u;
    unsigned char block[CRC_BLOCK];
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
    }
    for (uint64_t at = 0; at < f->bytes;) {
        uint64_t n = f->bytes - at < sizeof block ? f->bytes - at : sizeof block;
        if (!mt_elf_fetch(f, at, block, n)) return false;
        for (uint64_t i = 0; i < n; i++) crc = crc >> 8 ^ table[(crc ^ block[i]) & 0xff];
        at += n;
    }
    return ~crc == wanted_crc;
}

static bool is_same_file(const mt_elf *a, const mt_elf *b) {
    struct stat x, y;
    return a->fd >= 0 && b->fd >= 0 && fstat(a->fd, &x) == 0 && fstat(b->fd, &y) == 0 &&
           x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static bool belongs(const mt_elf *f, const wanted *w) {
    if (w->object && is_same_file(f, w->object)) return false;
    if (w->id && w->id->build_id_bytes && f->identity.build_id_bytes)
        return mt_elf_is(f, w->id);
    return w->crc && has_crc(f, *w->crc);
}

static int take(mt_elf *found, const char *path, const wanted *w) {
    if (mt_elf_open(found, path) != 0) return -1;
    if (belongs(found, w)) return 0;
    mt_elf_close(found);
    return -1;
}

/* The next folder of *path, or at its end the standard one, or false. */
static bool next_root(const char **path, char root[PATH_MAX]) {
    while (*path) {
        const char *from = *path;
        size_t n = strcspn(from, ":");
        *path = from[n] ? from + n + 1 : NULL;
        if (from[0] != '/' || n >= PATH_MAX) continue;
        memcpy(root, from, n);
        root[n] = '\0';
        return true;
    }
    return false;
}

/* Calls `try` for each root until it finds something. */
static int each_root(mt_elf *found, const wanted *w, const char *folder,
                     int (*try)(mt_elf *, const wanted *, const char *root,
                                const char *folder)) {
    char root[PATH_MAX];
    for (const char *rest = w->search_path; next_root(&rest, root);)
        if (try(found, w, root, folder) == 0) return 0;
    return try(found, w, STANDARD, folder);
}

static bool fits(int n) {
    return n > 0 && n < PATH_MAX;
}

static int by_build_id(mt_elf *found, const wanted *w, const char *root, const char *folder) {
    char hex[2 * MT_BUILD_ID_MAX + 1], path[PATH_MAX];
    (void)folder;
    for (uint32_t i = 0; i < w->id->build_id_bytes; i++)
        snprintf(hex + 2 * i, 3, "%02x", w->id->build_id[i]);
    int n = snprintf(path, sizeof path, "%s/.build-id/%.2s/%s.debug", root, hex, hex + 2);
    return fits(n) ? take(found, path, w) : -1;
}

static int below_root(mt_elf *found, const wanted *w, const char *root, const char *folder) {
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s%s/%s", root, folder, w->name);
    return fits(n) ? take(found, path, w) : -1;
}

/* Beside the object, and wherever else its folder leads. */
static int by_name(mt_elf *found, const wanted *w, const char *object_path) {
    char folder[PATH_MAX], path[PATH_MAX];
    const char *slash = strrchr(object_path, '/');
    if (!slash || slash - object_path >= PATH_MAX) return -1;
    memcpy(folder, object_path, (size_t)(slash - object_path));
    folder[slash - object_path] = '\0';
    if (fits(snprintf(path, sizeof path, "%s/%s", folder, w->name)) &&
        take(found, path, w) == 0)
        return 0;
    if (fits(snprintf(path, sizeof path, "%s/.debug/%s", folder, w->name)) &&
        take(found, path, w) == 0)
        return 0;
    return folder[0] == '/' ? each_root(found, w, folder, below_root) : -1;
}

/* The name under which the kernel has an open file: without links, and without malloc. */
static bool real_path(const mt_elf *f, char path[PATH_MAX]) {
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", f->fd);
    ssize_t n = f->fd >= 0 ? readlink(link, path, PATH_MAX - 1) : -1;
    path[n > 0 ? n : 0] = '\0';
    return path[0] == '/';
}

/* A copy of a section that holds a name and something behind it, or NULL. */
static char *read_link(const mt_elf *f, const char *section, size_t *bytes) {
    const ElfW(Shdr) *s = mt_elf_section(f, section);
    if (!s || s->sh_size > MAX_LINK || (s->sh_flags & SHF_COMPRESSED)) return NULL;
    *bytes = s->sh_size;
    return mt_elf_copy(f, s->sh_offset, s->sh_size);
}

/* A name that is a path would lead anywhere: it is none that a linker writes. */
static int by_link(mt_elf *found, const wanted *object, const char *path) {
    char real[PATH_MAX];
    uint32_t crc;
    size_t bytes, end;
    char *link = read_link(object->object, ".gnu_debuglink", &bytes);
    int result = -1;
    if (!link) return -1;
    end = strnlen(link, bytes);
    if (end > 0 && end <= NAME_MAX && !strchr(link, '/') &&
        ((end + 4) & ~(size_t)3) + sizeof crc <= bytes) {
        memcpy(&crc, link + ((end + 4) & ~(size_t)3), sizeof crc);
        wanted w = *object;
        w.crc = &crc;
        w.name = link;
        result = by_name(found, &w, path);
        if (result != 0 && real_path(w.object, real) && strcmp(real, path) != 0)
            result = by_name(found, &w, real);
    }
    mt_memory_unmap(link, bytes + 1);
    return result;
}

int mt_debug_file_find(mt_elf *found, const mt_elf *object, const char *path,
                       const mt_elf_identity *identity, const char *search_path) {
    wanted w = {object, object ? &object->identity : identity, NULL, search_path, NULL};
    if (w.id && w.id->build_id_bytes >= 2 && each_root(found, &w, "", by_build_id) == 0)
        return 0;
    return object ? by_link(found, &w, path) : -1;
}

int mt_debug_file_embedded(mt_elf *found, const mt_elf *object) {
    const ElfW(Shdr) *s = mt_elf_section(object, ".gnu_debugdata");
    if (!s || s->sh_size > MAX_PACKED) return -1;
    size_t bytes;
    char *packed = mt_elf_copy(object, s->sh_offset, s->sh_size);
    char *image = packed ? mt_xz_decode(packed, s->sh_size, MAX_UNPACKED, &bytes) : NULL;
    mt_memory_unmap(packed, s->sh_size + 1);
    return image ? mt_elf_open_image(found, image, bytes) : -1;
}

int mt_debug_file_shared(mt_elf *found, const mt_elf *debug, const char *search_path) {
    char path[2 * PATH_MAX];
    mt_elf_identity id = {0};
    size_t bytes;
    char *link = read_link(debug, ".gnu_debugaltlink", &bytes);
    int result = -1;
    if (!link) return -1;
    size_t end = strnlen(link, bytes);
    if (end > 0 && end + 2 < bytes && bytes - end - 1 <= MT_BUILD_ID_MAX) {
        wanted w = {debug, &id, NULL, search_path, NULL};
        id.build_id_bytes = (uint32_t)(bytes - end - 1);
        memcpy(id.build_id, link + end + 1, id.build_id_bytes);
        char *slash = real_path(debug, path) ? strrchr(path, '/') + 1 : path;
        snprintf(link[0] == '/' ? path : slash, PATH_MAX, "%s", link);
        result = take(found, path, &w);
        if (result != 0) result = each_root(found, &w, "", by_build_id);
        if (result != 0 && strncmp(link, STANDARD "/", sizeof STANDARD) == 0) {
            w.name = link + sizeof STANDARD;
            result = each_root(found, &w, "", below_root);
        }
    }
    mt_memory_unmap(link, bytes + 1);
    return result;
}
