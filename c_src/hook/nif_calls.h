/* nif_calls: which NIF this thread is running.
 *
 *   beam.smp ── dlsym "nif_init" ──▶ a thunk ──▶ the library's nif_init
 *                                                │ its ErlNifEntry
 *                                                ▼
 *                                    a copy, where each function is a thunk ──▶ load_nif
 *   process ── call ──▶ thunk ──▶ run: {row, env} on the stack ──▶ the NIF ──▶ what was before
 *
 * Names, arities and flags stay as they are, so the VM accepts the copy for the entry.
 * Functions that a NIF schedules (enif_schedule_nif) go by the name that it gives them, the one
 * that the VM shows in stack traces too; the callbacks load, upgrade and unload are wrapped
 * likewise. What the VM has linked in (zlib, prim_file, ...) is not seen: it never asks for
 * "nif_init".
 *
 * An entry is copied up to the length that its version has (2.7, OTP 17, to 2.18, OTP 29); one
 * of any other version is left as it is, and its NIFs are nobody.
 *
 * What a call costs more is the last line of bench/RESULTS.md.
 */
#ifndef MT_HOOK_NIF_CALLS_H
#define MT_HOOK_NIF_CALLS_H

#include <stdbool.h>
#include <stdint.h>

#include "beam.h"
#include "callers.h"
#include "record/context.h"

/* What this thread is at: the innermost call, which lies on its stack; NULL: none. */
typedef struct mt_call {
    struct mt_call *outer;
    ErlNifEnv *env; /* NULL in a destructor */
    uint32_t row;
    uint32_t thread; /* mt_thread_kind, if pid is known */
    uint64_t pid;    /* 0: nobody has asked yet, or it is none */
} mt_call;

extern __thread mt_call *volatile mt_nif_calls_mine
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* Begins to wrap what is loaded from now on, and to answer mt_context_read. From the
 * constructor of a BEAM or an attach; mt_redirect_dlsym is for the caller to add.
 * `scheduling_now`: the VM has started its schedulers, as the first nif_init tells otherwise;
 * threads that are none of them are told apart from then on. 0, or -1 where it is not possible:
 * then mt_nif_calls_lacks says why. Again, and after a stop: the same. One thread at a time. */
int mt_nif_calls_start(bool scheduling_now);

/* The VM has started its schedulers: from a load of a NIF of ours. Any thread. */
void mt_nif_calls_scheduling(void);

/* Wraps no more. What is wrapped stays so, as the VM has it: it still notes who calls. */
void mt_nif_calls_stop(void);

/* For whoever loads NIFs that were there before us: the thunk of a function, or NULL. */
void *mt_nif_calls_thunk(void *function, const char *module, const char *name, unsigned arity);
bool mt_nif_calls_is_thunk(const void *address);
bool mt_nif_calls_is_callback(const void *address);

/* Whether an entry is of a version that is known, and makes sense. */
bool mt_nif_calls_knows(const ErlNifEntry *entry);

/* A thunk for a destructor of resources; `real` may be NULL. NULL: no room. When it has run,
 * `gone` is told of the resource. */
void *mt_nif_calls_destructor(void *real, const char *type);
extern void (*mt_nif_calls_gone)(void *resource);

/* NULL if all is well, or a sentence: what is not known of callers, and why. */
const char *mt_nif_calls_lacks(void);

#endif
