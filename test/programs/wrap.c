/* An allocator behind us whose calloc and realloc call malloc and free by their public names.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static size_t usable(void *p) {
    static size_t (*next)(void *);
    if (!next) next = (size_t(*)(void *))dlsym(RTLD_NEXT, "malloc_usable_size");
    return next(p);
}

void *calloc(size_t n, size_t size) {
    void *p = malloc(n * size);
    return p ? memset(p, 0, n * size) : NULL;
}

void *realloc(void *old, size_t size) {
    void *p = malloc(size);
    if (old && p) memcpy(p, old, usable(old) < size ? usable(old) : size);
    if (p) free(old);
    return p;
}
