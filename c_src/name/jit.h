/* jit: which Erlang function an address in the BEAM's JIT code belongs to, and its source line.
 *
 * The VM tells debuggers through GDB's JIT interface, without any flag (OTP 25 and later:
 * jit_list.h, jit_symfile.h). Where it does not, the perf map that it writes under +JPperf true
 * serves (perf_map.h), without lines. Names are the VM's, in Erlang's quoting:
 *
 *     lists:foldl/3   'Elixir.Enum':'map_every?'/3      functions; mfa.h takes them apart
 *     global::call_nif_shared   lists::codeHeader       pieces that are no function's
 *
 * A picture is that of a moment: code that was unloaded before is unknown (on OTP 25, which
 * never forgets, known until other code takes its place), code that comes later too. Whatever
 * the VM's memory holds, an unexpected thing ends in "unknown", never in a fault.
 */
#ifndef MT_NAME_JIT_H
#define MT_NAME_JIT_H

#include <stdbool.h>
#include <stdint.h>

#include "jit_ranges.h"
#include "memory.h"

/* Owns all strings of its answers. Zero-initialised is empty. */
typedef struct mt_jit {
    mt_arena arena;
    mt_jit_range *range; /* sorted, disjoint */
    uint32_t n;
} mt_jit;

typedef struct mt_erlang {
    const char *name;
    const char *file; /* NULL: unknown, and line is 0 */
    uint32_t line;
} mt_erlang;

/* Takes the picture. 0, or -1: a VM without JIT, none, an unknown one, or no memory; nothing is
 * named then. An earlier picture must have been emptied. Not for hooks (the loader's lock, some
 * 5 system calls a module); any thread, one at a time for a picture. Takes 10 to 30 KB a module
 * while it lives. */
int mt_jit_read(mt_jit *jit);

/* What lies at this address; for a frame of a stack ask for the return address - 1, which is in
 * the call. False if nothing known does; `found` is then all 0. Any thread. */
bool mt_jit_find(const mt_jit *jit, uintptr_t address, mt_erlang *found);

/* Gives everything back, the strings too. */
void mt_jit_empty(mt_jit *jit);

#endif
