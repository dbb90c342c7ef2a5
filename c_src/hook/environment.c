/* environment: edits the strings that the kernel gave the process. */
#include "environment.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "record/private.h"

static const char name[] = "LD_PRELOAD=";

/* ld.so(8): entries are separated by spaces or colons. */
static size_t entry_length(const char *entry) {
    return strcspn(entry, ": ");
}

static bool entry_is_ours(const char *entry, size_t n, mt_environment_is_ours *is_ours) {
    char copy[PATH_MAX];
    if (n == 0 || n >= sizeof copy) return false;
    memcpy(copy, entry, n);
    copy[n] = '\0';
    return is_ours(copy);
}

static int count(const char *value, mt_environment_is_ours *is_ours) {
    int n = 0;
    for (const char *at = value; *at;) {
        size_t length = entry_length(at);
        n += entry_is_ours(at, length, is_ours);
        at += length + (at[length] != '\0');
    }
    return n;
}

/* The separator behind a removed entry goes with it; that of a removed last one too. */
static void remove_from(char *value, mt_environment_is_ours *is_ours) {
    char *to = value;
    for (char *from = value; *from;) {
        size_t length = entry_length(from);
        size_t whole = length + (from[length] != '\0');
        if (!entry_is_ours(from, length, is_ours)) {
            memmove(to, from, whole);
            to += whole;
        }
        from += whole;
    }
    if (to > value && (to[-1] == ':' || to[-1] == ' ')) to--;
    *to = '\0';
}

static char *value_of(char *variable) {
    return strncmp(variable, name, sizeof name - 1) == 0 ? variable + sizeof name - 1 : NULL;
}

int mt_environment_count(char *const *environment, mt_environment_is_ours *is_ours) {
    int n = 0;
    for (; *environment; environment++) {
        const char *value = value_of(*environment);
        if (value) n += count(value, is_ours);
    }
    return n;
}

int mt_environment_remove(char **environment, mt_environment_is_ours *is_ours) {
    int removed = mt_environment_count(environment, is_ours);
    char **to = environment;
    if (removed == 0) return 0;
    for (char **from = environment; *from; from++) {
        char *value = value_of(*from);
        int here = value ? count(value, is_ours) : 0;
        if (here) remove_from(value, is_ours);
        if (!here || *value) *to++ = *from;
    }
    *to = NULL;
    return removed;
}

void mt_environment_drop(char **environment, const char *dropped) {
    char **to = environment;
    size_t n = strlen(dropped);
    for (char **from = environment; *from; from++) {
        bool named = strncmp(*from, dropped, n) == 0;
        if (!named || ((*from)[n] != '=' && (*from)[n] != '_')) *to++ = *from;
    }
    *to = NULL;
}

static size_t length_of(char *const *list) {
    size_t n = 0;
    while (list[n]) n++;
    return n;
}

/* Words of the auxiliary vector, its end included. */
static size_t vector_length(char *const *vector) {
    size_t n = 0;
    while (vector[n]) n += 2;
    return n + 2;
}

char **mt_environment_copy(char *const *kernels) {
    size_t n = length_of(kernels) + 1, all = n + vector_length(kernels + n);
    char **copy = mt_private_take(all * sizeof *copy);
    if (copy) memcpy(copy, kernels, n * sizeof *copy);
    return copy;
}

static bool holds(char *const *list, const char *variable) {
    while (*list && *list != variable) list++;
    return *list != NULL;
}

void mt_environment_settle(char **kernels, char **edited) {
    static char nothing[] = "";
    size_t n = length_of(kernels) + 1;
    memcpy(edited + length_of(edited) + 1, kernels + n,
           vector_length(kernels + n) * sizeof *edited);
    for (char **variable = kernels; *variable; variable++)
        if (!holds(edited, *variable)) *variable = *edited ? *edited : nothing;
}
