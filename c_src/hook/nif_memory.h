/* nif_memory: the VM's own allocators as NIF libraries and drivers call them: enif_alloc and
 * its kin, binaries, environments, resources, driver_alloc and its kin. No tracer of malloc
 * sees them: the VM carves chunks out of carriers that it maps.
 *
 *   enif_alloc, enif_realloc        until enif_free
 *   enif_alloc_binary,              until enif_release_binary; or until the VM owns it, by
 *     enif_realloc_binary,            enif_make_binary or enif_ioq_enq_binary
 *     enif_term_to_binary
 *   enif_alloc_resource             until its destructor has run (nif_resources)
 *   enif_alloc_env                  until enif_free_env; how large it is nobody tells: it is
 *                                     taken for MT_ENV_BYTES, and terms are not counted
 *   driver_alloc, driver_realloc    until driver_free
 *   driver_alloc_binary,            until the driver's first driver_free_binary: who else holds
 *     driver_realloc_binary           it then is mostly the VM
 *
 * What a driver's control or call hands to the VM as its result is not seen to end there.
 * enif_make_new_binary is the VM's from the start. Only libraries are redirected, never the VM,
 * so what it does for itself is nobody's; what it allocates to serve one of these calls (a
 * malloc, under +Mea min or +MRe false) is part of that chunk. The law of the hooks (malloc.c)
 * holds here.
 */
#ifndef MT_HOOK_NIF_MEMORY_H
#define MT_HOOK_NIF_MEMORY_H

enum { MT_ENV_BYTES = 840 /* 832 to 848 in OTP 25 to 29 */ };

/* Begins to redirect, or stops. After redirection in general; in a program that is no BEAM
 * nothing happens. What was recorded before a stop stays. 0, or -1: no BEAM, or no room. */
int mt_nif_memory_start(void);
void mt_nif_memory_stop(void);

#endif
