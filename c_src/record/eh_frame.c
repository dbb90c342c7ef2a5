/* eh_frame: see the header. Every read stays inside the object. */
#include "eh_frame.h"

#include <stddef.h>
#include <string.h>

/* Declared here to compile with older headers, and weak to run with older C libraries. */
struct found_object {
    unsigned long long int flags;
    void *map_start, *map_end;
    void *link_map;
    void *eh_frame;
    unsigned long long int more[8]; /* a count or a base on some machines, and reserved words */
};
extern int find_object(void *address, struct found_object *result) __asm__("_dl_find_object")
    __attribute__((weak));

bool mt_eh_exists(void) {
    return find_object != NULL;
}

bool mt_eh_find_object(uintptr_t address, mt_eh_object *object) {
    struct found_object found;
    if (find_object((void *)address, &found) != 0) return false;
    object->start = found.map_start;
    object->end = found.map_end;
    object->eh_frame_hdr = found.eh_frame;
    object->map = found.link_map;
    return true;
}

uint64_t mt_cursor_take(mt_cursor *c, size_t n) {
    uint64_t value = 0;
    if (c->bad || (size_t)(c->end - c->at) < n) {
        c->bad = true;
        return 0;
    }
    memcpy(&value, c->at, n); /* little-endian, as both processors run */
    c->at += n;
    return value;
}

uint64_t mt_cursor_uleb(mt_cursor *c) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint64_t byte = mt_cursor_take(c, 1);
        value |= (byte & 0x7f) << shift;
        if (!(byte & 0x80)) return value;
    }
    c->bad = true;
    return 0;
}

int64_t mt_cursor_sleb(mt_cursor *c) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64;) {
        uint64_t byte = mt_cursor_take(c, 1);
        value |= (byte & 0x7f) << shift;
        shift += 7;
        if (byte & 0x80) continue;
        if ((byte & 0x40) && shift < 64) value |= ~0ull << shift;
        return (int64_t)value;
    }
    c->bad = true;
    return 0;
}

void mt_cursor_skip(mt_cursor *c, uint64_t n) {
    if (c->bad || n > (uint64_t)(c->end - c->at)) c->bad = true;
    else c->at += n;
}

/* Pointer encodings, LSB 5, 10.5.1: those that linkers write. */
uintptr_t mt_cursor_encoded(mt_cursor *c, uint8_t encoding) {
    uintptr_t base = 0;
    if ((encoding & 0x70) == 0x10) base = (uintptr_t)c->at; /* pcrel */
    else if (encoding & 0xf0) c->bad = true;
    switch (encoding & 0x0f) {
    case 0x00:
    case 0x04:
    case 0x0c:
        return base + (uintptr_t)mt_cursor_take(c, 8);
    case 0x03:
        return base + (uintptr_t)mt_cursor_take(c, 4);
    case 0x0b:
        return base + (uintptr_t)(int64_t)(int32_t)mt_cursor_take(c, 4);
    default:
        c->bad = true;
        return 0;
    }
}

/* An entry of .eh_frame, after its length; false if it is none. */
static bool entry(const mt_eh_object *o, const uint8_t *at, mt_cursor *c) {
    if (at < o->start || at >= o->end) return false;
    *c = (mt_cursor){at, o->end, false};
    uint64_t n = mt_cursor_take(c, 4);
    if (n == 0xffffffff) n = mt_cursor_take(c, 8);
    if (c->bad || n < 4 || n > (uint64_t)(c->end - c->at)) return false;
    c->end = c->at + n;
    return true;
}

