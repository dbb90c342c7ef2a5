/* kept: memory that is never given back: what the VM, or a record, may point into for as long
 * as the process lives. Mapped, not allocated, in pieces of 64 KiB. Any thread, but no hook of
 * the malloc family: it takes a lock and may map memory.
 */
#ifndef MT_HOOK_KEPT_H
#define MT_HOOK_KEPT_H

#include <stddef.h>

/* Zeroed, on a multiple of 16; NULL without memory. */
void *mt_kept_take(size_t bytes);

/* A copy of a text; NULL without memory. */
const char *mt_kept_text(const char *text);

#endif
