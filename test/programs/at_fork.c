/* A library that is preloaded and whose constructor registers a handler that allocates in the
 * child of a fork. */
#include <pthread.h>
#include <stdlib.h>

static void child(void) {
    for (int i = 0; i < 100; i++) free(malloc(100 + i));
}

__attribute__((constructor)) static void begin(void) {
    pthread_atfork(NULL, NULL, child);
}
