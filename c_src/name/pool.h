/* pool: a heap of its own for a library that allocates, given back all at once.
 *
 * One reservation of address space, made readable as it fills:
 *
 *   base ─▶ | block | block | …            | zeroes, 64 KiB or more |  not yet readable  |
 *                                    used ─┘             committed ─┘        reserved ─┘
 *
 * A block is 16 bytes that say how large it is, and the rest; there are four sizes between a
 * power of two and the next. What is given back is kept for blocks of its size. A library
 * that reads a little past its buffers meets its other buffers or zeroes, not a fault.
 */
#ifndef MT_NAME_POOL_H
#define MT_NAME_POOL_H

#include <stdbool.h>
#include <stddef.h>

enum { MT_POOL_SIZES = 4 * 8 * sizeof(size_t) };

/* A block that was given back. */
typedef struct mt_pool_spare {
    struct mt_pool_spare *next;
} mt_pool_spare;

/* One thread at a time. */
typedef struct mt_pool {
    char *base;
    size_t used, committed, reserved;
    mt_pool_spare *given[MT_POOL_SIZES]; /* by size */
} mt_pool;

/* Reserves `most` bytes of address space, or less where the process may not have so much. 0,
 * or -1 without memory. */
int mt_pool_open(mt_pool *pool, size_t most);
void mt_pool_close(mt_pool *pool);

/* `bytes` of zeroes, aligned to 16, or NULL. */
void *mt_pool_take(mt_pool *pool, size_t bytes);

/* As realloc does it, except that `bytes` = 0 gives a block too. */
void *mt_pool_resize(mt_pool *pool, void *block, size_t bytes);

/* The block must be the pool's. */
void mt_pool_give(mt_pool *pool, void *block);

bool mt_pool_owns(const mt_pool *pool, const void *p);

#endif
