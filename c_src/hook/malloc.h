/* malloc: the malloc family as the program calls it. See malloc.c for the law. */
#ifndef MT_HOOK_MALLOC_H
#define MT_HOOK_MALLOC_H

#include <stdbool.h>

/* True if calls of malloc from the program come to this object first: it is preloaded and no
 * other allocator stands in front. Takes the loader's lock: not for hooks. */
bool mt_malloc_is_ours(void);

/* From now on threads that are not traced go straight to the allocator: for a process that is
 * not, and for the child of a fork. */
void mt_malloc_pass(void);

/* And back: they get a block of their own when they next allocate. */
void mt_malloc_trace(void);

#endif
