/* log_text: buffered output, and escaping. */
#include "log_text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"

enum { PIECE = 1 << 16 };

void *mt_text_need(void *pointer) {
    if (pointer) return pointer;
    mt_say("there is not enough memory");
    exit(MT_EXIT_FAILED);
}

void *mt_text_grow(void *array, size_t n, size_t *room, size_t size) {
    if (n < *room) return array;
    size_t more = *room ? *room * 2 : 64;
    array = mt_text_need(reallocarray(array, more, size));
    *room = more;
    return array;
}

void mt_text_open(mt_text *text, int fd) {
    *text = (mt_text){.bytes = NULL, .room = fd < 0 ? 256 : PIECE, .fd = fd};
    text->bytes = mt_text_need(malloc(text->room));
}

void mt_text_flush(mt_text *text) {
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

void mt_text_close(mt_text *text) {
    if (text->fd >= 0) mt_text_flush(text);
    free(text->bytes);
    text->bytes = NULL;
}

/* Room for n more bytes, at most PIECE. */
static char *ready(mt_text *text, size_t n) {
    if (text->room - text->used < n) {
        if (text->fd >= 0) mt_text_flush(text);
        else {
            text->room = text->room * 2 + n;
            text->bytes = mt_text_need(realloc(text->bytes, text->room));
        }
    }
    return text->bytes + text->used;
}

void mt_text_put(mt_text *text, const char *bytes, size_t n) {
    for (size_t part; n > 0; bytes += part, n -= part) {
        part = n < PIECE ? n : PIECE;
        memcpy(ready(text, part), bytes, part);
        text->used += part;
    }
}

void mt_text_str(mt_text *text, const char *string) {
    mt_text_put(text, string, strlen(string));
}

void mt_text_print(mt_text *text, const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (n > 0) mt_text_put(text, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

void mt_text_number(mt_text *text, uint64_t number) {
    char digits[20], *d = digits + sizeof digits;
    do *--d = (char)('0' + number % 10);
    while (number /= 10);
    mt_text_put(text, d, (size_t)(digits + sizeof digits - d));
}

void mt_text_hex(mt_text *text, uint64_t number) {
    char digits[18], *d = digits + sizeof digits;
    do *--d = "0123456789abcdef"[number & 15];
    while (number >>= 4);
    *--d = 'x';
    *--d = '0';
    mt_text_put(text, d, (size_t)(digits + sizeof digits - d));
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

void mt_text_json(mt_text *text, const char *name) {
    const unsigned char *s = (const unsigned char *)name;
    for (unsigned n; *s; s += n ? n : 1) {
        uint32_t c;
        n = character(s, &c);
        if (n == 0) mt_text_str(text, UNKNOWN);
        else if (c == '"' || c == '\\') mt_text_put(text, (char[]){'\\', (char)c}, 2);
        else if (is_control(c)) mt_text_print(text, "\\u%04x", c);
        else mt_text_put(text, (const char *)s, n);
    }
}

void mt_text_plain(mt_text *text, const char *name) {
    const unsigned char *s = (const unsigned char *)name;
    for (unsigned n; *s; s += n ? n : 1) {
        uint32_t c;
        n = character(s, &c);
        if (n == 0 || is_control(c)) mt_text_str(text, UNKNOWN);
        else mt_text_put(text, (const char *)s, n);
    }
}

void mt_text_quoted(mt_text *text, const char *name) {
    mt_text_put(text, "\"", 1);
    for (const char *quote; (quote = strchr(name, '"')); name = quote + 1) {
        mt_text_put(text, name, (size_t)(quote - name));
        mt_text_put(text, "\"\"", 2);
    }
    mt_text_str(text, name);
    mt_text_put(text, "\"", 1);
}

void mt_text_size(mt_text *text, uint64_t bytes) {
    static const char *const units[] = {"KB", "MB", "GB", "TB", "PB", "EB"};
    if (bytes < 1000) {
        mt_text_print(text, "%u B", (unsigned)bytes);
        return;
    }
    double size = (double)bytes / 1000;
    unsigned unit = 0;
    for (; size >= 999.9995 && unit < 5; unit++) size /= 1000;
    mt_text_print(text, "%.3f %s", size, units[unit]);
}

void mt_text_age(mt_text *text, uint64_t ns) {
    uint64_t minutes = ns / 60000000000ull;
    if (minutes >= 60)
        mt_text_print(text, "%llu h %u min", (unsigned long long)minutes / 60,
                      (unsigned)(minutes % 60));
    else if (minutes > 0)
        mt_text_print(text, "%u min %.1f s", (unsigned)minutes,
                      (double)(ns % 60000000000ull) / 1e9);
    else if (ns >= 1000000000) mt_text_print(text, "%.3f s", (double)ns / 1e9);
    else mt_text_print(text, "%.3f ms", (double)ns / 1e6);
}
