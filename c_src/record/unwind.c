/* unwind: libunwind, kept on a short leash. */
#include "unwind.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "slots.h"
#include "thread.h"

typedef int backtrace_function(void **buffer, int size);

static _Atomic(backtrace_function *) backtrace_of_libunwind;
static _Atomic(mt_unwinder) kind = MT_UNWINDER_NONE;

/* Stands for libunwind's pipe2 or pipe: no descriptor is opened, and -1 is what it takes for
 * "not open yet". */
static int no_pipe(int fd[2]) {
    fd[0] = fd[1] = -1;
    return 0;
}

/* Stands for libunwind's write(pipe, address, n), which succeeds if the address can be read.
 * The kernel reads the set of signals before it finds out that there is no such operation:
 * EFAULT or EINVAL, without a descriptor (the method of Abseil's AddressIsReadable). errno is
 * left at 0: libunwind goes round and round while it is EINTR, whoever set that. */
static ssize_t can_read(int fd, const void *address, size_t n) {
    (void)fd;
    uintptr_t aligned = (uintptr_t)address & ~(uintptr_t)7;
    long result = syscall(SYS_rt_sigprocmask, ~0, aligned, NULL, 8);
    bool readable = result == 0 || errno != EFAULT;
    errno = readable ? 0 : EFAULT;
    return readable ? (ssize_t)n : -1;
}

/* Stands for libunwind's syscall, by which some versions call write. */
static long system_call(long number, long a, long b, long c, long d, long e, long f) {
    if (number == SYS_write) return can_read((int)a, (const void *)b, (size_t)c);
    return syscall(number, a, b, c, d, e, f);
}

/* Stands for libunwind's read(pipe): drained already. */
static ssize_t nothing_to_read(int fd, void *buffer, size_t n) {
    (void)fd, (void)buffer, (void)n;
    errno = EAGAIN;
    return -1;
}

static bool tame(void *library) {
    struct link_map *map;
    if (dlinfo(library, RTLD_DI_LINKMAP, &map) != 0) return false;
    int pipe2s = mt_slots_point(map, "pipe2", (void *)no_pipe);
    int pipes = mt_slots_point(map, "pipe", (void *)no_pipe);
    if (pipe2s < 0 || pipes < 0) return false;
    if (pipe2s + pipes == 0) return true; /* a version that needs none */
    int writes = mt_slots_point(map, "write", (void *)can_read);
    int calls = mt_slots_point(map, "syscall", (void *)system_call);
    int reads = mt_slots_point(map, "read", (void *)nothing_to_read);
    return writes >= 0 && calls >= 0 && reads >= 0 && writes + calls > 0;
}

void mt_unwind_start(void) {
    if (atomic_load(&backtrace_of_libunwind)) return;
    void *library = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    backtrace_function *f =
        library ? (backtrace_function *)dlsym(library, "unw_backtrace") : NULL;
    if (!f) return;
    if (!tame(library)) {
        atomic_store(&kind, MT_UNWINDER_REFUSED);
        return;
    }
    void *warm[4];
    f(warm, 4);
    atomic_store(&kind, MT_UNWINDER_LIBUNWIND);
    atomic_store(&backtrace_of_libunwind, f);
}

mt_unwinder mt_unwind_kind(void) {
    return atomic_load(&kind);
}

uint32_t mt_unwind(void **buffer, uint32_t max, void *hook, void *from, void ***stack) {
    backtrace_function *f = atomic_load_explicit(&backtrace_of_libunwind, memory_order_acquire);
    int n = f ? f(buffer, (int)max + MT_OWN_FRAMES) : 0;
    for (int i = 1; i < n && i <= MT_OWN_FRAMES; i++)
        if (buffer[i] == from) { /* the frame before it is the hook's */
            *stack = buffer + i - 1;
            uint32_t frames = (uint32_t)(n - i + 1);
            return frames < max ? frames : max;
        }
    buffer[0] = (char *)hook + 1; /* names are looked up one before a return address */
    buffer[1] = from;
    *stack = buffer;
    return 2;
}
