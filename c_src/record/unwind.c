/* unwind: chooses, and keeps libunwind on a short leash. */
#include "unwind.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "readable.h"
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
 * errno is left at 0: libunwind goes round and round while it is EINTR, whoever set that. */
static ssize_t can_read(int fd, const void *address, size_t n) {
    (void)fd;
    bool readable = mt_readable((uintptr_t)address);
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

static void start_libunwind(void) {
    void *library = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    backtrace_function *f =
        library ? (backtrace_function *)dlsym(library, "unw_backtrace") : NULL;
    if (!f) {
        dlerror(); /* not the program's */
        return;
    }
    if (!tame(library)) {
        atomic_store(&kind, MT_UNWINDER_REFUSED);
        return;
    }
    void *warm[4];
    f(warm, 4);
    atomic_store(&backtrace_of_libunwind, f);
    atomic_store(&kind, MT_UNWINDER_LIBUNWIND);
}

void mt_unwind_start(bool walk, bool libunwind) {
    if (atomic_load(&kind) != MT_UNWINDER_NONE) return;
    if (walk && mt_walk_start() == 0) atomic_store(&kind, MT_UNWINDER_WALK);
    else if (libunwind) start_libunwind();
}

mt_unwinder mt_unwind_kind(void) {
    return atomic_load(&kind);
}

/* The frames of ours before the hook's are cut off: the one before `from` is the hook's. */
static uint32_t by_libunwind(void **buffer, uint32_t max, void *hook, void *from,
                             void ***stack) {
    backtrace_function *f = atomic_load_explicit(&backtrace_of_libunwind, memory_order_acquire);
    int n = f(buffer, (int)max + MT_OWN_FRAMES);
    for (int i = 1; i < n && i <= MT_OWN_FRAMES; i++) {
        /* libunwind 1.3 answers addresses one lower */
        if ((uintptr_t)from - (uintptr_t)buffer[i] > 1) continue;
        uint32_t frames = (uint32_t)(n - i + 1);
        *stack = buffer + i - 1;
        (*stack)[0] = (char *)hook + 1; /* not its slow twin; names are looked up one before */
        return frames < max ? frames : max;
    }
    return 0;
}

uint32_t mt_unwind_up(mt_thread *block, uint32_t max, void *hook, uintptr_t pc, uintptr_t sp,
                      uintptr_t fp, void ***stack) {
    mt_unwinder by = atomic_load_explicit(&kind, memory_order_relaxed);
    uint32_t frames = 0;
    if (by == MT_UNWINDER_LIBUNWIND)
        frames = by_libunwind(block->stack, max, hook, (void *)pc, stack);
    if (frames) return frames;
    block->stack[0] = (char *)hook + 1; /* names are looked up one before */
    *stack = block->stack;
    if (by == MT_UNWINDER_WALK)
        return 1 + mt_walk_up(pc, sp, fp, &block->known, block->stack + 1, max - 1);
    block->stack[1] = (void *)pc;
    return 2;
}
