/* arguments: see the header. */
#include "arguments.h"

#include <stddef.h>
#include <string.h>

#include "commands.h"

typedef enum { FLAG, TEXT, NUMBER } kind;

typedef struct {
    const char *name;
    kind kind;
    unsigned which;
    uint64_t low, high; /* of a number; a flag: what is stored is `high` */
    size_t offset;
    const char *allowed;
} option;

#define FIELD(f) offsetof(mt_arguments, f)

/* Depth and slots as options.h has them. */
static const option table[] = {
    {"--exact", FLAG, MT_ARGUMENTS_TABLE, 0, 0, FIELD(interval), ""},
    {"--sample", FLAG, MT_ARGUMENTS_TABLE, 0, MT_ADAPTIVE, FIELD(interval), ""},
    {"--interval", NUMBER, MT_ARGUMENTS_TABLE, 0, MT_INTERVAL_MAX, FIELD(interval),
     "bytes from 0 (exact) to 17592186044416"},
    {"--depth", NUMBER, MT_ARGUMENTS_TABLE, 2, MT_DEPTH_MAX, FIELD(depth),
     "a number of frames from 2 to 64"},
    {"--slots", NUMBER, MT_ARGUMENTS_TABLE, 16, 1 << 24, FIELD(slots),
     "a number of chunks from 16 to 16777216"},
    {"--log", TEXT, MT_ARGUMENTS_TABLE, 0, 0, FIELD(log), ""},
    {"--log-limit", TEXT, MT_ARGUMENTS_TABLE, 0, 0, FIELD(log_limit), ""},
    {"--log-full", TEXT, MT_ARGUMENTS_TABLE, 0, 0, FIELD(log_full), ""},
    {"--children", FLAG, MT_ARGUMENTS_RUN, 0, 1, FIELD(children), ""},
    {"--signals", FLAG, MT_ARGUMENTS_RUN, 0, MT_SIGNALS_ALL, FIELD(signals), ""},
    {"--no-signals", FLAG, MT_ARGUMENTS_RUN, 0, MT_SIGNALS_NONE, FIELD(signals), ""},
    {"--error-exitcode", NUMBER, MT_ARGUMENTS_RUN, 1, 255, FIELD(error_exitcode),
     "a number from 1 to 255"},
    {"--orphans", NUMBER, MT_ARGUMENTS_RUN, 1, 31536000, FIELD(orphans_s),
     "a number of seconds from 1"},
    {"--csv", TEXT, MT_ARGUMENTS_RUN, 0, 0, FIELD(csv), ""},
    {"--outfile", TEXT, MT_ARGUMENTS_OUTFILE, 0, 0, FIELD(outfile), ""},
};

const char mt_arguments_help[] =
    "  --exact            every chunk (this is the default)\n"
    "  --sample           a sample, chosen so that it costs about 1 % of the time\n"
    "  --interval BYTES   a sample, one chunk in so many bytes\n"
    "  --depth N          frames kept of a stack, 2 to 64 (16)\n"
    "  --slots N          chunks that can be known at a time (1048576)\n";

bool mt_arguments_number(const char *text, uint64_t low, uint64_t high, uint64_t *value) {
    uint64_t n = 0;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 18 || text[digits]) return false;
    for (; *text; text++) n = n * 10 + (uint64_t)(*text - '0');
    if (n < low || n > high) return false;
    *value = n;
    return true;
}

static const option *find(const char *word, size_t n, unsigned which) {
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].which & which && strlen(table[i].name) == n &&
            memcmp(table[i].name, word, n) == 0)
            return &table[i];
    return NULL;
}

/* As mt_show_option. */
static int take(mt_arguments *a, unsigned which, int argc, char **argv) {
    size_t n = strcspn(argv[0], "=");
    const option *o = find(argv[0], n, which);
    const char *value = argv[0][n] ? argv[0] + n + 1 : NULL;
    if (!o) return 0;
    char *field = (char *)a + o->offset;
    if (o->kind == FLAG) {
        if (value) return mt_say("%s takes no value", o->name), -1;
        /* --children alone is a bool. */
        if (o->offset == FIELD(children)) a->children = true;
        else memcpy(field, &o->high, sizeof o->high);
        return 1;
    }
    int words = value ? 1 : 2;
    if (!value && argc < 2) return mt_say("%s needs a value behind it", o->name), -1;
    if (!value) value = argv[1];
    if (o->kind == TEXT) {
        if (!*value) return mt_say("%s needs a value that is not empty", o->name), -1;
        memcpy(field, &value, sizeof value);
    } else if (!mt_arguments_number(value, o->low, o->high, (uint64_t *)(void *)field)) {
        return mt_say("%s %s is not understood; allowed: %s", o->name, value, o->allowed), -1;
    }
    return words;
}

