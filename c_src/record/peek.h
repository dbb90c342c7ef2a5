/* peek: copies memory of this process that may not be there, or go away meanwhile. The kernel
 * copies, so that nothing can fault: process_vm_readv(2) on ourselves, which needs no privilege
 * and no descriptor; where a filter forbids it (old container runtimes), /proc/self/mem.
 *
 * What was copied may be torn or stale when other threads write it: believe nothing of it
 * unchecked. Not for hooks (a system call a copy). Any thread, each with its own mt_peek.
 */
#ifndef MT_RECORD_PEEK_H
#define MT_RECORD_PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mt_peek {
    int file; /* /proc/self/mem, or MT_PEEK_BY_CALL, or -1: nothing can be read */
} mt_peek;

enum { MT_PEEK_BY_CALL = -2 };

/* Finds out which way works. To be closed in any case. */
void mt_peek_open(mt_peek *peek);
void mt_peek_close(mt_peek *peek);

/* Copies n bytes; false, with `to` undefined, if any of them cannot be read. */
bool mt_peek_copy(const mt_peek *peek, uintptr_t from, void *to, size_t n);

/* Whether the n bytes there can be read and are these. Needs 16 KiB of stack. */
bool mt_peek_same(const mt_peek *peek, uintptr_t there, const void *these, size_t n);

#endif
