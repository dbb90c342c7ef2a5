/* Threads realloc blocks that move: the old address goes to another thread at once. Afterwards
 * each live block must be recorded once, with its size, and nothing else of this program's. */
#include <pthread.h>
#include <string.h>

#include "traced.h"

enum { THREADS = 8, BLOCKS = 200, ROUNDS = 4000 };

static struct {
    char *p;
    size_t size;
} block[THREADS][BLOCKS];

static void *churn(void *argument) {
    size_t t = (size_t)argument;
    unsigned seed = (unsigned)t + 1;
    for (int i = 0; i < ROUNDS; i++) {
        int k = rand_r(&seed) % BLOCKS;
        size_t size = 32u << rand_r(&seed) % 8;
        char *p = realloc(block[t][k].p, size);
        CHECK(p);
        block[t][k].p = p;
        block[t][k].size = size;
        p[0] = p[size - 1] = (char)k;
        if (rand_r(&seed) % 4 == 0) {
            free(p);
            block[t][k].p = NULL;
        }
    }
    return NULL;
}

static mt_record records[1 << 16];

int main(void) {
    pthread_t thread[THREADS];
    traced_core()->reset();
    for (size_t i = 0; i < THREADS; i++) pthread_create(&thread[i], NULL, churn, (void *)i);
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    /* MTRACE_SLOTS must be large, or the test says nothing; libunwind allocates once a thread.
     */
    CHECK(traced_count(MT_COUNT_ignored) <= THREADS);
    uint32_t n = traced_core()->snapshot(records, 1 << 16);
    int live = 0;
    for (int t = 0; t < THREADS; t++)
        for (int k = 0; k < BLOCKS; k++) {
            if (!block[t][k].p) continue;
            live++;
            int found = 0;
            for (uint32_t i = 0; i < n; i++)
                if (records[i].chunk.address == (uintptr_t)block[t][k].p) {
                    CHECK(records[i].chunk.size == block[t][k].size);
                    found++;
                }
            CHECK(found == 1);
        }
    CHECK(live > 100);
    CHECK(n < (uint32_t)live + 64); /* what libc keeps of the threads, not more */
    CHECK(traced_count(MT_COUNT_missed_free) == 0);
    puts("realloc_race: well");
    return 0;
}
