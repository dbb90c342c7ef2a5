/* nif_loaded: wraps NIFs that were loaded before us.
 *
 *   library: nif_init() ──▶ its ErlNifEntry: name, arity, function     as an upgrade would ask
 *   JIT: "crypto:hash_nif/2" at lo ─┐
 *                                   ▼
 *        | info | jump | ... | the function | library | ... |          at most 128 bytes on
 *                                   ▲
 *                                   └── the only aligned word that is the function: now a thunk
 *
 * The VM calls the function through that word of its code, which is data to it: threads may be
 * calling meanwhile. It is written through the mapping that the JIT writes by itself (aliases),
 * so that no protection changes, and only by compare and exchange. All else is left as it is
 * and counted: code that holds no such word or two (a fresh one is not final at once), memory
 * that has no second mapping, a library of an unknown version.
 *
 * Who knows the VM's code calls, in one thread, not in a hook:
 *     begin; see, for each function that the JIT lists; end
 */
#ifndef MT_HOOK_NIF_LOADED_H
#define MT_HOOK_NIF_LOADED_H

#include <stdbool.h>
#include <stdint.h>

/* Code of one Erlang function; the texts are plain atoms, without quotes. */
typedef struct mt_nif_code {
    uintptr_t lo, hi;
    const char *module, *function;
    unsigned arity;
} mt_nif_code;

typedef struct mt_nif_loaded {
    uint32_t functions; /* that the libraries have */
    uint32_t wrapped;   /* by this run or before */
    uint32_t left;      /* found, but not as they should be: worth another run a second later */
} mt_nif_loaded;

/* Asks all libraries; calls their nif_init. To be called after mt_nif_calls_start. 0, or -1: no
 * memory, or nothing to read the mappings from; then neither see nor end may follow. */
int mt_nif_loaded_begin(void);

void mt_nif_loaded_see(const mt_nif_code *code);

/* `functions` less `wrapped` and `left` belong to modules that are not loaded, or whose code
 * the VM does not list (no JIT). */
void mt_nif_loaded_end(mt_nif_loaded *result);

/* NULL, or a sentence about the last run: whose callers are not known. */
const char *mt_nif_loaded_lacks(void);

/* Gives each word its function back, where ours still stands. */
void mt_nif_loaded_undo(void);

#endif
