/* enif: erl_nif.h with everything that is used of it declared weak: in a program that is no
 * BEAM these functions are NULL, and the object still loads. To be included instead of
 * erl_nif.h; a function that is not named here would keep the object from loading anywhere
 * else.
 */
#ifndef MT_SERVE_ENIF_H
#define MT_SERVE_ENIF_H

#include <erl_nif.h>

/* The 64-bit functions are macros where a long has 64 bits. */
#pragma weak enif_get_list_cell
#pragma weak enif_get_tuple
#pragma weak enif_is_exception
#pragma weak enif_is_identical
#pragma weak enif_make_atom
#pragma weak enif_make_badarg
#pragma weak enif_make_double
#pragma weak enif_make_list
#pragma weak enif_make_list_cell
#pragma weak enif_make_list_from_array
#pragma weak enif_make_map_put
#pragma weak enif_make_new_binary
#pragma weak enif_make_new_map
#pragma weak enif_make_tuple
#pragma weak enif_make_tuple_from_array
#pragma weak enif_make_uint
#ifdef enif_make_uint64
#pragma weak enif_get_long
#pragma weak enif_get_ulong
#pragma weak enif_make_ulong
#else
#pragma weak enif_get_int64
#pragma weak enif_get_uint64
#pragma weak enif_make_uint64
#endif

typedef ERL_NIF_TERM mt_term;

#endif
