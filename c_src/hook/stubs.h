/* stubs: what slots held that were redirected before their first call: the address of a stub of
 * their own object, by slot. One thread at a time; 24 bytes each, mapped.
 */
#ifndef MT_HOOK_STUBS_H
#define MT_HOOK_STUBS_H

#include <stdbool.h>

/* Remembers a slot's stub. False without memory. */
bool mt_stubs_put(void **slot, void *stub);

/* The stub of this slot, or NULL: then it held the function itself. */
void *mt_stubs_get(void **slot);

/* Around a look at all objects: between the two every slot that still is ours is got; those
 * that were not are forgotten with their objects. */
void mt_stubs_begin(void);
void mt_stubs_end(void);

#endif
