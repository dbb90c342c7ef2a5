/* A C program with a C++ plugin: exceptions and pthread_exit go through libgcc's unwinder, not
 * through one that came with us. */
#include <pthread.h>
#include <string.h>

#include "traced.h"

static void (*plugin_call)(void (*)(void));

static void leave(void) {
    pthread_exit((void *)7);
}

static void *thread(void *unused) {
    (void)unused;
    plugin_call(leave);
    return NULL;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    void *plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    CHECK(plugin);
    int (*throw)(int) = (int (*)(int))dlsym(plugin, "plugin_throw");
    int (*alive)(void) = (int (*)(void))dlsym(plugin, "plugin_alive");
    plugin_call = (void (*)(void (*)(void)))dlsym(plugin, "plugin_call");
    for (int i = 0; i < 200; i++) CHECK(throw(i % 20) == 1);
    for (int i = 0; i < 20; i++) {
        pthread_t t;
        void *result;
        pthread_create(&t, NULL, thread, NULL);
        pthread_join(t, &result);
        CHECK(result == (void *)7);
    }
    CHECK(alive() == 0);
    Dl_info info;
    CHECK(dladdr(dlsym(plugin, "_Unwind_RaiseException"), &info));
    CHECK(strstr(info.dli_fname, "libgcc_s"));
    puts("exceptions: well");
    return 0;
}
