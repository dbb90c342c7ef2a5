/* region: see the header. */
#include "region.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Not mmap itself: the program may have one of its own, which allocates. */
#if defined SYS_mmap2
#define SYS_MAP SYS_mmap2
#else
#define SYS_MAP SYS_mmap
#endif

void *mt_region_take(mt_region_part part, size_t bytes, uint64_t a, uint64_t b) {
    (void)part, (void)a, (void)b;
    int saved = errno;
    long p = syscall(SYS_MAP, NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                     -1, 0);
    errno = saved;
    return p == -1 ? NULL : (void *)p;
}

void mt_region_return(void *memory, size_t bytes) {
    munmap(memory, bytes);
}
