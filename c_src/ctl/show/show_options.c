/* show_options: the options of show.h: read, checked and told of. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/commands.h"
#include "ignore.h"
#include "saved.h"
#include "show.h"
#include "sizes.h"

const char *const mt_show_help =
    "  -s, --sort KEYS    size, count, age (of the oldest chunk), allocs (calls);\n"
    "                     several, with commas, give a list each (size)\n"
    "  --top N            show N stacks, 0 for all (10)\n"
    "  --leaks-only AGE   only what is older: 500ms, 10s, 5m, 2h\n"
    "  --ignore FILE      leave out stacks with a function, source file or object\n"
    "                     that a line of FILE is found in; * stands for any text, ^\n"
    "                     and $ for the beginning and the end of the name: ^main$\n"
    "  --flame-graph      collapsed stacks instead of the text, for flamegraph.pl;\n"
    "                     --flame-graph=FILE writes them there, beside the text\n"
    "  --pprof FILE       write a profile for pprof\n"
    "  --save FILE        keep it all, for mtracectl show and for --diff\n"
    "  --diff FILE        whose memory grew since what --save kept\n"
    "  --libraries DIRS   look for the program's files there first: below, by their\n"
    "                     paths, or side by side (several folders with colons)\n"
    "  --no-lines         no source lines and inlined functions: faster\n"
    "  --wide             whole names and paths\n"
    "\n"
    "KB, MB and GB are powers of 1000, cut off after three digits. The age of a stack\n"
    "is that of its oldest chunk. Files are written with mode 0600.\n";

/* The value of an option, in the same word or the next; how many words, 0 if it is another
 * option, -1 if there is no value. A short option's stands right behind it (getopt(3)). */
static int value(const char *name, int argc, char **argv, const char **out) {
    size_t n = strlen(name);
    bool is_short = name[1] != '-';
    if (strncmp(argv[0], name, n) != 0 || (argv[0][n] && argv[0][n] != '=' && !is_short))
        return 0;
    if (argv[0][n]) {
        *out = argv[0] + n + (argv[0][n] == '=');
        if (**out) return 1;
    } else if (argc > 1 && *argv[1]) {
        *out = argv[1];
        return 2;
    }
    mt_say("%s wants a value: mtracectl COMMAND --help tells which", name);
    return -1;
}

static bool is_sort(const char *key, size_t n, mt_show_sort *sort) {
    static const char *const name[MT_SORTS] = {"size", "count", "age", "allocs"};
    for (int i = 0; i < MT_SORTS; i++)
        if (strlen(name[i]) == n && strncmp(name[i], key, n) == 0) {
            *sort = (mt_show_sort)i;
            return true;
        }
    return false;
}

static bool set_sort(mt_show *show, const char *keys) {
    show->sorts = 0;
    for (const char *key = keys;; key++) {
        size_t n = strcspn(key, ",");
        if (show->sorts == MT_SORTS || !is_sort(key, n, &show->sort[show->sorts])) {
            mt_say("cannot sort by %s: it is size, count, age or allocs", keys);
            return false;
        }
        show->sorts++;
        key += n;
        if (!*key) return true;
    }
}

static bool set_top(mt_show *show, const char *text) {
    char *end;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || n > UINT32_MAX) {
        mt_say("--top %s is no number of stacks: 0 shows all", text);
        return false;
    }
    show->top = (uint32_t)n;
    show->top_given = true;
    return true;
}

static bool set_age(mt_show *show, const char *text) {
    if (mt_time_parse(text, &show->leaks_only_ns)) return true;
    mt_say("--leaks-only %s is no age: write 500ms, 10s, 5m or 2h", text);
    return false;
}

static bool is_folder(const char *path) {
    struct stat s;
    if (stat(path, &s) != 0) {
        mt_say("--libraries %s: %s", path,
               errno == ENOENT ? "there is no such folder; several are separated by colons"
                               : strerror(errno));
    } else if (!S_ISDIR(s.st_mode)) {
        mt_say("--libraries %s: it is no folder; give that in which the files lie", path);
    } else if (access(path, X_OK) != 0) {
        mt_say("--libraries %s: the folder may not be searched: %s", path, strerror(errno));
    } else {
        return true;
    }
    return false;
}

/* Who mistypes one would get another file's names, or none, without a word. */
static bool set_folders(mt_show *show, const char *folders) {
    char *copy = strdup(folders);
    bool well = copy != NULL;
    if (!copy) mt_say("there is not enough memory for --libraries");
    for (char *at = copy; well && at;) {
        char *folder = strsep(&at, ":");
        if (*folder) well = is_folder(folder);
    }
    free(copy);
    show->folders = folders;
    return well;
}

static bool set_flag(mt_show *show, const char *word) {
    if (strcmp(word, "--flame-graph") == 0) show->flame_graph = true;
    else if (strcmp(word, "--no-lines") == 0) show->no_lines = true;
    else if (strcmp(word, "--wide") == 0) show->wide = true;
    else return false;
    return true;
}

int mt_show_option(mt_show *show, int argc, char **argv) {
    struct {
        const char *name;
        bool (*set)(mt_show *, const char *);
        const char **path;
    } option[] = {{"--sort", set_sort, NULL},
                  {"-s", set_sort, NULL},
                  {"--top", set_top, NULL},
                  {"--leaks-only", set_age, NULL},
                  {"--ignore", NULL, &show->ignore_path},
                  {"--flame-graph", NULL, &show->collapsed_path},
                  {"--pprof", NULL, &show->pprof_path},
                  {"--save", NULL, &show->save_path},
                  {"--diff", NULL, &show->diff_path},
                  {"--libraries", set_folders, NULL}};
    if (argc < 1) return 0;
    if (set_flag(show, argv[0])) return 1;
    for (size_t i = 0; i < sizeof option / sizeof *option; i++) {
        const char *given;
        int words = value(option[i].name, argc, argv, &given);
        if (words == 0) continue;
        if (words > 0 && option[i].path) *option[i].path = given;
        else if (words > 0 && !option[i].set(show, given)) return -1;
        return words;
    }
    return 0;
}

/* Can a file be written there? What it will be called is not known yet where there is a '%'. */
static bool may_write(const char *path) {
    char folder[4096];
    if (!path || strchr(path, '%')) return true;
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) + 1 : 0;
    if (n >= sizeof folder) n = 0;
    memcpy(folder, path, n);
    strcpy(folder + n, n ? "" : ".");
    if (access(path, F_OK) == 0 ? access(path, W_OK) == 0 : access(folder, W_OK | X_OK) == 0)
        return true;
    mt_say("%s cannot be written: %s", path, strerror(errno));
    return false;
}

int mt_show_check(const mt_show *show) {
    const char *const written[] = {show->collapsed_path, show->pprof_path, show->save_path};
    for (size_t i = 0; i < sizeof written / sizeof *written; i++)
        if (!may_write(written[i])) return -1;
    if (show->ignore_path) {
        mt_ignore *ignore = mt_ignore_read(show->ignore_path);
        if (!ignore) return -1;
        mt_ignore_free(ignore);
    }
    if (show->diff_path) {
        mt_saved *saved = mt_saved_read(show->diff_path);
        if (!saved) return -1;
        mt_saved_free(saved);
    }
    return 0;
}
