/* erlang_stack: the Erlang functions that a NIF was called from.
 *
 *   env ──▶ process: id ... htop stop ... heap hend, heap's size
 *                             │    │        │    │
 *                             ▼    ▼        ▼    ▼
 *     heap [ terms .......... ]   [ stack: y registers, return addresses ... ]
 *
 * No header tells where these words are, so they are found: at the entry of a NIF env holds the
 * process's heap top and the end of its free heap, which pick out htop and stop; heap, hend and
 * the size must agree with each other around them. What was found counts once several calls,
 * from different depths of stack, have found the same and nothing else, and the outermost
 * return address was the same in all: that of the end of every process. One call that does not
 * agree begins that anew; too many, and it stays off.
 *
 * On the stack return addresses alone have two low bits that are 0, but for frame pointers
 * (+JPperf fp), which point into the stack itself. A function that calls itself from one place
 * stands there once.
 *
 * A VM without JIT keeps no addresses of machine code there: none are shown.
 *
 * Only under NIFs on normal schedulers: a dirty one runs beside the process's heap, which
 * others may then move. There are no return addresses of tail calls; the NIF itself is not
 * among them.
 */
#ifndef MT_HOOK_ERLANG_STACK_H
#define MT_HOOK_ERLANG_STACK_H

#include <stdbool.h>
#include <stdint.h>

#include "beam.h"

/* Calls that must agree before anything is believed. */
enum { MT_ERLANG_STACK_CALLS = 4 };

/* Calls that find nothing, or something else, after which nothing is looked for any more; each
 * begins the agreement anew. */
enum { MT_ERLANG_STACK_FAILURES = 100 };

/* To be called in a NIF on a normal scheduler, before it makes any term, from several depths of
 * Erlang calls. True if the stack can be read now. Not for hooks (system calls). */
bool mt_erlang_stack_calibrate(ErlNifEnv *env);

/* Return addresses into Erlang code, innermost first, at most `max`; 0 where nothing is known.
 * env: of the NIF that this thread is in; pid: of its process. For hooks: reads what was
 * checked to lie within the process's stack, at most 512 words. */
uint32_t mt_erlang_stack(ErlNifEnv *env, uint64_t pid, uintptr_t *out, uint32_t max);

/* NULL, or a sentence: why there are no Erlang frames. */
const char *mt_erlang_stack_lacks(void);

#endif
