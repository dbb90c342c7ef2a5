/* jit_symfile: see the header. */
#include "jit_symfile.h"

#include <string.h>

enum { MODULE_HEADER = 1, RANGE_HEAD = 14, RANGE_BYTES = 16, LINE_HEAD = 10, LINE_BYTES = 12 };

typedef struct {
    char *at;
    size_t left;
} cursor;

typedef struct {
    uint32_t begin, end, lines;
    char *name;
    size_t name_bytes; /* without its 0 */
    const char *line;  /* the first line's record */
} record;

static uint16_t u16(const char *at) {
    uint16_t x;
    return memcpy(&x, at, sizeof x), x;
}

static uint32_t u32(const char *at) {
    uint32_t x;
    return memcpy(&x, at, sizeof x), x;
}

static uint64_t u64(const char *at) {
    uint64_t x;
    return memcpy(&x, at, sizeof x), x;
}

/* Over a record of `fixed` bytes and a text, whose length stands 2 bytes before it at `text`.
 */
static bool skip(cursor *c, size_t fixed, size_t text) {
    if (c->left < fixed) return false;
    size_t n = u16(c->at + text - 2);
    if (n == 0 || n > c->left - fixed || c->at[text + n - 1] != '\0') return false;
    c->at += fixed + n;
    c->left -= fixed + n;
    return true;
}

static bool next_range(cursor *c, record *r) {
    const char *head = c->at;
    if (!skip(c, RANGE_BYTES, RANGE_HEAD)) return false;
    *r = (record){.begin = u32(head),
                  .end = u32(head + 4),
                  .lines = u32(head + 8),
                  .name = c->at - u16(head + 12) - (RANGE_BYTES - RANGE_HEAD),
                  .name_bytes = u16(head + 12) - 1u,
                  .line = c->at};
    for (uint32_t i = 0; i < r->lines; i++)
        if (!skip(c, LINE_BYTES, LINE_HEAD)) return false;
    return true;
}

/* The first range, over the module's name. */
static bool begin(const mt_jit_symfile *file, cursor *c) {
    *c = (cursor){file->bytes, file->size};
    return skip(c, MT_JIT_SYMFILE_LEAST, 26);
}

bool mt_jit_symfile_open(mt_jit_symfile *file, char *bytes, size_t n) {
    cursor c;
    record r;
    if (n < MT_JIT_SYMFILE_LEAST || n > MT_JIT_SYMFILE_MOST || u32(bytes) != MODULE_HEADER)
        return false;
    uint64_t base = u64(bytes + 8);
    *file = (mt_jit_symfile){bytes, n, (uintptr_t)base, u32(bytes + 20), u32(bytes + 16)};
    if (base == 0 || base > UINTPTR_MAX - file->code_size || !begin(file, &c)) return false;
    for (uint32_t i = 0; i < file->ranges; i++)
        if (!next_range(&c, &r)) return false;
    return c.left == 0;
}

uint32_t mt_jit_symfile_ranges(const mt_jit_symfile *file, mt_jit_range *range) {
    cursor c;
    record r;
    uint32_t n = 0, reached = 0;
    bool after_prologue = false;
    if (!begin(file, &c)) return 0;
    for (uint32_t i = 0; i < file->ranges && next_range(&c, &r); i++) {
        if (r.begin < reached || r.begin >= r.end || r.end > file->code_size) continue;
        uintptr_t lo = file->base + r.begin;
        bool is_prologue = mt_jit_cut_prologue(r.name, r.name_bytes);
        if (after_prologue && r.begin == reached && strcmp(range[n - 1].name, r.name) == 0)
            lo = range[--n].lo;
        range[n++] =
            (mt_jit_range){lo, file->base + r.end, r.name, file->base, r.line, r.lines};
        reached = r.end;
        after_prologue = is_prologue;
    }
    return n;
}

/* The last record that begins at or before the instruction: one stands before each call and at
 * the function's beginning; the first may stand before the range, where the padding begins. */
bool mt_jit_symfile_line(const mt_jit_range *range, uintptr_t address, const char **file,
                         uint32_t *line) {
    const char *at = range->lines, *found = NULL;
    uint32_t nearest = 0;
    for (uint32_t i = 0; i < range->line_count; i++, at += LINE_BYTES + u16(at + 8)) {
        uint32_t offset = u32(at);
        if (offset > address - range->base || offset < nearest) continue;
        found = at;
        nearest = offset;
    }
    if (!found || u32(found + 4) == 0) return false;
    *file = found + LINE_HEAD;
    *line = u32(found + 4);
    return true;
}
