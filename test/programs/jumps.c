/* An allocator behind us that raises a signal where it is asked for a certain size. */
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>

void *malloc(size_t size) {
    static void *(*next)(size_t);
    if (!next) next = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
    if (size == 777001) raise(SIGUSR2);
    return next(size);
}
