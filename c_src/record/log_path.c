/* log_path: see the header. */
#include "log_path.h"

#include <string.h>
#include <unistd.h>

typedef struct {
    char *at, *end;
} writer;

/* A program's name may have a slash in it. */
static bool add(writer *w, const char *text, size_t n, bool is_name) {
    if ((size_t)(w->end - w->at) <= n) return false;
    for (size_t i = 0; i < n; i++) *w->at++ = is_name && text[i] == '/' ? '_' : text[i];
    *w->at = '\0';
    return true;
}

static bool add_number(writer *w, unsigned n) {
    char digits[12];
    size_t i = sizeof digits;
    do digits[--i] = (char)('0' + n % 10);
    while (n /= 10);
    return add(w, digits + i, sizeof digits - i, false);
}

static bool add_folder(writer *w) {
    if (!getcwd(w->at, (size_t)(w->end - w->at))) return false;
    if (*w->at != '/') return false; /* it lies outside of what can be reached */
    w->at += strlen(w->at);
    return w->at[-1] == '/' || add(w, "/", 1, false);
}

bool mt_log_path_expand(const char *text, pid_t pid, const char *name, char *path,
                        size_t room) {
    writer w = {path, path + room};
    bool fits = *text && (*text == '/' || add_folder(&w));
    for (; *text && fits; text++) {
        if (*text != '%') fits = add(&w, text, 1, false);
        else if (*++text == 'p') fits = add_number(&w, (unsigned)pid);
        else if (*text == 'c') fits = add(&w, name, strlen(name), true);
        else if (*text == '%') fits = add(&w, "%", 1, false);
        else return false;
    }
    return fits;
}
