/* plain: see the header. UTF-8 as in RFC 3629: no overlong forms, no surrogates. */
#include "plain.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Bytes of the character at `s`, which has `n` bytes, or 0 if it is none; its number. */
static size_t character(const unsigned char *s, size_t n, uint32_t *number) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t bytes = s[0] < 0x80    ? 1
                   : s[0] < 0xc2  ? 0
                   : s[0] < 0xe0  ? 2
                   : s[0] < 0xf0  ? 3
                   : s[0] <= 0xf4 ? 4
                                  : 0;
    if (bytes == 0 || bytes > n) return 0;
    uint32_t c = bytes == 1 ? s[0] : s[0] & (0x7fu >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    *number = c;
    return c >= least[bytes] && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff) ? bytes : 0;
}

static bool harmless(uint32_t c) {
    return c >= 0x20 && !(c >= 0x7f && c < 0xa0) && c != 0x61c && c != 0x200e && c != 0x200f &&
           !(c >= 0x2028 && c <= 0x202e) && !(c >= 0x2066 && c <= 0x2069);
}

/* What the next character becomes, at most 16 bytes; the number of bytes it takes of `s`. */
static size_t next(const unsigned char *s, size_t n, char out[17]) {
    uint32_t c = 0;
    size_t bytes = character(s, n, &c);
    if (bytes && harmless(c)) {
        memcpy(out, s, bytes);
        out[bytes] = 0;
        return bytes;
    }
    if (bytes == 0) bytes = 1;
    for (size_t i = 0; i < bytes; i++) snprintf(out + 4 * i, 5, "\\x%02x", s[i]);
    return bytes;
}

/* As much of the n bytes as fits `room`; the bytes of `s` that were left. */
static size_t write(char *out, size_t room, const unsigned char *s, size_t n, size_t *wrote) {
    char piece[17];
    *wrote = 0;
    while (n > 0) {
        size_t took = next(s, n, piece), length = strlen(piece);
        if (*wrote + length >= room) break;
        memcpy(out + *wrote, piece, length);
        *wrote += length;
        s += took;
        n -= took;
    }
    out[*wrote] = 0;
    return n;
}

size_t mt_plain(char *out, size_t room, const char *text) {
    const unsigned char *s = (const unsigned char *)text;
    size_t n = strlen(text), head, tail = 0;
    if (write(out, room, s, n, &head) == 0) return head;
    size_t half = (room - 3) / 2, rest = room - half - 3 + 1;
    write(out, half, s, n, &head);
    memcpy(out + head, "...", 3);
    size_t from = n > rest ? n - rest : 0;
    while (from < n && (s[from] & 0xc0) == 0x80) from++;
    while (from < n && write(out + head + 3, room - head - 3, s + from, n - from, &tail) > 0)
        from++;
    return head + 3 + tail;
}
