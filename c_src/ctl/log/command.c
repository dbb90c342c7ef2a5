/* log_command: mtracectl log, its options. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/commands.h"
#include "log.h"
#include "ctl/show/sizes.h"

static const uint32_t NOT_SAID = UINT32_MAX;

static const char *const help =
    "usage: mtracectl log [OPTIONS] FILE\n"
    "\n"
    "Reads an event log that mtracectl run --log or MTRACE_LOG wrote, and prints a\n"
    "summary, or one of these:\n"
    "      --jsonl           every event a line of JSON, as py_malloc_trace has it\n"
    "      --jsonl=long      the same with thread, time and the named stack\n"
    "      --csv             every event a row: function;thread;address;size;ms;stack\n"
    "      --sql             a table for these rows, and how to import them (no FILE)\n"
    "      --remaining       blocks and bytes left, by library::symbol of the caller\n"
    "      --orphans TIME    what is older and was not freed, and frees without an\n"
    "                        allocation; with --csv as rows. TIME: seconds, 500ms, 5m\n"
    "      --diff LOG        whose memory grew since LOG, that of an earlier run\n"
    "      --timeline        live bytes over time, the peak and its stacks, temporary\n"
    "                        allocations; with --csv as rows\n"
    "      --report          what is left, as mtracectl run reports it\n"
    "\n"
    "      --depth N         frames shown of a stack (all; --jsonl, --remaining: 1)\n"
    "      --thread T        what the thread with this number or name allocated\n"
    "      --points N        lines or rows of --timeline (24, 1000)\n"
    "      --maps FILE       a copy of /proc/PID/maps, if the log's list is lost\n"
    "\n"
    "What is left is shown by these, too; all but --diff:\n";

/* The argument of an option that is given as --name VALUE or --name=VALUE; NULL: it is another
 * option, or has none. `*taken`: words. */
static const char *argument(int argc, char **argv, const char *name, int *taken) {
    size_t n = strlen(name);
    if (strncmp(argv[0], name, n) != 0) return NULL;
    *taken = 1;
    if (argv[0][n] == '=') return argv[0] + n + 1;
    if (argv[0][n] || argc < 2) return NULL;
    *taken = 2;
    return argv[1];
}

static int number(const char *option, const char *text, uint32_t most, uint32_t *value) {
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || n == 0 || n > most) {
        mt_say("%s is a number from 1 to %u, not %s", option, most, text);
        return -1;
    }
    *value = (uint32_t)n;
    return 0;
}

/* As mt_show_option. */
static int valued(mt_logged_options *o, int argc, char **argv) {
    int taken = 0;
    const char *text;
    if ((text = argument(argc, argv, "--depth", &taken)))
        return number("--depth", text, 1 << 24, &o->depth) ? -1 : taken;
    if ((text = argument(argc, argv, "--points", &taken)))
        return number("--points", text, 1000000, &o->points) ? -1 : taken;
    if ((text = argument(argc, argv, "--orphans", &taken))) {
        o->output = MT_LOG_ORPHANS;
        if (mt_time_parse(text, &o->orphan_ns)) return taken;
        mt_say("--orphans wants seconds, or a time as 500ms, 10s, 5m, 2h, not %s", text);
        return -1;
    }
    if ((o->other = (text = argument(argc, argv, "--diff", &taken)) ? text : o->other) && text)
        return o->output = MT_LOG_DIFF, taken;
    if ((text = argument(argc, argv, "--maps", &taken))) return o->maps = text, taken;
    if ((text = argument(argc, argv, "--thread", &taken))) return o->thread = text, taken;
    return 0;
}

static int plain(mt_logged_options *o, const char *word) {
    static const struct {
        const char *word;
        mt_logged_output output;
    } outputs[] = {{"--jsonl", MT_LOG_JSONL},
                   {"--jsonl=short", MT_LOG_JSONL},
                   {"--jsonl=long", MT_LOG_JSONL_LONG},
                   {"--remaining", MT_LOG_REMAINING},
                   {"--timeline", MT_LOG_TIMELINE},
                   {"--report", MT_LOG_CENSUS},
                   {"--sql", MT_LOG_SQL}};
    if (strcmp(word, "--csv") == 0) return o->csv = true, 1;
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++)
        if (strcmp(word, outputs[i].word) == 0) return o->output = outputs[i].output, 1;
    return 0;
}

