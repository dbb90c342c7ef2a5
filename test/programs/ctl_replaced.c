/* What `mtracectl run` is tried with where a library comes to lie where another one did: opens
 * each file that is named, has it allocate 10 chunks that it leaves, and closes it, at once;
 * prints at how many places they lay. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>

static void *load(const char *path) {
    void *library = dlopen(path, RTLD_NOW);
    if (!library) fprintf(stderr, "%s\n", dlerror());
    return library;
}

int main(int argc, char **argv) {
    uintptr_t place[64];
    int places = 0;
    for (int i = 1; i < argc && i < 64; i++) {
        void *library = load(argv[i]);
        if (!library) return 1;
        void *(*allocate)(size_t) = (void *(*)(size_t))(uintptr_t)dlsym(library, "left_there");
        if (!allocate) return 1;
        int known = 0;
        while (known < places && place[known] != (uintptr_t)allocate) known++;
        if (known == places) place[places++] = (uintptr_t)allocate;
        for (int k = 0; k < 10; k++) allocate(100);
        dlclose(library);
    }
    printf("%d\n", places);
    return 0;
}
