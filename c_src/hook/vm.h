/* vm: the hooks of the BEAM together: nif_calls, nif_memory, erlang_stack.
 *
 *   preloaded   constructor: start(false) ──▶ load of Mtrace.Native: load(env)
 *   attached    load of Mtrace.Native: load(env) ──▶ attach: start(true), then nif_loaded
 *
 * Preloaded they are there before the first library is, and see all of them; the redirection of
 * the program's dlsym (mt_redirect_dlsym), which makes them see, is among what is added here.
 * Each part that does not find the VM as it knows it stays off, and says so in one sentence.
 *
 * Where the object is built without Erlang's headers, no_vm stands in its place, and never
 * starts.
 *
 * One thread at a time, not for hooks of the malloc family.
 */
#ifndef MT_HOOK_VM_H
#define MT_HOOK_VM_H

#include <stdbool.h>

/* ErlNifEnv, without its header: what starts the hooks is also built where there is none. */
struct enif_environment_t;

/* 0; -1 outside of a BEAM, or without room: nothing is redirected then. `scheduling_now`: not
 * from the constructor, see nif_calls.h. Again: the same. */
int mt_vm_start(bool scheduling_now);

/* Gives back slots, tables, and the code of NIFs that were loaded before. */
void mt_vm_stop(void);

/* From load and upgrade of Mtrace.Native, in any mode. */
void mt_vm_load(struct enif_environment_t *env);

/* From a NIF of ours: finds out anew what a load of Mtrace.Native made uncertain. */
void mt_vm_look(void);

/* The i-th of the sentences about what is off, NULL behind the last. */
const char *mt_vm_lacks(unsigned i);

#endif
