/* ignore: see the header. The same patterns as lib/mtrace/pattern.ex, which makes regular
 * expressions of them: bytes, not characters. */
#include "ignore.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/commands.h"
#include "place_map.h"

typedef struct {
    char *text;
    bool begin, end; /* anchored there */
} pattern;

struct mt_ignore {
    pattern *pattern;
    size_t n;
    mt_place_map places;
    uint8_t *known; /* by number: 0 not asked, 1 none matches, 2 one does */
    size_t room;
};

/* Without the white space around it. */
static char *trimmed(char *line) {
    static const char white[] = " \t\n\v\f\r";
    line += strspn(line, white);
    size_t n = strlen(line);
    while (n > 0 && strchr(white, line[n - 1])) n--;
    line[n] = 0;
    return line;
}

static bool add(mt_ignore *ignore, char *line) {
    line = trimmed(line);
    if (*line == '#') return true;
    if (strncmp(line, "leak:", 5) == 0) line += 5;
    if (!*line) return true;
    pattern p = {.begin = *line == '^'};
    line += p.begin;
    size_t n = strlen(line);
    p.end = n > 0 && line[n - 1] == '$';
    line[n - p.end] = 0;
    pattern *more = realloc(ignore->pattern, (ignore->n + 1) * sizeof *more);
    if (!more) return false;
    ignore->pattern = more;
    p.text = strdup(line);
    if (p.text) more[ignore->n++] = p;
    return p.text != NULL;
}

/* valgrind's suppressions are whole stacks between braces: a line of them is no pattern. */
static bool is_valgrinds(char *line) {
    return strcmp(trimmed(line), "{") == 0;
}

mt_ignore *mt_ignore_read(const char *path) {
    mt_ignore *ignore = calloc(1, sizeof *ignore);
    FILE *file = ignore ? fopen(path, "re") : NULL;
    char *line = NULL;
    size_t room = 0;
    bool good = file != NULL, foreign = false;
    errno = file ? 0 : errno;
    while (good && !foreign && getline(&line, &room, file) >= 0) {
        foreign = is_valgrinds(line);
        good = add(ignore, line);
    }
    if (!file || !good || foreign || ferror(file)) {
        if (foreign)
            mt_say("%s has suppressions of valgrind's, which tell of whole stacks: here each "
                   "line is a pattern, and ^NAME$ what fun:NAME is there",
                   path);
        else
            mt_say("the patterns in %s cannot be read: %s", path,
                   strerror(errno ? errno : ENOMEM));
        mt_ignore_free(ignore);
        ignore = NULL;
    }
    free(line);
    if (file) fclose(file);
    return ignore;
}

/* Each piece between stars at the first place where it is found behind the one before; the
 * last at the very end if it is anchored there. */
static bool matches(const pattern *p, const char *name) {
    const char *piece = p->text, *at = name, *end = name + strlen(name);
    bool fixed = p->begin;
    for (;;) {
        size_t n = strcspn(piece, "*");
        bool last = piece[n] == 0;
        if (last && p->end) {
            bool fits = (size_t)(end - at) >= n && memcmp(end - n, piece, n) == 0;
            return fits && (!fixed || end - n == at);
        }
        const char *found =
            fixed ? ((size_t)(end - at) >= n && memcmp(at, piece, n) == 0 ? at : NULL)
                  : memmem(at, (size_t)(end - at), piece, n);
        if (!found || last) return found != NULL;
        at = found + n;
        piece += n + 1;
        fixed = false;
    }
}

bool mt_ignore_match(const mt_ignore *ignore, const char *name) {
    for (size_t i = 0; name && i < ignore->n; i++)
        if (matches(&ignore->pattern[i], name)) return true;
    return false;
}

static bool place_matches(const mt_ignore *ignore, const mt_names_place *place) {
    if (mt_ignore_match(ignore, place->object)) return true;
    for (uint32_t i = 0; i < place->frames; i++)
        if (mt_ignore_match(ignore, place->frame[i].function) ||
            mt_ignore_match(ignore, place->frame[i].file))
            return true;
    return false;
}

static bool make_room(mt_ignore *ignore, size_t number) {
    if (number < ignore->room) return true;
    size_t room = ignore->room ? 2 * ignore->room : 1024;
    uint8_t *more = realloc(ignore->known, room);
    if (!more) return false;
    memset(more + ignore->room, 0, room - ignore->room);
    ignore->known = more;
    ignore->room = room;
    return number < room;
}

bool mt_ignore_place(mt_ignore *ignore, const mt_names_place *place) {
    bool added;
    int64_t number = mt_place_map_number(&ignore->places, place, &added);
    if (number < 0 || !make_room(ignore, (size_t)number)) return place_matches(ignore, place);
    uint8_t *known = &ignore->known[number];
    if (*known == 0) *known = place_matches(ignore, place) ? 2 : 1;
    return *known == 2;
}

void mt_ignore_free(mt_ignore *ignore) {
    if (!ignore) return;
    for (size_t i = 0; i < ignore->n; i++) free(ignore->pattern[i].text);
    free(ignore->pattern);
    free(ignore->known);
    mt_place_map_free(&ignore->places);
    free(ignore);
}
