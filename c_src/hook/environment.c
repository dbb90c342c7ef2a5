/* environment: edits the strings that the kernel gave the process; allocates nothing. */
#include "environment.h"

#include <stdbool.h>
#include <string.h>

/* ld.so(8): entries are separated by spaces or colons. */
static bool separates(char c) {
    return c == ':' || c == ' ';
}

static int remove_from_value(char *value, mt_environment_is_ours *is_ours) {
    int removed = 0;
    char *to = value, *from = value;
    while (*from) {
        char *end = from;
        while (*end && !separates(*end)) end++;
        char after = *end;
        *end = '\0';
        bool ours = end > from && is_ours(from);
        *end = after;
        if (after) end++;
        if (ours) removed++;
        else {
            memmove(to, from, (size_t)(end - from));
            to += end - from;
        }
        from = end;
    }
    if (removed && to > value && separates(to[-1])) to--;
    if (removed) *to = '\0';
    return removed;
}

int mt_environment_remove(char **environment, mt_environment_is_ours *is_ours) {
    static const char name[] = "LD_PRELOAD=";
    int removed = 0;
    char **to = environment;
    for (char **from = environment; *from; from++) {
        bool keep = true;
        if (strncmp(*from, name, sizeof name - 1) == 0) {
            char *value = *from + sizeof name - 1;
            int n = remove_from_value(value, is_ours);
            removed += n;
            keep = n == 0 || *value;
        }
        if (keep) *to++ = *from;
    }
    *to = NULL;
    return removed;
}
