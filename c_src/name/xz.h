/* xz: unpacks .xz data with liblzma, which it loads when first asked to; nothing links it. */
#ifndef MT_NAME_XZ_H
#define MT_NAME_XZ_H

#include <stddef.h>

/* The unpacked bytes, in *bytes as many, to be given back with mt_memory_unmap(p, *bytes); NULL
 * if the data is damaged, unpacks to nothing or more than `max` bytes, wants more than 128 MiB
 * for unpacking, or liblzma.so.5 is not installed. Any thread, not a hook; no malloc but the
 * dynamic linker's. */
void *mt_xz_decode(const void *packed, size_t n, size_t max, size_t *bytes);

#endif
