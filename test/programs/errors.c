/* What a program can see of a call that succeeds, or fails, is what it would see without us. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "traced.h"

static void *first_call_of_a_thread(void *unused) {
    (void)unused;
    errno = 4711;
    void *p = malloc(100);
    CHECK(errno == 4711);
    free(p);
    CHECK(errno == 4711);
    return NULL;
}

static bool glibc; /* other allocators do not set errno everywhere */

static void errno_stays(void) {
    pthread_t thread;
    errno = 42;
    void *p = malloc(10);
    p = realloc(p, 100000);
    CHECK(errno == 42);
    free(p);
    free(calloc(3, 3));
    CHECK(errno == 42);
    pthread_create(&thread, NULL, first_call_of_a_thread, NULL);
    pthread_join(thread, NULL);
}

/* Volatile: the compiler must not know that these fail. */
static volatile size_t huge = SIZE_MAX / 2;

static void a_failed_realloc_keeps_the_record(void) {
    uint64_t size = 0;
    char *p = malloc(1234);
    errno = 0;
    CHECK(realloc(p, huge) == NULL);
    CHECK(errno == ENOMEM || !glibc);
    CHECK(traced_find(p, &size) == 1 && size == 1234);
    free(p);
    CHECK(traced_find(p, NULL) == 0);
}

static void what_fails_is_not_recorded(void) {
    uint64_t recorded = traced_count(MT_COUNT_recorded),
             ignored = traced_count(MT_COUNT_ignored);
    void *p = &p;
    errno = 0;
    CHECK(calloc(huge, 4) == NULL);
    CHECK(errno == ENOMEM || !glibc);
    CHECK(malloc(huge) == NULL);
    CHECK(reallocarray(NULL, huge, 4) == NULL);
    CHECK(aligned_alloc(64, huge) == NULL);
    CHECK(memalign(64, huge) == NULL);
    errno = 0;
    CHECK(posix_memalign(&p, 3, 100) == EINVAL);
    CHECK(errno == 0 && p == &p);
    CHECK(posix_memalign(&p, 64, huge) == ENOMEM);
    CHECK(traced_count(MT_COUNT_recorded) == recorded);
    CHECK(traced_count(MT_COUNT_ignored) == ignored);
}

static void dlerror_says_nothing_of_ours(void) {
    dlerror();
    free(malloc(1));
    CHECK(dlerror() == NULL);
    CHECK(dlsym(RTLD_DEFAULT, "no_such_symbol_anywhere") == NULL);
    if (glibc) free(pvalloc(1)); /* jemalloc has none: libc's is not its to free */
    free(valloc(1));
    const char *text = dlerror();
    CHECK(text && strstr(text, "no_such_symbol_anywhere"));
}

int main(int argc, char **argv) {
    (void)argv;
    glibc = argc < 2;
    CHECK(dlerror() == NULL);
    errno_stays();
    a_failed_realloc_keeps_the_record();
    what_fails_is_not_recorded();
    dlerror_says_nothing_of_ours();
    puts("errors: well");
    return 0;
}
