/* arguments: the command line of `mtracectl run`, and what other commands have of it. */
#ifndef MT_CTL_ARGUMENTS_H
#define MT_CTL_ARGUMENTS_H

#include <stdbool.h>
#include <stdint.h>

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

typedef enum mt_arguments_parsed {
    MT_ARGUMENTS_WRONG = -1, /* that has been said */
    MT_ARGUMENTS_HELP = 0,
    MT_ARGUMENTS_GOOD = 1
} mt_arguments_parsed;

/* Options come first; "--" ends them, and so does what begins with no "-". No abbreviations. */
mt_arguments_parsed mt_arguments_parse(mt_arguments *arguments, unsigned which, int argc,
                                       char **argv);

/* The one number of a process that is there besides options; else false, and that was said. */
bool mt_arguments_process(const mt_arguments *arguments, uint64_t *pid);

/* A decimal number from low to high, nothing else. */
bool mt_arguments_number(const char *text, uint64_t low, uint64_t high, uint64_t *value);

#endif
