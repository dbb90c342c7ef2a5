/* nif_resources: how long a resource lives: until its destructor has run. Only its type knows
 * that function, so that is where ours is put in its place (nif_calls wraps it).
 *
 * A type that is opened from now on gets a destructor in any case. One that had none is seen to
 * have one in one way: its library is unloaded only when the last resource of that type is
 * gone, as with any other type that has one.
 *
 * A type that was opened before us holds its destructor in a word of the VM's that no header
 * tells of: where it lies is found out with a type of our own. Such a word is exchanged when
 * the first resource of its type is allocated, if it holds a function of a library. Types that
 * were opened before us without a destructor stay as they are, and their resources are not
 * recorded.
 */
#ifndef MT_HOOK_NIF_RESOURCES_H
#define MT_HOOK_NIF_RESOURCES_H

#include <stdbool.h>

#include "beam.h"

/* Begins to wrap types, or stops. A type that is wrapped stays so. As mt_nif_memory_start,
 * which calls it. 0, or -1: no room. */
int mt_nif_resources_start(void);
void mt_nif_resources_stop(void);

/* From the load or upgrade callback of our own library: opens a type of ours to look at.
 * Nothing of it is ever allocated. */
void mt_nif_resources_probe(ErlNifEnv *env);

/* From a NIF of our own, after that: looks where the type holds its destructor. True if that is
 * certain. */
bool mt_nif_resources_calibrate(void);

/* Whether we will be told of the end of this type's resources. For hooks of enif_alloc_resource
 * alone: the first time it may take the loader's lock. */
bool mt_nif_resources_ends(ErlNifResourceType *type);

/* NULL, or a sentence: which resources are not recorded, and why. */
const char *mt_nif_resources_lacks(void);

#endif
