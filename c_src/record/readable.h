/* readable: whether an address can be read, asked of the kernel. */
#ifndef MT_RECORD_READABLE_H
#define MT_RECORD_READABLE_H

#include <stdbool.h>
#include <stdint.h>

/* Without a descriptor, a signal or a fault: the kernel reads the set of signals of
 * rt_sigprocmask before it finds out that there is no such operation (the method of Abseil's
 * AddressIsReadable). One system call, some 100 ns. Any thread, hooks too; errno is kept. */
bool mt_readable(uintptr_t address);

#endif
