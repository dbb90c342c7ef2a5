/* shorten: see the header. It understands brackets, not C++. */
#include "shorten.h"

#include <stdbool.h>
#include <string.h>

#include "ctl/plain.h"

enum { WORK = 4096 };

/* Behind the bracket that closes the one at `s`, or NULL. Within round ones "<" may be "less
 * than"; "->" closes nothing. */
static const char *behind(const char *s) {
    char open = *s, close = open == '<' ? '>' : ')';
    int depth = 0, round = 0;
    for (const char *begin = s; *s; s++) {
        if (open == '<' && *s == '(') round++;
        else if (open == '<' && *s == ')') round--;
        else if (round > 0) continue;
        else if (*s == open) depth++;
        else if (*s == close && !(s > begin && close == '>' && s[-1] == '-') && --depth == 0)
            return s + 1;
    }
    return NULL;
}

/* "operator<", "operator<<", "operator()" are names. */
static bool is_operator(const char *name, const char *s) {
    static const char word[] = "operator";
    size_t n = sizeof word - 1;
    if (s > name && s[-1] == '<') s--;
    return (size_t)(s - name) >= n && memcmp(s - n, word, n) == 0;
}

static bool says_little(const char *s, const char *end) {
    static const char anonymous[] = "(anonymous namespace)";
    return end - s > 5 && strncmp(s, anonymous, sizeof anonymous - 1) != 0;
}

/* Leaves out what stands in brackets of that kind. */
static void leave_out(char *out, const char *name, char open) {
    size_t n = 0;
    for (const char *s = name; *s && n < WORK - 8;) {
        const char *end = *s == open && !is_operator(name, s) ? behind(s) : NULL;
        if (end && says_little(s, end)) {
            memcpy(out + n, open == '<' ? "<...>" : "(...)", 5);
            n += 5;
            s = end;
        } else {
            out[n++] = *s++;
        }
    }
    out[n] = 0;
}

void mt_shorten(char *out, size_t room, const char *name) {
    char bare[WORK], shorter[WORK];
    if (strlen(name) >= room && strlen(name) < WORK) {
        leave_out(bare, name, '<');
        name = bare;
        if (strlen(name) >= room) {
            leave_out(shorter, name, '(');
            name = shorter;
        }
    }
    mt_plain(out, room, name);
}
