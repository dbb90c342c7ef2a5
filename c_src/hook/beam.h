/* beam: what the hooks use of the VM's interface for native code, declared weak: in a program
 * that is no BEAM these functions are NULL and the object still loads. What some OTP has not is
 * declared under a name of our own, so that any header serves.
 */
#ifndef MT_HOOK_BEAM_H
#define MT_HOOK_BEAM_H

#include <erl_driver.h>
#include <erl_nif.h>

#pragma weak enif_alloc
#pragma weak enif_realloc
#pragma weak enif_free
#pragma weak enif_alloc_binary
#pragma weak enif_realloc_binary
#pragma weak enif_term_to_binary
#pragma weak enif_release_binary
#pragma weak enif_make_binary
#pragma weak enif_ioq_enq_binary
#pragma weak enif_open_resource_type
#pragma weak enif_open_resource_type_x
#pragma weak enif_alloc_resource
#pragma weak enif_alloc_env
#pragma weak enif_free_env
#pragma weak enif_schedule_nif
#pragma weak enif_self
#pragma weak enif_thread_type
#pragma weak driver_alloc
#pragma weak driver_realloc
#pragma weak driver_free
#pragma weak driver_alloc_binary
#pragma weak driver_realloc_binary
#pragma weak driver_free_binary

/* ErlNifResourceTypeInit as of 2.16; older libraries have the first three fields only. */
typedef struct mt_resource_init {
    ErlNifResourceDtor *destructor;
    void *stop, *down;
    int members; /* fields that count, in this order; 4 with the next */
    void *dynamic_call;
} mt_resource_init;

/* OTP 24 and later. */
extern ErlNifResourceType *mt_beam_init_resource_type(
    ErlNifEnv *env, const char *name, const mt_resource_init *init, ErlNifResourceFlags flags,
    ErlNifResourceFlags *tried) __asm__("enif_init_resource_type") __attribute__((weak));

#endif
