/* Destructors of other libraries' thread-specific data allocate after ours ran, in every round,
 * and threads come and go: nothing may be lost, counted twice or crash. */
#include <limits.h>
#include <pthread.h>

#include "traced.h"

static pthread_key_t key;

static void late(void *rounds) {
    size_t n = (size_t)rounds;
    free(malloc(100));
    if (n > 1) pthread_setspecific(key, (void *)(n - 1));
}

static void *thread(void *unused) {
    pthread_setspecific(key, (void *)(size_t)PTHREAD_DESTRUCTOR_ITERATIONS);
    return unused;
}

int main(void) {
    pthread_key_create(&key, late);
    uint64_t before = traced_count(MT_COUNT_free);
    for (int i = 0; i < 3000; i++) {
        pthread_t t;
        pthread_create(&t, NULL, thread, NULL);
        pthread_join(t, NULL);
    }
    CHECK(traced_count(MT_COUNT_free) - before >= 3000u * PTHREAD_DESTRUCTOR_ITERATIONS);
    mt_status status;
    traced_core()->status(&status);
    CHECK(status.own_bytes < 4u << 20);
    puts("destructors: well");
    return 0;
}
