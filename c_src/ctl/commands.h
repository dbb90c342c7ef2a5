/* commands: what mtracectl can be asked to do. Each gets its own arguments, argv[0] being its
 * name, and returns the exit status: 0, what the traced program ended with, or one of these. */
#ifndef MT_CTL_COMMANDS_H
#define MT_CTL_COMMANDS_H

enum {
    MT_EXIT_FAILED = 1, /* it could not be done; one sentence on stderr says why */
    MT_EXIT_USAGE = 2   /* nobody knows such an option or argument */
};

int mt_command_run(int argc, char **argv);
int mt_command_report(int argc, char **argv);
int mt_command_attach(int argc, char **argv);
int mt_command_detach(int argc, char **argv);
/* mtracectl log [OPTIONS] FILE: see log_command. */
int mt_command_log(int argc, char **argv);

/* Prints one sentence to stderr, "mtracectl: " before it and a newline behind. */
void mt_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
