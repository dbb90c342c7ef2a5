/* arguments: the command line of `mtracectl run`, and what other commands have of it. */
#ifndef MT_CTL_ARGUMENTS_H
#define MT_CTL_ARGUMENTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "record/options.h"
#include "ctl/show/show.h"

/* Texts are argv's. */
typedef struct mt_arguments {
    mt_show show;
    uint64_t interval; /* 0: exact, MT_ADAPTIVE, or bytes */
    uint64_t depth, slots;
    uint64_t signals; /* MT_SIGNALS_* */
    bool children;
    const char *log, *log_limit, *log_full;
    const char *outfile;
    uint64_t error_exitcode; /* 0: none */
    uint64_t orphans_s;      /* 0: none */
    const char *csv;
    char **rest; /* the program and its arguments, or a number: at least one */
} mt_arguments;

/* Which options a command has, beside those of show.h. */
enum { MT_ARGUMENTS_TABLE = 1, MT_ARGUMENTS_RUN = 2, MT_ARGUMENTS_OUTFILE = 4 };

/* Options come first; "--" ends them, and so does what begins with no "-". No abbreviations;
 * the value of a short option may stand right behind it (getopt(3)). False where the command
 * ends here, with `*status`: `usage` was wanted and has been called, or something is wrong and
 * that has been said. */
bool mt_arguments_parse(mt_arguments *arguments, unsigned which, void (*usage)(void), int argc,
                        char **argv, int *status);

/* All of a command that is about one process: besides options there is its number, with which
 * `act` is called. The status to end with. */
int mt_arguments_act(unsigned which, void (*usage)(void),
                     int (*act)(const mt_arguments *arguments, pid_t pid), int argc,
                     char **argv);

/* What MT_ARGUMENTS_TABLE has of what is recorded, a line each, for a usage. */
extern const char mt_arguments_help[];

/* A decimal number from low to high, nothing else. */
bool mt_arguments_number(const char *text, uint64_t low, uint64_t high, uint64_t *value);

#endif
