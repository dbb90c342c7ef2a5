/* private: memory of this process's own, for what no observer reads. */
#ifndef MT_RECORD_PRIVATE_H
#define MT_RECORD_PRIVATE_H

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Pages of zeroes, or NULL. For hooks, as mt_region_take: not mmap itself, which the program
 * may have one of its own of; errno is kept. */
static inline void *mt_private_take(size_t bytes) {
#if defined SYS_mmap2
    enum { MAP = SYS_mmap2 };
#else
    enum { MAP = SYS_mmap };
#endif
    int saved = errno;
    long p =
        syscall(MAP, NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    errno = saved;
    return p == -1 ? NULL : (void *)p;
}

static inline void mt_private_return(void *memory, size_t bytes) {
    int saved = errno;
    syscall(SYS_munmap, memory, bytes);
    errno = saved;
}

#endif
