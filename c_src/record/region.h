/* region: the memory that the tables and the threads' blocks lie in. Mapped once, never given
 * back. Private to the process.
 *
 * Ownership: who takes memory keeps it for good. Any thread; a thread's first hook may call it,
 * hence no lock, no allocation through the malloc family, and no system call but mmap. errno is
 * kept.
 */
#ifndef MT_RECORD_REGION_H
#define MT_RECORD_REGION_H

#include <stddef.h>
#include <stdint.h>

/* What it is for, with the two numbers that tell how it is laid out. */
typedef enum mt_region_part {
    MT_REGION_CHUNKS = 1,  /* chunks.h: sets, - */
    MT_REGION_SITES = 2,   /* sites.h: rows, depth */
    MT_REGION_THREADS = 3, /* thread.h: blocks, bytes of a block */
    MT_REGION_SEEN = 4     /* seen.h: entries, bytes of an entry */
} mt_region_part;

/* Pages of zeroes, which cost nothing until they are touched; or NULL. */
void *mt_region_take(mt_region_part part, size_t bytes, uint64_t a, uint64_t b);

/* Gives back what has just been taken and turned out not to be needed, and what tests took. */
void mt_region_return(void *memory, size_t bytes);

#endif
