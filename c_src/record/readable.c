/* readable: see the header. */
#include "readable.h"

#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

bool mt_readable(uintptr_t address) {
    int saved = errno;
    long result = syscall(SYS_rt_sigprocmask, ~0, address & ~(uintptr_t)7, NULL, 8);
    bool readable = result == 0 || errno != EFAULT;
    errno = saved;
    return readable;
}
