/* mfa: see the header. Escapes are those of the VM's %T: \n and its like, \ooo, \x{hex}, and
 * any other character as itself. */
#include "mfa.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    char *to;
    size_t n;
    bool fits;
} text;

static void put(text *t, unsigned char byte) {
    if (byte == 0 || t->n >= MT_ATOM_BYTES) t->fits = false;
    else t->to[t->n++] = (char)byte;
}

/* UTF-8 (RFC 3629). */
static void put_character(text *t, uint32_t c) {
    if (c < 0x80) {
        put(t, (unsigned char)c);
        return;
    }
    static const unsigned char lead[] = {0, 0xc0, 0xe0, 0xf0};
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    put(t, (unsigned char)(lead[more] | c >> 6 * more));
    while (more--) put(t, (unsigned char)(0x80 | (c >> 6 * more & 0x3f)));
}

static int digit(char c, int base) {
    int d = c >= '0' && c <= '9' ? c - '0' : (c | ' ') >= 'a' ? (c | ' ') - 'a' + 10 : 99;
    return d < base ? d : -1;
}

/* What stands after the backslash; returns what comes after it, or NULL. */
static const char *escape(text *t, const char *at) {
    static const char names[] = "nrtbfve", bytes[] = "\n\r\t\b\f\v\033";
    uint32_t c = 0;
    const char *known = *at ? strchr(names, *at) : NULL;
    if (known) return put(t, (unsigned char)bytes[known - names]), at + 1;
    if (digit(*at, 8) >= 0) {
        for (int i = 0; i < 3 && digit(*at, 8) >= 0; i++) c = c * 8 + (uint32_t)digit(*at++, 8);
        return put_character(t, c), at;
    }
    if (at[0] == 'x' && at[1] == '{') {
        for (at += 2; digit(*at, 16) >= 0 && c <= 0x10ffff; at++)
            c = c * 16 + (uint32_t)digit(*at, 16);
        if (*at != '}' || c > 0x10ffff) return NULL;
        return put_character(t, c), at + 1;
    }
    if (*at) return put(t, (unsigned char)*at), at + 1;
    return NULL;
}

/* An atom, up to its closing quote or, without quotes, to `end`; returns what comes after it.
 */
static const char *atom(const char *at, const char *end, char *to) {
    text t = {to, 0, true};
    if (*at == '\'') {
        for (at++; at && *at && *at != '\'';)
            if (*at == '\\') at = escape(&t, at + 1);
            else put(&t, (unsigned char)*at++);
        end = at && *at ? at + 1 : NULL;
    } else if (end && end > at)
        while (at < end) put(&t, (unsigned char)*at++);
    else end = NULL;
    to[t.n] = '\0';
    return t.fits ? end : NULL;
}

bool mt_mfa_split(const char *name, mt_mfa *mfa) {
    const char *at = atom(name, strchr(name, ':'), mfa->module);
    if (!at || *at++ != ':') return false;
    at = atom(at, strrchr(at, '/'), mfa->function);
    if (!at || *at++ != '/' || digit(*at, 10) < 0) return false;
    for (mfa->arity = 0; digit(*at, 10) >= 0 && mfa->arity <= 255; at++)
        mfa->arity = 10 * mfa->arity + (unsigned)digit(*at, 10);
    return *at == '\0' && mfa->arity <= 255;
}
