/* snapshot: a consistent copy of what is recorded, taken while other threads allocate.
 *
 * Each record in the copy is whole: its chunk was live, with that size, age and stack, at one
 * moment during the call. Two records need not be of the same moment. A chunk that is freed
 * or recorded meanwhile may be missing.
 */
#ifndef MT_SERVE_SNAPSHOT_H
#define MT_SERVE_SNAPSHOT_H

#include <stdint.h>

#include "record/context.h"
#include "record/levels.h"
#include "record/options.h"
#include "record/sites.h"

enum { MT_FRAMES_MAX = MT_DEPTH_MAX + MT_ERLANG_DEPTH_MAX };

typedef struct mt_record {
    mt_chunk chunk;
    mt_site_totals totals; /* of its row of sites */
    mt_allocator allocator;
    uint32_t caller;                /* see context.h */
    uint32_t frames, native;        /* how many, and how many of them are native */
    uintptr_t stack[MT_FRAMES_MAX]; /* return addresses, [0] in the hook, Erlang's last */
} mt_record;

/* Copies at most `max` records into the caller's array; returns how many. Never waits; some
 * 50 ns a record. Any thread; not for hooks. */
uint32_t mt_snapshot_take(const mt_levels *chunks, const mt_sites *sites, mt_record *records,
                          uint32_t max);

/* The same for the oldest `max` records, oldest first, by address where two are of one moment.
 * Those that end between choosing and copying are missing. */
uint32_t mt_snapshot_oldest(const mt_levels *chunks, const mt_sites *sites, mt_record *records,
                            uint32_t max);

#endif
