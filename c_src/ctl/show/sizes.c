/* sizes: see the header. */
#include "sizes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

mt_text mt_size_text(uint64_t bytes) {
    static const struct {
        uint64_t bytes;
        const char *name;
    } unit[] = {{1000000000000, "TB"}, {1000000000, "GB"}, {1000000, "MB"}, {1000, "KB"}};
    mt_text t;
    for (size_t i = 0; i < sizeof unit / sizeof *unit; i++)
        if (bytes >= unit[i].bytes) {
            snprintf(t.text, sizeof t.text, "%" PRIu64 ".%03" PRIu64 " %s",
                     bytes / unit[i].bytes, bytes % unit[i].bytes / (unit[i].bytes / 1000),
                     unit[i].name);
            return t;
        }
    snprintf(t.text, sizeof t.text, "%" PRIu64 " byte%s", bytes, bytes == 1 ? "" : "s");
    return t;
}

mt_text mt_change_text(uint64_t before, uint64_t after) {
    mt_text t = mt_size_text(after > before ? after - before : before - after), out;
    snprintf(out.text, sizeof out.text, "%c%.40s", after < before ? '-' : '+', t.text);
    return out;
}

mt_text mt_count_text(uint64_t n, const char *what) {
    mt_text t;
    snprintf(t.text, sizeof t.text, "%" PRIu64 " %.20s%s", n, what, n == 1 ? "" : "s");
    return t;
}

mt_text mt_time_text(uint64_t ns) {
    const uint64_t us = ns / 1000, ms = us / 1000, s = ms / 1000;
    mt_text t;
#define SAY(...) snprintf(t.text, sizeof t.text, __VA_ARGS__)
    if (s >= 3600) SAY("%" PRIu64 " hours %" PRIu64 " mins", s / 3600, s / 60 % 60);
    else if (s >= 60) SAY("%" PRIu64 " mins %" PRIu64 " secs", s / 60, s % 60);
    else if (s) SAY("%" PRIu64 ".%03" PRIu64 " secs", s, ms % 1000);
    else if (ms) SAY("%" PRIu64 ".%03" PRIu64 " ms", ms, us % 1000);
    else if (us) SAY("%" PRIu64 ".%03" PRIu64 " us", us, ns % 1000);
    else SAY("%" PRIu64 " ns", ns);
#undef SAY
    return t;
}

bool mt_time_parse(const char *text, uint64_t *ns) {
    static const struct {
        const char *name;
        double ns;
    } unit[] = {{"", 1e9},   {"s", 1e9}, {"ms", 1e6},    {"m", 60e9},  {"h", 3600e9},
                {"us", 1e3}, {"ns", 1},  {"d", 86400e9}, {"min", 60e9}};
    size_t digits = strspn(text, "0123456789.");
    if (digits == 0 || digits > 20 || text[0] == '.') return false;
    char *end;
    double n = strtod(text, &end);
    if (end != text + digits) return false;
    for (size_t i = 0; i < sizeof unit / sizeof *unit; i++)
        if (strcmp(end, unit[i].name) == 0 && n * unit[i].ns < 9e18) {
            *ns = (uint64_t)(n * unit[i].ns);
            return true;
        }
    return false;
}
