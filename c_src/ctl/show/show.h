/* show: how a census is presented: as text, as collapsed stacks, as a profile, compared with
 * an earlier one, saved. The options that say so are the same for every command that shows one.
 *
 * What is named costs reading the files that were mapped: only stacks that are shown are.
 * One thread, with a stack of some megabytes (names.h).
 */
#ifndef MT_CTL_SHOW_H
#define MT_CTL_SHOW_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "census.h"

typedef enum mt_show_sort {
    MT_SORT_SIZE,
    MT_SORT_COUNT,
    MT_SORT_AGE,
    MT_SORT_ALLOCS, /* calls since the start or the last reset */
    MT_SORTS
} mt_show_sort;

/* Strings are the caller's (argv); a path may be replaced by the caller, who knows what %p and
 * %c in it stand for. */
typedef struct mt_show {
    mt_show_sort sort[MT_SORTS]; /* one list after the other */
    uint32_t sorts;
    uint32_t top;               /* 0: all */
    bool top_given;             /* collapsed stacks are all of them otherwise */
    bool flame_graph;           /* collapsed stacks instead of the text */
    const char *collapsed_path; /* collapsed stacks into this file, beside the text */
    const char *pprof_path;
    const char *ignore_path;
    const char *save_path;
    const char *diff_path;  /* an earlier run's saved census */
    const char *folders;    /* files are looked for there first: names.h */
    uint64_t leaks_only_ns; /* only what is older: whoever takes the census leaves out younger
                             * chunks; here younger sites are left out. 0: everything */
    bool no_lines;          /* no source files and lines: faster */
    bool wide;              /* whole paths and names */
    struct mt_named_kept *kept; /* files whose names are kept for the next census, or NULL */
} mt_show;

#define MT_SHOW_DEFAULT ((mt_show){.sort = {MT_SORT_SIZE}, .sorts = 1, .top = 10})

/* Does argv[0] name an option of this file? The number of words that it takes with its
 * argument (1 or 2), which are then noted in `show`; 0 if it is not one; -1 if it is, but
 * wrong, which has been said then. `--name VALUE` and `--name=VALUE` both do, for a short one
 * `-nVALUE` too. Folders are looked at, so that a mistyped one is not searched in silence. */
int mt_show_option(mt_show *show, int argc, char **argv);

/* The options of this file for --help, a line or two each, at most 80 columns. */
extern const char *const mt_show_help;

typedef enum mt_shown {
    MT_SHOWN_FAILED = -1, /* something could not be read or written: it has been said */
    MT_SHOWN_NOTHING = 0, /* nothing is left, of what is neither ignored nor too young */
    MT_SHOWN_LEFT = 1     /* something is left; with diff_path: something grew or is new */
} mt_shown;

/* Shows it all. Prints nothing where nothing is left; the files that were asked for are
 * written all the same, with mode 0600. A file that cannot be written does not keep the others
 * from it. */
mt_shown mt_show_census(const mt_census *census, const mt_show *show, FILE *out);

/* Reads what the options name, before a program is started for nothing: 0, or -1 and it has
 * been said. */
int mt_show_check(const mt_show *show);

/* mtracectl show FILE: a census that was saved. */
int mt_command_show(int argc, char **argv);

#endif
