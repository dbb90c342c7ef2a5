/* census: what a traced program holds at one moment, by site: what reports are made of.
 *
 * Built from the memory that it shares with us (observe), or read from a file that another run
 * saved (saved). One thread; freed as a whole.
 */
#ifndef MT_CTL_CENSUS_H
#define MT_CTL_CENSUS_H

#include <stdbool.h>
#include <stdint.h>

/* Numbers are exact where census.exact; else estimates, with the square of their standard
 * error. */
typedef struct mt_census_site {
    const uint64_t *stack; /* return addresses, [0] in the hook */
    uint32_t frames;
    uint64_t count, bytes;               /* live */
    uint64_t peak_count, peak_bytes;     /* each at its own moment */
    uint64_t allocated, allocated_bytes; /* since the start or the last reset */
    double count_variance, bytes_variance;
    uint64_t oldest_ns, youngest_ns; /* CLOCK_MONOTONIC, when they were allocated */
} mt_census_site;

typedef struct mt_census_object {
    uint64_t lo, hi, base, since_ns, until_ns;
    const char *path;
    const uint8_t *build_id;
    uint32_t build_id_bytes;
} mt_census_object;

typedef struct mt_census {
    uint32_t pid;
    const char *command;                /* its path and arguments, with spaces between */
    uint64_t start_ns, now_ns, wall_ns; /* CLOCK_MONOTONIC; CLOCK_REALTIME at now_ns */
    bool exact;
    bool ended; /* the process has; its figures are those of its end, or not known */
    uint32_t sites, objects;
    mt_census_site *site; /* with something live */
    mt_census_object *object;
    /* Coverage; recorded: live chunks that are known. */
    uint64_t recorded, ignored, thinned, interval, slots, evicted_sites;
    /* Where chunks were ignored in exact mode: what may have lacked room for them. */
    bool no_slots, no_rows;
    uint64_t slots_asked; /* for which there was no memory; 0: there was */
    uint64_t rows;        /* for so many stacks there is room */
    uint64_t unnoted;     /* files whose place was not noted: what lies there has no name */
    uint64_t allocations, frees; /* calls since the start */
    uint64_t count, bytes;       /* live, sums of the sites */
    /* Of the process, in bytes; 0: not known. The allocator's: mappings that chunks lie in. */
    uint64_t vss, rss, shared, allocator_virtual, allocator_resident;
    void *memory; /* the owner's */
} mt_census;

/* Of a census that target made. NULL is allowed. */
void mt_census_free(mt_census *census);

#endif
