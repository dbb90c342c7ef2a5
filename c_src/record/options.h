/* options: every environment variable that the core reads, in one table.
 *
 *   MTRACE           0 switches tracing off, 1 switches it on in a program that is no BEAM
 *   MTRACE_BEAM      0 leaves a BEAM's own allocator and callers alone: malloc alone is traced
 *   MTRACE_CHILDREN  1 leaves our entry of LD_PRELOAD to the programs that a BEAM starts
 *   MTRACE_INTERVAL  mean cost between two draws of the sampler in bytes, 0 to 2^44: then it
 *                    does not adapt; 0 draws everything
 *   MTRACE_BUDGET    per cent of a thread's time for recording, 0.01 to 100 (1); at most four
 *                    decimals
 *   MTRACE_DEPTH     frames kept of a stack, 2 to MT_DEPTH_MAX (32)
 *   MTRACE_ERLANG_DEPTH  Erlang frames kept of a stack, 0 to 16 (8)
 *   MTRACE_SLOTS     chunks that the table can hold, 16 to 16777216 (4096); rounded up to a
 *                    power of two; with MTRACE_INTERVAL=0 and 16384 or more, none of 3/4 as
 *                    many is ignored
 *   MTRACE_SIGNALS   for mtracectl: SIGUSR1, SIGUSR2 and SIGQUIT ask for a report or a reset.
 * 0: not at all, 1 where nothing else is done about them, 2 also where they are ignored (0)
 *   MTRACE_ORPHANS   for mtracectl: 1 keeps frees of chunks that nobody knows (0)
 *
 * of the event log (log.h), which are read where MTRACE_LOG is set:
 *
 *   MTRACE_LOG       the file; %p is the process's number, %c its name, %% a %
 *   MTRACE_LOG_LIMIT bytes that it may have, 256K at least; K, M or G behind the number (no
 *                    limit)
 *   MTRACE_LOG_FULL  at the limit: over, it is emptied and begun anew, or stop (over)
 *   MTRACE_LOG_FREES frames kept of a free's stack, 0 to MT_DEPTH_MAX: 1 is the hook, 2 with
 *                    its caller (2)
 *
 * and one that is a text, read when names are looked for:
 *
 *   MTRACE_DEBUG_PATH  folders to look for debug files in, beside /usr/lib/debug, with colons
 *                      between them
 *
 * Values are read once, by the constructor, with secure_getenv: a setuid program sees the
 * defaults. A value that makes no sense leaves the default and is named in one line on
 * stderr, in a traced process only; a process that merely inherits the preload stays silent.
 */
#ifndef MT_RECORD_OPTIONS_H
#define MT_RECORD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum { MT_DEPTH_MAX = 64, MT_DEPTH = 32, MT_SLOTS = 4096, MT_BUDGET_PPM = 10000 };

#define MT_INTERVAL_MAX ((uint64_t)1 << 44)
#define MT_ADAPTIVE     UINT64_MAX

typedef struct mt_options {
    uint64_t mode;         /* MTRACE: MT_MODE_* */
    uint64_t beam;         /* MTRACE_BEAM: 0 or 1 */
    uint64_t children;     /* MTRACE_CHILDREN: 0 or 1 */
    uint64_t depth;        /* MTRACE_DEPTH */
    uint64_t erlang_depth; /* MTRACE_ERLANG_DEPTH */
    uint64_t slots;        /* MTRACE_SLOTS, a power of two */
    uint64_t interval;     /* MTRACE_INTERVAL, or MT_ADAPTIVE */
    uint64_t budget_ppm;   /* MTRACE_BUDGET in millionths */
    uint64_t signals;      /* MTRACE_SIGNALS: MT_SIGNALS_* */
    uint64_t orphans;      /* MTRACE_ORPHANS: 0 or 1 */
} mt_options;

enum { MT_MODE_OFF = 0, MT_MODE_ON = 1, MT_MODE_UNSET = 2 };
enum { MT_SIGNALS_NONE = 0, MT_SIGNALS_DEFAULT = 1, MT_SIGNALS_ALL = 2 };

/* The value of an environment variable or NULL; secure_getenv, or a test's own. */
typedef const char *mt_getenv(const char *name);

/* Takes one line about a value that was refused, without a newline. */
typedef void mt_complain(const char *line);

typedef struct mt_log_options {
    const char *file; /* MTRACE_LOG, as it is in the environment; NULL: no log */
    uint64_t limit;   /* MTRACE_LOG_LIMIT, 0: none */
    uint64_t frees;   /* MTRACE_LOG_FREES */
    bool stops;       /* MTRACE_LOG_FULL=stop */
} mt_log_options;

enum { MT_LOG_FREES = 2, MT_LOG_LIMIT_MIN = 1 << 18 };

/* MTRACE alone: cheap enough for every process that inherits the preload. Never complains. */
uint64_t mt_options_mode(mt_getenv *get);

/* The whole table. Each refused value is complained about once; `complain` may be NULL.
 * Allocates nothing; any thread. */
mt_options mt_options_read(mt_getenv *get, mt_complain *complain);

/* The same for the event log's. */
mt_log_options mt_options_read_log(mt_getenv *get, mt_complain *complain);

#endif
