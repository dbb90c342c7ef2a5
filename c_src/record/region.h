/* region: the memory that the tables and the threads' blocks lie in. Mapped once, never given
 * back. Private to the process, unless it was shared before anything was taken:
 *
 *   memfd "mtrace.PID", MAP_SHARED
 *   +--------+-----------------+---------------+---------+---------+----- - - -
 *   | header | chunks, level 0 | sites         | threads | seen    | not used ...
 *   +--------+-----------------+---------------+---------+---------+----- - - -
 *     lists the parts ▲ with offset, bytes, a, b              ▲ used
 *
 * Another process that maps the memfd reads the tables with the same lock-free code as this one
 * does, also when this one has ended, however that happened. The child of a fork has the
 * mapping too; nothing is recorded there. Its size is sealed (F_SEAL_SHRINK), and a core dump
 * leaves it out.
 *
 * Ownership: who takes memory keeps it for good. Any thread; a thread's first hook may call it,
 * hence no lock, no allocation through the malloc family, and no system call but mmap. errno is
 * kept.
 */
#ifndef MT_RECORD_REGION_H
#define MT_RECORD_REGION_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* What it is for, with the two numbers that tell how it is laid out. */
typedef enum mt_region_part {
    MT_REGION_CHUNKS = 1,  /* chunks.h: sets, - */
    MT_REGION_SITES = 2,   /* sites.h: rows, depth */
    MT_REGION_THREADS = 3, /* thread.h: blocks, bytes of a block */
    MT_REGION_SEEN = 4,    /* seen.h: entries, bytes of an entry */
    MT_REGION_STRAYS = 5   /* strays.h: entries, - */
} mt_region_part;

/* Pages of zeroes, which cost nothing until they are touched; or NULL. Where the shared memory
 * is used up, memory for threads is private: an observer misses their counts. */
void *mt_region_take(mt_region_part part, size_t bytes, uint64_t a, uint64_t b);

/* Gives back what has just been taken and turned out not to be needed, and what tests took. */
void mt_region_return(void *memory, size_t bytes);

/* What stands at the begin of shared memory. */

#define MT_REGION_MAGIC 0x6e6f69676572746dull /* "mtregion" */

enum {
    MT_REGION_VERSION = 3,
    MT_REGION_HEADER = 1 << 16, /* bytes; the first part begins there */
    MT_REGION_COMMAND = 4096,
    MT_REGION_PARTS = 1280 /* listed at most */
};

typedef struct mt_region_entry {
    _Atomic uint32_t kind; /* mt_region_part; 0: not there (yet); stored last, with release */
    uint32_t unused;
    uint64_t offset, bytes, a, b;
} mt_region_entry;

/* What the program asks of whoever watches: bits. */
enum {
    MT_REGION_BY_SIZE = 1,  /* a report */
    MT_REGION_BY_COUNT = 2, /* a report in another order */
    MT_REGION_RESET = 4,    /* nothing: reset_ns has just been set */
    MT_REGION_ENDING = 8    /* look at the process now: it ends when it is answered */
};

typedef enum mt_region_state {
    MT_REGION_STARTED = 1,
    MT_REGION_EXITS = 2, /* it has called exit, or returned from main */
    MT_REGION_DETACHED = 3
} mt_region_state;

typedef struct mt_region_header {
    uint64_t magic;
    uint32_t version;
    uint32_t pid;                     /* as the process knows itself */
    uint64_t bytes;                   /* of the whole */
    uint64_t start_ns, start_wall_ns; /* CLOCK_MONOTONIC and CLOCK_REALTIME then */
    uint64_t slots_asked, slots;      /* fewer where there was not room for more */
    uint64_t depth;
    uint64_t fixed_interval;   /* options.h: MT_ADAPTIVE, 0: everything is recorded */
    _Atomic uint64_t interval; /* of the sampler, as of late */
    _Atomic uint64_t epoch;    /* counts resets by the process itself */
    _Atomic uint64_t used;     /* bytes */
    _Atomic uint32_t parts;    /* entries that were begun */
    _Atomic uint32_t state;    /* mt_region_state */

    /* Written by the process; `bell` is a futex that counts changes of `requests`. Records that
     * are older than `reset_ns` do not count. */
    _Atomic uint32_t requests, bell;
    _Atomic uint64_t reset_ns;
    /* Written by who watches; `answered` is a futex: 1 when the process may end. `observer` is
     * its number, 0: nobody. */
    _Atomic uint32_t answered, observer;

    /* The kernel's name of it, and its path and arguments with spaces between, cut; any bytes.
     * From the start: another program may be executed in its place. */
    char name[16], command[MT_REGION_COMMAND];

    mt_region_entry entry[MT_REGION_PARTS];
} mt_region_header;

_Static_assert(sizeof(mt_region_header) <= MT_REGION_HEADER, "the header has its place");

/* From now on what is taken is shared: maps a memfd that has room for tables of this many
 * slots, or for fewer, by halves, where so much cannot be mapped (RLIMIT_AS, RLIMIT_FSIZE, a
 * small machine). Returns the descriptor, the caller's own, close-on-exec; or -1, and all stays
 * private: without memfd_create (Linux 3.17), memory or a free descriptor. Once, before the
 * tables are mapped; not for hooks. */
int mt_region_share(uint64_t slots);

/* The header, or NULL where nothing is shared. */
mt_region_header *mt_region_shared(void);

#endif
