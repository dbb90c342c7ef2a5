/* demangle: libiberty, with a way out of every callback. */
#include "demangle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <libiberty/demangle.h>

/* libiberty was compiled to call glibc's checking variants; a program of musl, which has none,
 * must be able to load us. */
#pragma GCC visibility push(hidden)
int __sprintf_chk(char *to, int flag, size_t room, const char *format, ...);
int __snprintf_chk(char *to, size_t n, int flag, size_t room, const char *format, ...);
#pragma GCC visibility pop

int __sprintf_chk(char *to, int flag, size_t room, const char *format, ...) {
    va_list arguments;
    (void)flag;
    va_start(arguments, format);
    int n = vsnprintf(to, room, format, arguments);
    va_end(arguments);
    return n;
}

int __snprintf_chk(char *to, size_t n, int flag, size_t room, const char *format, ...) {
    va_list arguments;
    (void)flag;
    va_start(arguments, format);
    int written = vsnprintf(to, n < room ? n : room, format, arguments);
    va_end(arguments);
    return written;
}

enum { OPTIONS = DMGL_PARAMS | DMGL_ANSI, MAX_NAME = 16384, MAX_PACKED = 16 };

typedef struct {
    char *out;
    size_t room, length;
    jmp_buf full;
} output;

/* Longer than the room: leave libiberty where it stands. It holds no lock, and no memory but
 * a small buffer while it prints a Rust identifier in punycode. */
static void append(const char *text, size_t n, void *context) {
    output *o = context;
    if (n == 0) return; /* libiberty may pass NULL with it */
    if (n >= o->room - o->length) longjmp(o->full, 1);
    memcpy(o->out + o->length, text, n);
    o->length += n;
}

/* "G" after a function type or a trait object begins a binder for that many lifetimes, in
 * base 62 (Rust RFC 2603): three digits are hundreds of thousands, each printed. */
static bool has_absurd_binder(const char *name) {
    for (const char *g = strchr(name, 'G'); g; g = strchr(g + 1, 'G')) {
        if (g == name || (g[-1] != 'F' && g[-1] != 'D')) continue;
        size_t digits =
            strspn(g + 1, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
        if (digits >= 3 && g[1 + digits] == '_') return true;
    }
    return false;
}

/* A pack expansion makes libiberty search the whole tree of a type for its pack; substitutions
 * make that tree a graph, and the search exponential in their number, without any output. */
static bool has_absurd_pack(const char *name) {
    if (!strstr(name, "Dp") && !strstr(name, "sZ") && !strstr(name, "sP")) return false;
    int substitutions = 0;
    for (const char *s = strchr(name, 'S'); s; s = strchr(s + 1, 'S'))
        substitutions +=
            s[1] == '_' || (s[1] >= '0' && s[1] <= '9') || (s[1] >= 'A' && s[1] <= 'Z');
    return substitutions > MAX_PACKED;
}

static bool print(const char *name, output *o) {
    if (setjmp(o->full)) return false;
    if (name[1] == 'R')
        return !has_absurd_binder(name) && rust_demangle_callback(name, OPTIONS, append, o);
    if (rust_demangle_callback(name, OPTIONS, append, o)) return true;
    o->length = 0;
    return !has_absurd_pack(name) && cplus_demangle_v3_callback(name, OPTIONS, append, o);
}

size_t mt_demangle(const char *name, char *out, size_t room) {
    output o = {.out = out, .room = room};
    if (room < 2 || name[0] != '_' || (name[1] != 'Z' && name[1] != 'R')) return 0;
    if (strnlen(name, MAX_NAME) == MAX_NAME) return 0;
    if (!print(name, &o) || o.length == 0) return 0;
    out[o.length] = '\0';
    return o.length;
}