static bool read_cie(const mt_eh_object *o, const uint8_t *at, mt_cie *out) {
    mt_cursor c;
    if (!entry(o, at, &c) || mt_cursor_take(&c, 4) != 0) return false;
    uint64_t version = mt_cursor_take(&c, 1);
    char augmentation[8] = {0};
    for (size_t i = 0;; i++) {
        char letter = (char)mt_cursor_take(&c, 1);
        if (letter == '\0') break;
        if (i == sizeof augmentation - 1) return false;
        augmentation[i] = letter;
    }
    *out = (mt_cie){.code_align = mt_cursor_uleb(&c), .data_align = mt_cursor_sleb(&c)};
    out->return_register = version == 1 ? mt_cursor_take(&c, 1) : mt_cursor_uleb(&c);
    if (c.bad || (version != 1 && version != 3)) return false;
    const uint8_t *after = NULL;
    for (const char *a = augmentation; *a; a++) switch (*a) {
        case 'z': {
            uint64_t n = mt_cursor_uleb(&c);
            out->augmented = true;
            if (c.bad || n > (uint64_t)(c.end - c.at)) return false;
            after = c.at + n;
            break;
        }
        case 'R':
            out->encoding = (uint8_t)mt_cursor_take(&c, 1);
            break;
        case 'P': {
            uint8_t encoding = (uint8_t)mt_cursor_take(&c, 1);
            mt_cursor_encoded(&c, encoding & 0x7f);
            break;
        }
        case 'L':
            mt_cursor_take(&c, 1);
            break;
        case 'S':
            out->signal = true;
            break;
        case 'B':
        case 'G':
            break; /* arm64: return addresses are signed with key B; the frame is tagged */
        default:
            return false;
        }
    if (after) c.at = after;
    out->program = c;
    return !c.bad;
}

/* The entry of the sorted table in .eh_frame_hdr (LSB 5, 10.6.2) that begins at or below. */
static const uint8_t *find_fde(const mt_eh_object *o, uintptr_t pc) {
    const uint8_t *hdr = o->eh_frame_hdr;
    if (!hdr || hdr < o->start || o->end - hdr < 12) return NULL;
    if (hdr[0] != 1 || hdr[2] != 0x03 || hdr[3] != 0x3b) return NULL; /* as every linker's */
    mt_cursor c = {hdr + 4, o->end, false};
    mt_cursor_encoded(&c, hdr[1]);
    uint64_t n = mt_cursor_take(&c, 4);
    if (c.bad || n == 0 || n > (uint64_t)(c.end - c.at) / 8) return NULL;
    const uint8_t *table = c.at;
    uint64_t lo = 0, hi = n;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        int32_t place;
        memcpy(&place, table + mid * 8, 4);
        if ((uintptr_t)hdr + (uintptr_t)(intptr_t)place <= pc) lo = mid + 1;
        else hi = mid;
    }
    if (lo == 0) return NULL;
    int32_t offset;
    memcpy(&offset, table + (lo - 1) * 8 + 4, 4);
    return hdr + offset;
}

/* Where the segments of an object have gaps between them the C library tells of each on its
 * own, and the tables lie in another one than the code. */
static bool find_tables(const mt_eh_object *code, mt_eh_object *tables) {
    const uint8_t *hdr = code->eh_frame_hdr;
    *tables = *code;
    if (hdr >= code->start && hdr < code->end) return true;
    return hdr && find_object && mt_eh_find_object((uintptr_t)hdr, tables) &&
           tables->map == code->map;
}

bool mt_eh_frame_find(const mt_eh_object *code, uintptr_t place, mt_fde *fde) {
    mt_cursor c;
    mt_eh_object tables, *o = &tables;
    if (!find_tables(code, o)) return false;
    const uint8_t *at = find_fde(o, place);
    if (!at || !entry(o, at, &c)) return false;
    const uint8_t *id = c.at;
    uint64_t back = mt_cursor_take(&c, 4);
    if (back == 0 || back > (uint64_t)(id - o->start)) return false;
    if (!read_cie(o, id - back, &fde->about)) return false;
    fde->begin = mt_cursor_encoded(&c, fde->about.encoding);
    fde->end = fde->begin + mt_cursor_encoded(&c, fde->about.encoding & 0x0f);
    if (c.bad || place < fde->begin || place >= fde->end) return false;
    if (fde->about.augmented) mt_cursor_skip(&c, mt_cursor_uleb(&c));
    fde->program = c;
    return !c.bad;
}
