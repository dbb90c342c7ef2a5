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
    {"MTRACE_ORPHANS", "0 or 1", 0, 1, 0, 0, FIELD(orphans)},
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

/* A number of bytes with K, M or G behind it, or none. */
static bool parse_bytes(const option *o, const char *text, uint64_t *value) {
    static const char units[] = "KMG";
    char digits[16];
    size_t n = strlen(text);
    option plain = *o;
    if (n == 0 || n >= sizeof digits) return false;
    const char *unit = strchr(units, text[n - 1]);
    memcpy(digits, text, n + 1);
    if (unit) digits[n - 1] = '\0';
    plain.low = 0;
    if (!parse(&plain, digits, value)) return false;
    uint32_t shift = unit ? 10 * (uint32_t)(unit - units + 1) : 0;
    if (*value > o->high >> shift) return false;
    *value <<= shift;
    return *value >= o->low;
}

mt_log_options mt_options_read_log(mt_getenv *get, mt_complain *complain) {
    static const option limit = {"MTRACE_LOG_LIMIT",
                                 "a number of bytes from 256K to 16384G; K, M or G may follow",
                                 MT_LOG_LIMIT_MIN,
                                 MT_INTERVAL_MAX,
                                 0,
                                 0,
                                 0};
    static const option full = {"MTRACE_LOG_FULL", "over or stop", 0, 0, 0, 0, 0};
    static const option frees = {"MTRACE_LOG_FREES",
                                 "a number of frames from 0 to 64",
                                 0,
                                 MT_DEPTH_MAX,
                                 MT_LOG_FREES,
                                 0,
                                 0};
    mt_log_options o = {.file = get("MTRACE_LOG")};
    const char *text = get(limit.name);
    if (!o.file || !*o.file) return (mt_log_options){0};
    if (text && *text && !parse_bytes(&limit, text, &o.limit)) {
        o.limit = 0;
        if (complain) refuse(&limit, text, complain);
    }
    text = get(full.name);
    o.stops = text && strcmp(text, "stop") == 0;
    if (text && *text && !o.stops && strcmp(text, "over") != 0 && complain)
        refuse(&full, text, complain);
    o.frees = read_one(&frees, get, complain);
    return o;
}