/* As the program will read it. */
static const mt_arguments *asked;
static bool refused;

static const char *log_variable(const char *name) {
    if (strcmp(name, "MTRACE_LOG") == 0) return asked->log;
    return strcmp(name, "MTRACE_LOG_LIMIT") == 0 ? asked->log_limit : NULL;
}

static void refuse(const char *line) {
    (void)line;
    refused = true;
}

static bool limit_makes_sense(const mt_arguments *a) {
    asked = a;
    refused = false;
    mt_options_read_log(log_variable, refuse);
    return !refused;
}

static bool make_sense(const mt_arguments *a) {
    if (!a->log && (a->log_limit || a->log_full))
        mt_say("--log-limit and --log-full say how --log FILE is written; give that, too");
    else if (a->log_full && strcmp(a->log_full, "over") && strcmp(a->log_full, "stop"))
        mt_say("--log-full %s is not understood; allowed: over (begin anew), stop",
               a->log_full);
    else if (a->log && !limit_makes_sense(a))
        mt_say(
            "--log-limit %s is not understood; allowed: bytes from 256K to 16384G; K, M or G "
            "may follow the number",
            a->log_limit);
    else if (a->log && (a->error_exitcode || a->orphans_s))
        mt_say("with --log every event goes into the file and no table is kept: "
               "--error-exitcode and --orphans have nothing to go by; mtracectl log FILE "
               "tells both");
    else if (a->orphans_s && a->interval)
        mt_say("--orphans needs to know every chunk: without --sample and --interval");
    else if (!a->orphans_s != !a->csv)
        mt_say("--orphans SECONDS and --csv FILE go together: what is older is written there");
    else return true;
    return false;
}

/* All options. Where the first word stands that is none; 0: help is wanted; -1: something is
 * wrong, and that was said. */
static int take_all(mt_arguments *a, unsigned which, int argc, char **argv) {
    int i = 1;
    while (i < argc && argv[i][0] == '-' && argv[i][1] && strcmp(argv[i], "--") != 0) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return 0;
        int words = take(a, which, argc - i, argv + i);
        if (words == 0) words = mt_show_option(&a->show, argc - i, argv + i);
        if (words == 0)
            mt_say("%s has no option %s; mtracectl %s --help lists them", argv[0], argv[i],
                   argv[0]);
        if (words <= 0) return -1;
        i += words;
    }
    return i;
}

bool mt_arguments_parse(mt_arguments *a, unsigned which, void (*usage)(void), int argc,
                        char **argv, int *status) {
    *a = (mt_arguments){
        .show = MT_SHOW_DEFAULT, .depth = 16, .slots = 1 << 20, .signals = MT_SIGNALS_DEFAULT};
    int i = take_all(a, which, argc, argv);
    *status = i == 0 ? 0 : MT_EXIT_USAGE;
    if (i == 0) usage();
    if (i <= 0) return false;
    if (i < argc && strcmp(argv[i], "--") == 0) i++;
    a->rest = argv + i;
    return make_sense(a);
}

static bool process(const mt_arguments *a, uint64_t *pid) {
    if (!a->rest[0]) mt_say("which process? its number is missing");
    else if (!mt_arguments_number(a->rest[0], 1, 1 << 30, pid))
        mt_say("%s is no number of a process", a->rest[0]);
    else if (a->rest[1]) mt_say("only one process at a time: what is %s?", a->rest[1]);
    else return true;
    return false;
}

int mt_arguments_act(unsigned which, void (*usage)(void),
                     int (*act)(const mt_arguments *, pid_t), int argc, char **argv) {
    mt_arguments a;
    uint64_t pid;
    int status;
    if (!mt_arguments_parse(&a, which, usage, argc, argv, &status)) return status;
    return process(&a, &pid) ? act(&a, (pid_t)pid) : MT_EXIT_USAGE;
}
