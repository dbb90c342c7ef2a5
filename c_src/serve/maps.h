/* maps: what stats/0 and status/0 answer, as Erlang maps with atoms for keys. */
#ifndef MT_SERVE_MAPS_H
#define MT_SERVE_MAPS_H

#include "core.h"
#include "enif.h"

/* Counters, coverage and the heap's own account: non-negative integers. */
mt_term mt_maps_stats(ErlNifEnv *env, const mt_core *core);

/* The heap's own account alone: allocated_bytes, used_bytes, free_bytes, mmap_bytes,
 * mmap_chunks. */
mt_term mt_maps_heap(ErlNifEnv *env);

/* How that core traces, and what it lacks; without a core, `reason` and this object alone. */
mt_term mt_maps_status(ErlNifEnv *env, const mt_core *core, mt_term reason);

#endif
