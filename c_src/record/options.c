/* options: reads the environment, and never fails: what is refused leaves the default. */
#include "options.h"

#include <stddef.h>
#include <string.h>

typedef struct {
    const char *name;
    const char *allowed;
    uint32_t low, high, fallback;
    size_t offset;
} option;

#define FIELD(f) offsetof(mt_options, f)

static const option table[] = {
    {"MTRACE", "0 (off) or 1 (on)", 0, 1, MT_MODE_UNSET, FIELD(mode)},
    {"MTRACE_CHILDREN", "0 or 1", 0, 1, 0, FIELD(children)},
    {"MTRACE_DEPTH", "a number of frames from 2 to 64", 2, MT_DEPTH_MAX, MT_DEPTH,
     FIELD(depth)},
    {"MTRACE_SLOTS", "a number of chunks from 8 to 16777216", 8, 1u << 24, MT_SLOTS,
     FIELD(slots)},
};

/* A plain decimal number within the bounds, nothing else: no sign, no space, no unit. */
static bool parse(const option *o, const char *text, uint32_t *value) {
    uint64_t n = 0;
    if (*text == '\0' || strlen(text) > 10) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return false;
        n = n * 10 + (uint64_t)(*text - '0');
    }
    if (n < o->low || n > o->high) return false;
    *value = (uint32_t)n;
    return true;
}

static char *append(char *at, char *end, const char *text) {
    while (*text && at < end) *at++ = *text++;
    *at = '\0';
    return at;
}

/* A line break or a colour code in a value must not forge a line of its own. */
static char *append_value(char *at, char *end, const char *text) {
    for (int n = 0; *text && n < 40 && at < end; text++, n++)
        *at++ = (*text < ' ' || *text > '~') ? '?' : *text;
    return *text ? append(at, end, "...") : append(at, end, "");
}

static void refuse(const option *o, const char *value, mt_complain *complain) {
    char line[240], *end = line + sizeof line - 1, *at = line;
    at = append(at, end, "mtrace: ");
    at = append(at, end, o->name);
    at = append(at, end, "=");
    at = append_value(at, end, value);
    at = append(at, end, " is not understood, the default stands; allowed: ");
    append(at, end, o->allowed);
    complain(line);
}

static uint32_t power_of_two(uint32_t n) {
    uint32_t p = 1;
    while (p < n) p <<= 1;
    return p;
}

static uint32_t read_one(const option *o, mt_getenv *get, mt_complain *complain) {
    uint32_t value = o->fallback;
    const char *text = get(o->name);
    if (text && *text && !parse(o, text, &value) && complain) refuse(o, text, complain);
    return value;
}

uint32_t mt_options_mode(mt_getenv *get) {
    return read_one(&table[0], get, NULL);
}

mt_options mt_options_read(mt_getenv *get, mt_complain *complain) {
    mt_options options;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint32_t value = read_one(&table[i], get, complain);
        memcpy((char *)&options + table[i].offset, &value, sizeof value);
    }
    options.slots = power_of_two(options.slots);
    return options;
}
