/* The whole malloc family: each call counted once, each chunk recorded with its size, usable,
 * aligned, and forgotten when it is freed. Behind it may stand any allocator. */
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "traced.h"

/* With glibc behind, malloc_usable_size and the counters of internal calls are exact. */
static bool glibc;

static void check(void *p, size_t size, size_t align, mt_count which, uint64_t before) {
    uint64_t recorded = 0;
    CHECK(p != NULL);
    CHECK((uintptr_t)p % align == 0);
    CHECK(malloc_usable_size(p) >= size);
    memset(p, 0x5a, size);
    if (glibc) CHECK(traced_count(which) == before + 1);
    CHECK(traced_find(p, &recorded) == 1);
    CHECK(recorded == size);
    uint64_t frees = traced_count(MT_COUNT_free);
    free(p);
    CHECK(traced_count(MT_COUNT_free) == frees + 1);
    CHECK(traced_find(p, NULL) == 0);
}

#define FAMILY(which, size, align, call)                                                       \
    do {                                                                                       \
        uint64_t before = traced_count(MT_COUNT_##which);                                      \
        void *p = call;                                                                        \
        check(p, size, align, MT_COUNT_##which, before);                                       \
    } while (0)

static void *posix(size_t align, size_t size) {
    void *p = NULL;
    CHECK(posix_memalign(&p, align, size) == 0);
    return p;
}

static void copies(void) {
    char *a = strdup("hello"), *b = strndup("hello", 2);
    CHECK(strcmp(a, "hello") == 0 && strcmp(b, "he") == 0);
    CHECK(traced_find(a, NULL) == 1 && traced_find(b, NULL) == 1);
    CHECK(traced_count(MT_COUNT_strdup) == 1 && traced_count(MT_COUNT_strndup) == 1);
    free(a);
    free(b);
    CHECK(traced_find(a, NULL) == 0 && traced_find(b, NULL) == 0);
}

static void reallocs(void) {
    uint64_t size;
    char *p = realloc(NULL, 100), *old = p;
    memset(p, 7, 100);
    p = realloc(p, 100000);
    CHECK(p[99] == 7);
    CHECK(traced_find(p, &size) == 1 && size == 100000);
    if (p != old) CHECK(traced_find(old, NULL) == 0);
    p = reallocarray(p, 3, 50);
    CHECK(p[99] == 7);
    CHECK(traced_find(p, &size) == 1 && size == 150);
    volatile size_t huge = SIZE_MAX / 2; /* the compiler must not know */
    CHECK(reallocarray(p, huge, 3) == NULL);
    CHECK(traced_find(p, &size) == 1 && size == 150);
    free(p);
}

static void realloc_to_nothing(void) {
    char *p = malloc(100);
    void *q = realloc(p, 0);
    CHECK(traced_find(p, NULL) == (q == p));
    if (q) {
        CHECK(traced_find(q, NULL) == 1);
        free(q);
    }
}

static void nothing_is_counted_for_null(void) {
    uint64_t before = traced_count(MT_COUNT_free);
    free(NULL);
    CHECK(traced_count(MT_COUNT_free) == before);
}

/* Never through malloc: the chunk must not be recorded by its own report. */
int main(int argc, char **argv) {
    (void)argv;
    glibc = argc < 2;
    traced_core()->reset();
    FAMILY(malloc, 100, sizeof(void *), malloc(100));
    FAMILY(malloc, 0, 1, malloc(0));
    FAMILY(calloc, 300, sizeof(void *), calloc(3, 100));
    FAMILY(realloc, 70, sizeof(void *), realloc(NULL, 70));
    FAMILY(reallocarray, 90, sizeof(void *), reallocarray(NULL, 9, 10));
    FAMILY(posix_memalign, 50, 256, posix(256, 50));
    FAMILY(aligned_alloc, 128, 128, aligned_alloc(128, 128));
    FAMILY(memalign, 33, 512, memalign(512, 33));
    FAMILY(valloc, 44, 4096, valloc(44));
    if (glibc) FAMILY(pvalloc, 55, 4096, pvalloc(55)); /* jemalloc has none */
    copies();
    reallocs();
    realloc_to_nothing();
    nothing_is_counted_for_null();
    puts("family: well");
    return 0;
}
