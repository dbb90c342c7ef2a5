/* options: every environment variable that the core reads, in one table.
 *
 *   MTRACE           0 switches tracing off, 1 switches it on in a program that is no BEAM
 *   MTRACE_CHILDREN  1 leaves our entry of LD_PRELOAD to the programs that a BEAM starts
 *   MTRACE_DEPTH     frames kept of a stack, 2 to MT_DEPTH_MAX (32)
 *   MTRACE_SLOTS     chunks that the table can hold, 8 to 16777216 (4096); rounded up to a
 *                    power of two
 *
 * Values are read once, by the constructor, with secure_getenv: a setuid program sees the
 * defaults. A value that makes no sense leaves the default and is named in one line on
 * stderr, in a traced process only; a process that merely inherits the preload stays silent.
 */
#ifndef MT_RECORD_OPTIONS_H
#define MT_RECORD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum { MT_DEPTH_MAX = 64, MT_DEPTH = 32, MT_SLOTS = 4096 };

typedef struct mt_options {
    uint32_t mode;     /* MTRACE: MT_MODE_* */
    uint32_t children; /* MTRACE_CHILDREN: 0 or 1 */
    uint32_t depth;    /* MTRACE_DEPTH */
    uint32_t slots;    /* MTRACE_SLOTS, a power of two */
} mt_options;

enum { MT_MODE_OFF = 0, MT_MODE_ON = 1, MT_MODE_UNSET = 2 };

/* The value of an environment variable or NULL; secure_getenv, or a test's own. */
typedef const char *mt_getenv(const char *name);

/* Takes one line about a value that was refused, without a newline. */
typedef void mt_complain(const char *line);

/* MTRACE alone: cheap enough for every process that inherits the preload. Never complains. */
uint32_t mt_options_mode(mt_getenv *get);

/* The whole table. Each refused value is complained about once; `complain` may be NULL.
 * Allocates nothing; any thread. */
mt_options mt_options_read(mt_getenv *get, mt_complain *complain);

#endif
