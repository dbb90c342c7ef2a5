/* rss: what Mtrace.memory/1 asks of this process, as Erlang terms:
 *
 *   answer    {Heap, Allocator, [{Anonymous, File, Arenas}]}
 *   Heap      #{allocated_bytes, used_bytes, free_bytes, mmap_bytes, mmap_chunks}: see maps.h
 *   Allocator the path of the object whose malloc serves this process, or nil
 *
 * with three sums of bytes for each of the mappings asked about, in their order: see
 * residency.h.
 */
#ifndef MT_SERVE_RSS_H
#define MT_SERVE_RSS_H

#include "core.h"
#include "enif.h"

/* `mappings`: a list of {Start, End, File :: boolean}. `core`: the one
 * that traces, or NULL. badarg if the list is none. Dirty schedulers only. */
mt_term mt_rss(ErlNifEnv *env, const mt_core *core, mt_term mappings);

#endif
