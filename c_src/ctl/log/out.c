/* log_out: buffered output, and escaping. */
#include "out.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/commands.h"
#include "ctl/show/sizes.h"

enum { PIECE = 1 << 16 };

void *mt_out_need(void *pointer) {
    if (pointer) return pointer;
    mt_say("there is not enough memory");
    exit(MT_EXIT_FAILED);
}

void *mt_out_grow(void *array, size_t n, size_t *room, size_t size) {
    if (n < *room) return array;
    size_t more = *room ? *room * 2 : 64;
    array = mt_out_need(reallocarray(array, more, size));
    *room = more;
    return array;
}

void mt_out_open(mt_out *text, int fd) {
    *text = (mt_out){.bytes = NULL, .room = fd < 0 ? 256 : PIECE, .fd = fd};
    text->bytes = mt_out_need(malloc(text->room));
}

void mt_out_flush(mt_out *text) {
    for (size_t at = 0; at < text->used;) {
        ssize_t n = write(text->fd, text->bytes + at, text->used - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EPIPE) _exit(0);
        if (n < 0) {
            mt_say("the output cannot be written: %s", strerror(errno));
            _exit(MT_EXIT_FAILED);
        }
        at += (size_t)n;
    }
    text->used = 0;
}

void mt_out_close(mt_out *text) {
    if (text->fd >= 0) mt_out_flush(text);
    free(text->bytes);
    text->bytes = NULL;
}

/* Room for n more bytes, at most PIECE. */
static char *ready(mt_out *text, size_t n) {
    if (text->room - text->used < n) {
        if (text->fd >= 0) mt_out_flush(text);
        else {
            text->room = text->room * 2 + n;
            text->bytes = mt_out_need(realloc(text->bytes, text->room));
        }
    }
    return text->bytes + text->used;
}

void mt_out_put(mt_out *text, const char *bytes, size_t n) {
    for (size_t part; n > 0; bytes += part, n -= part) {
        part = n < PIECE ? n : PIECE;
        memcpy(ready(text, part), bytes, part);
        text->used += part;
    }
}

void mt_out_str(mt_out *text, const char *string) {
    mt_out_put(text, string, strlen(string));
}

void mt_out_print(mt_out *text, const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (n > 0) mt_out_put(text, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

void mt_out_number(mt_out *text, uint64_t number) {
    char digits[20], *d = digits + sizeof digits;
    do *--d = (char)('0' + number % 10);
    while (number /= 10);
    mt_out_put(text, d, (size_t)(digits + sizeof digits - d));
}

void mt_out_hex(mt_out *text, uint64_t number) {
    char digits[18], *d = digits + sizeof digits;
    do *--d = "0123456789abcdef"[number & 15];
    while (number >>= 4);
    *--d = 'x';
    *--d = '0';
    mt_out_put(text, d, (size_t)(digits + sizeof digits - d));
}

/* The bytes of the character at s, 0 if it is none of UTF-8 (RFC 3629); its number in *c. */
static unsigned character(const unsigned char *s, uint32_t *c) {
    *c = *s;
    if (*s < 0x80) return 1;
    unsigned n = *s >= 0xf0 && *s < 0xf5 ? 4 : *s >= 0xe0 && *s < 0xf0 ? 3 : 2;
    if (*s < 0xc2 || *s >= 0xf5) return 0;
    *c &= 0x7fu >> n;
    for (unsigned i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
        *c = *c << 6 | (s[i] & 0x3fu);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    return *c < least[n] || *c > 0x10ffff || (*c >= 0xd800 && *c < 0xe000) ? 0 : n;
}

/* Whether a terminal may take it for more than a character: controls, and what changes the
 * direction of the text around it. */
static int is_control(uint32_t c) {
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x200e || c == 0x200f || c == 0x2028 ||
           c == 0x2029 || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

#define UNKNOWN "\xef\xbf\xbd"

void mt_out_json(mt_out *text, const char *name) {
    const unsigned char *s = (const unsigned char *)name;
    for (unsigned n; *s; s += n ? n : 1) {
        uint32_t c;
        n = character(s, &c);
        if (n == 0) mt_out_str(text, UNKNOWN);
        else if (c == '"' || c == '\\') mt_out_put(text, (char[]){'\\', (char)c}, 2);
        else if (is_control(c)) mt_out_print(text, "\\u%04x", c);
        else mt_out_put(text, (const char *)s, n);
    }
}

void mt_out_plain(mt_out *text, const char *name) {
    const unsigned char *s = (const unsigned char *)name;
    for (unsigned n; *s; s += n ? n : 1) {
        uint32_t c;
        n = character(s, &c);
        if (n == 0 || is_control(c)) mt_out_str(text, UNKNOWN);
        else mt_out_put(text, (const char *)s, n);
    }
}

void mt_out_quoted(mt_out *text, const char *name) {
    mt_out_put(text, "\"", 1);
    for (const char *quote; (quote = strchr(name, '"')); name = quote + 1) {
        mt_out_put(text, name, (size_t)(quote - name));
        mt_out_put(text, "\"\"", 2);
    }
    mt_out_str(text, name);
    mt_out_put(text, "\"", 1);
}

void mt_out_size(mt_out *text, uint64_t bytes) {
    mt_out_str(text, mt_size_text(bytes).text);
}

void mt_out_age(mt_out *text, uint64_t ns) {
    mt_out_str(text, mt_time_text(ns).text);
}
