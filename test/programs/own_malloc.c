/* A program that has its allocator linked into it: libraries call it, and can be redirected;
 * its own calls cannot, and we say so.
 *
 *   own_malloc OBJECT
 */
#include <string.h>

#include "traced.h"

static _Alignas(16) char heap[1 << 22];
static size_t used;

void *malloc(size_t n) {
    size_t at = __atomic_fetch_add(&used, (n + 31) & ~(size_t)15, __ATOMIC_RELAXED);
    memcpy(heap + at, &n, sizeof n);
    return heap + at + 16;
}
void free(void *p) {
    (void)p;
}
void *calloc(size_t n, size_t size) {
    return malloc(n * size); /* never used before, hence 0 */
}
void *realloc(void *p, size_t n) {
    size_t old = 0;
    void *moved = malloc(n);
    if (p) memcpy(&old, (char *)p - 16, sizeof old);
    return p ? memcpy(moved, p, old < n ? old : n) : moved;
}

int main(int argc, char **argv) {
    mt_status status;
    mt_stats stats;
    CHECK(argc == 2);
    void *object = dlopen(argv[1], RTLD_NOW);
    CHECK(object);
    const mt_core *core = dlsym(object, "mtrace_core");
    CHECK(core->attach(MT_ATTACH_MALLOC) == MT_ATTACH_DONE);
    core->status(&status);
    CHECK(status.refusals == 1 && status.refusal[0].why == MT_REFUSED_OWN);
    CHECK(status.refusal[0].object[0] == '\0');
    char *copy = strdup("libc calls the program's malloc");
    CHECK(copy > heap && copy < heap + sizeof heap);
    core->stats(&stats);
    CHECK(stats.count[MT_COUNT_malloc] > 0);
    CHECK(core->detach() == MT_ATTACH_DONE);
    return 0;
}
