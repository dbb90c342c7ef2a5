/* terms: chunks, stacks and names as Erlang terms.
 *
 *   old       {Age, Size, Address, Nanoseconds, [{Library, Symbol | nil} | nil]}
 *
 *   snapshot  {{[Chunk], Stacks, NowNs}, Names}
 *   Chunk     {Address, Size, BornNs, Weight :: float, StackIndex, Pid | nil, Thread, Kind}
 *   Kind      normal | dirty_cpu | dirty_io | other: the thread's
 *   Thread    its number at the kernel
 *   BornNs    by CLOCK_MONOTONIC, as NowNs
 *
 *   Stacks    a tuple of {[NameIndex], Allocator, Caller, PeakBytes, Allocated,
 *             AllocatedBytes, AllocatedVariance, AllocatedBytesVariance}: floats, the sums of a
 *             row of sites; a stack may have two rows, and two stacks one row
 *   Allocator malloc | enif | binary | resource | env | driver
 *   Caller    {nif | load | destructor | thread, Module, Function, Arity} | nil: see callers.h
 *   Names     a tuple of {Address, Offset, Library | nil, [Frame]}; indices count from 0
 *   Frame     {Symbol | {Module, Function, Arity} | nil, File | nil, Line | nil, Inlined}
 *
 * Texts are binaries, of whatever bytes other people's files hold. No atoms are made of them.
 */
#ifndef MT_SERVE_TERMS_H
#define MT_SERVE_TERMS_H

#include "enif.h"
#include "hook/callers.h"
#include "naming.h"
#include "snapshot.h"

typedef const mt_caller *mt_caller_of(uint32_t row);

/* A binary; NULL is nil. */
mt_term mt_terms_text(ErlNifEnv *env, const char *text);

/* The list of `old`s. `plain`: demangled names. */
mt_term mt_terms_olds(ErlNifEnv *env, const mt_record *records, const mt_named *named,
                      uint32_t n, bool plain, uint64_t now_ns);

/* The snapshot, or the atom no_memory. */
mt_term mt_terms_snapshot(ErlNifEnv *env, const mt_record *records, const mt_named *named,
                          uint32_t n, const mt_name *const *names, uint32_t count,
                          mt_caller_of *caller, uint64_t now_ns);

#endif
