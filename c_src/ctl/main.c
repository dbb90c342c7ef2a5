/* main: mtracectl, the command line. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "ctl/show/show.h"

/* That of the package: mix.exs. */
#define VERSION "0.1.0"

typedef struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *does;
} command;

static const command commands[] = {
    {"run", mt_command_run, "runs a program and reports what it has not freed"},
    {"report", mt_command_report, "reports what a traced process holds now"},
    {"attach", mt_command_attach, "begins to trace a process that was started plain"},
    {"detach", mt_command_detach, "ends that, and reports what is left"},
    {"log", mt_command_log, "turns an event log into what other tools read, and reports"},
    {"show", mt_command_show, "shows what was saved: as text, as a profile, or compared"},
    {NULL, NULL, NULL},
};

static void usage(FILE *to) {
    fputs("usage: mtracectl COMMAND [OPTIONS] [ARGUMENTS]\n\n", to);
    for (const command *c = commands; c->name; c++)
        fprintf(to, "  %-8s %s\n", c->name, c->does);
    fputs("\nmtracectl COMMAND --help tells of its options.\n", to);
}

int main(int argc, char **argv) {
    if (argc < 2) return usage(stderr), MT_EXIT_USAGE;
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) return usage(stdout), 0;
    if (strcmp(argv[1], "--version") == 0) return puts("mtracectl " VERSION), 0;
    for (const command *c = commands; c->name; c++)
        if (strcmp(c->name, argv[1]) == 0) return c->run(argc - 1, argv + 1);
    mt_say("there is no command %s; mtracectl --help lists them", argv[1]);
    return MT_EXIT_USAGE;
}
