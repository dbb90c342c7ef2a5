/* log: mtracectl log, as its parts see it: a log that has been opened, what is wanted of it,
 * and the outputs, one a file. One thread. */
#ifndef MT_CTL_LOG_H
#define MT_CTL_LOG_H

#include "ctl/show/ignore.h"
#include "account.h"
#include "file.h"
#include "stacks.h"
#include "out.h"
#include "ctl/show/names.h"
#include "ctl/show/show.h"

typedef enum mt_logged_output {
    MT_LOG_SUMMARY,
    MT_LOG_JSONL,
    MT_LOG_JSONL_LONG,
    MT_LOG_CSV,
    MT_LOG_REMAINING,
    MT_LOG_ORPHANS,
    MT_LOG_DIFF,
    MT_LOG_TIMELINE,
    MT_LOG_CENSUS, /* --flame-graph, --pprof: what show.h makes of what is left */
    MT_LOG_SQL
} mt_logged_output;

typedef struct mt_logged_options {
    mt_logged_output output;
    bool csv;           /* of --orphans, --timeline */
    uint32_t depth;     /* frames of a stack that are shown; 0: not said */
    uint32_t points;    /* of the timeline; 0: not said */
    uint64_t orphan_ns; /* what is older is an orphan */
    const char *other;  /* --diff */
    const char *maps;   /* --maps */
    const char *thread; /* --thread: its tid or name; NULL: all */
    mt_show show;       /* top, ignore, folders, leaks_only_ns, … */
} mt_logged_options;

typedef struct mt_logged {
    mt_logged_file file;
    mt_logged_stacks stacks;
    const mt_logged_options *options;
    mt_names *names;
    bool *counts; /* by a thread's number: whose events are wanted; NULL: all */
    mt_ignore *ignore;
    uint8_t *ignored; /* by a stack's number: 0 not asked, 1 no, 2 yes */
    mt_out *out;
    uint64_t events, before_damage; /* once they have been read */
} mt_logged;

/* 0, or -1 after a sentence on stderr. To be closed in any case. */
int mt_logged_open(mt_logged *log, const char *path, const mt_logged_options *options,
                   mt_out *out);

/* Says on stderr what is wrong with the log, once its events have been read. The status that
 * mtracectl ends with. */
int mt_logged_tell(const mt_logged *log);
void mt_logged_close(mt_logged *log);

/* The books of the whole log, for those threads that are wanted. */
void mt_logged_books(mt_logged *log, mt_logged_account *account);

/* What is still allocated at the end, older than `age_ns`, by a stack's number. To be freed. */
typedef struct mt_logged_left {
    uint64_t count, bytes;
    uint64_t oldest, youngest; /* ticks */
} mt_logged_left;
mt_logged_left *mt_logged_what_is_left(const mt_logged *log, const mt_logged_account *account,
                                       uint64_t age_ns);

/* Whether a stack is one of those that --ignore means. */
bool mt_logged_ignored(mt_logged *log, uint32_t stack, uint64_t at);

/* The numbers of the stacks with something, the most bytes first, without those that are
 * ignored; to be freed. */
uint32_t *mt_logged_order(mt_logged *log, const mt_logged_left *left,
                          const mt_logged_site *site, uint32_t *count);

/* The first of them with their stacks, and the sum of all. */
void mt_logged_list(mt_logged *log, const mt_logged_account *account,
                    const mt_logged_left *left);

/* Outputs. MT_EXIT_FAILED or 0: whether it could be done; what is wrong with the log counts
 * besides. */
int mt_logged_summary(mt_logged *log);
int mt_logged_jsonl(mt_logged *log, bool full);
int mt_logged_csv(mt_logged *log);
int mt_logged_remaining(mt_logged *log);
int mt_logged_orphans(mt_logged *log);
int mt_logged_diff(mt_logged *log);
int mt_logged_timeline(mt_logged *log);
int mt_logged_census(mt_logged *log);
void mt_logged_sql(mt_out *out);

#endif