/* One option at argv[0]; the words that it took, -1: it has been said what is wrong. */
static int option(mt_logged_options *o, int argc, char **argv) {
    int taken = plain(o, argv[0]);
    if (taken == 0) taken = valued(o, argc, argv);
    if (taken == 0) taken = mt_show_option(&o->show, argc, argv);
    if (taken == 0)
        mt_say(
            "mtracectl log has no option %s, or it wants an argument; see mtracectl log --help",
            argv[0]);
    return taken ? taken : -1;
}

/* What of several options is the output. 0, or -1: they do not fit. */
static int settle(mt_logged_options *o) {
    mt_show *show = &o->show;
    if (o->output == MT_LOG_SUMMARY && o->csv) o->output = MT_LOG_CSV;
    if (show->top == NOT_SAID) show->top = o->output == MT_LOG_REMAINING ? 0 : 10;
    if (o->output == MT_LOG_SUMMARY &&
        (show->flame_graph || show->collapsed_path || show->pprof_path || show->save_path))
        o->output = MT_LOG_CENSUS;
    if (o->csv && o->output != MT_LOG_CSV && o->output != MT_LOG_ORPHANS &&
        o->output != MT_LOG_TIMELINE) {
        mt_say("--csv goes alone, with --orphans or with --timeline");
        return -1;
    }
    bool events =
        o->output == MT_LOG_CSV || o->output == MT_LOG_JSONL || o->output == MT_LOG_JSONL_LONG;
    if (events && (show->ignore_path || show->leaks_only_ns)) {
        mt_say(
            "--ignore and --leaks-only do not go with every event: a free does not say whose "
            "chunk it is; take --orphans 0 --csv");
        return -1;
    }
    return 0;
}

static int run(mt_logged *log) {
    switch (log->options->output) {
    case MT_LOG_JSONL:
        return mt_logged_jsonl(log, false);
    case MT_LOG_JSONL_LONG:
        return mt_logged_jsonl(log, true);
    case MT_LOG_CSV:
        return mt_logged_csv(log);
    case MT_LOG_REMAINING:
        return mt_logged_remaining(log);
    case MT_LOG_ORPHANS:
        return mt_logged_orphans(log);
    case MT_LOG_DIFF:
        return mt_logged_diff(log);
    case MT_LOG_TIMELINE:
        return mt_logged_timeline(log);
    case MT_LOG_CENSUS:
        return mt_logged_census(log);
    default:
        return mt_logged_summary(log);
    }
}

static int read_log(const mt_logged_options *options, const char *path) {
    mt_logged log;
    mt_out out;
    signal(SIGPIPE, SIG_IGN); /* a write says so */
    mt_out_open(&out, STDOUT_FILENO);
    int status = MT_EXIT_FAILED;
    if (options->output == MT_LOG_SQL) {
        mt_logged_sql(&out);
        mt_out_close(&out);
        return 0;
    }
    if (mt_logged_open(&log, path, options, &out) == 0) {
        status = run(&log);
        mt_out_flush(&out);
        if (mt_logged_tell(&log)) status = MT_EXIT_FAILED;
    }
    mt_out_close(&out);
    mt_logged_close(&log);
    return status;
}

int mt_command_log(int argc, char **argv) {
    mt_logged_options options = {.show = MT_SHOW_DEFAULT};
    const char *path = NULL;
    bool words = true;
    options.show.top = NOT_SAID;
    for (int i = 1, taken; i < argc; i += taken) {
        taken = 1;
        if (words && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            printf("%s%s", help, mt_show_help);
            return 0;
        }
        if (words && strcmp(argv[i], "--") == 0) words = false;
        else if (words && argv[i][0] == '-' && argv[i][1]) {
            if ((taken = option(&options, argc - i, argv + i)) < 0) return MT_EXIT_USAGE;
        } else if (path) {
            mt_say("mtracectl log reads one log: %s is one too many", argv[i]);
            return MT_EXIT_USAGE;
        } else path = argv[i];
    }
    if (settle(&options) != 0) return MT_EXIT_USAGE;
    if (!path && options.output != MT_LOG_SQL) {
        mt_say("mtracectl log wants the name of a log; see mtracectl log --help");
        return MT_EXIT_USAGE;
    }
    return read_log(&options, path);
}
