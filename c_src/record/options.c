/* options: reads the environment, and never fails: what is refused leaves the default. */
#include "options.h"

#include "context.h"

#include <stddef.h>
#include <string.h>

typedef struct {
    const char *name;
    const char *allowed;
    uint64_t low, high, fallback;
    uint32_t decimals; /* digits that a fraction may have */
    size_t offset;
} option;

#define FIELD(f) offsetof(mt_options, f)

static const option table[] = {
    {"MTRACE", "0 (off) or 1 (on)", 0, 1, MT_MODE_UNSET, 0, FIELD(mode)},
    {"MTRACE_BEAM", "0 or 1", 0, 1, 1, 0, FIELD(beam)},
    {"MTRACE_CHILDREN", "0 or 1", 0, 1, 0, 0, FIELD(children)},
    {"MTRACE_DEPTH", "a number of frames from 2 to 64", 2, MT_DEPTH_MAX, MT_DEPTH, 0,
     FIELD(depth)},
    {"MTRACE_ERLANG_DEPTH", "a number of frames from 0 to 16", 0, MT_ERLANG_DEPTH_MAX,
     MT_ERLANG_DEPTH, 0, FIELD(erlang_depth)},
    {"MTRACE_SLOTS", "a number of chunks from 16 to 16777216", 16, 1u << 24, MT_SLOTS, 0,
     FIELD(slots)},
    {"MTRACE_INTERVAL", "a number of bytes from 0 to 17592186044416", 0, MT_INTERVAL_MAX,
     MT_ADAPTIVE, 0, FIELD(interval)},
    {"MTRACE_BUDGET", "a percentage from 0.01 to 100", 100, 1000000, MT_BUDGET_PPM, 4,
     FIELD(budget_ppm)},
    {"MTRACE_SIGNALS", "0, 1 or 2", 0, 2, MT_SIGNALS_NONE, 0, FIELD(signals)},
};

/* A plain decimal number within the bounds, nothing else: no sign, no space, no unit. What
 * allows decimals counts in the last of them. */
static bool parse(const option *o, const char *text, uint64_t *value) {
    uint64_t n = 0;
    int fraction = -1; /* digits after the point, -1: before it */
    if (*text < '0' || *text > '9' || strlen(text) > 15) return false;
    for (; *text; text++) {
        if (*text == '.' && fraction < 0 && o->decimals) {
            fraction = 0;
            continue;
        }
        if (*text < '0' || *text > '9' || fraction == (int)o->decimals) return false;
        n = n * 10 + (uint64_t)(*text - '0');
        if (fraction >= 0) fraction++;
    }
    if (fraction == 0) return false;
    for (int i = fraction < 0 ? 0 : fraction; i < (int)o->decimals; i++) n *= 10;
    if (n < o->low || n > o->high) return false;
    *value = n;
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

static uint64_t power_of_two(uint64_t n) {
    uint64_t p = 1;
    while (p < n) p <<= 1;
    return p;
}

static uint64_t read_one(const option *o, mt_getenv *get, mt_complain *complain) {
    uint64_t value = o->fallback;
    const char *text = get(o->name);
    if (text && *text && !parse(o, text, &value) && complain) refuse(o, text, complain);
    return value;
}

uint64_t mt_options_mode(mt_getenv *get) {
    return read_one(&table[0], get, NULL);
}

mt_options mt_options_read(mt_getenv *get, mt_complain *complain) {
    mt_options options;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint64_t value = read_one(&table[i], get, complain);
        memcpy((char *)&options + table[i].offset, &value, sizeof value);
    }
    options.slots = power_of_two(options.slots);
    return options;
}
