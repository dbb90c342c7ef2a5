/* A snapshot's records are whole, stacks included, while threads record and forget. */
#include "unit.h"

#include <pthread.h>

#include "record/tracer.h"
#include "serve/snapshot.h"

enum { SLOTS = 1024, DEPTH = 8, THREADS = 4 };

static mt_levels chunks;
static mt_sites sites;
static atomic_bool stop;
static _Atomic uint64_t recorded;

static uintptr_t pc(uint64_t size, uint32_t i) {
    return (uintptr_t)(size * 64 + i + 1);
}

static bool put(uint64_t address, uint64_t size) {
    void *stack[DEPTH + 1];
    uint32_t frames = 1 + size % DEPTH, erlang = size % (frames + 1);
    for (uint32_t i = 0; i < frames; i++) stack[i] = (void *)pc(size, i);
    stack[frames] = (void *)mt_context_word((uint32_t)size, size % MT_ALLOCATORS,
                                            frames - erlang, erlang, 0);
    int32_t cell = mt_levels_claim(&chunks, address);
    if (cell < 0) return false;
    int32_t site = mt_sites_hold(&sites, stack, frames + 1);
    if (site < 0) {
        mt_levels_abandon(&chunks, cell, address);
        return false;
    }
    mt_chunk chunk = {
        .address = address, .size = size, .born_ns = size, .site = (uint32_t)site};
    mt_levels_publish(&chunks, cell, &chunk);
    return true;
}

static void cut(uint64_t address) {
    mt_chunk chunk;
    int32_t cell = mt_levels_take(&chunks, address, &chunk);
    if (cell < 0) return;
    mt_sites_drop(&sites, chunk.site);
    mt_levels_abandon(&chunks, cell, address);
}

/* Many more different stacks than rows: rows change hands all the time. */
static void *churn(void *argument) {
    uint64_t base = (uint64_t)(uintptr_t)argument << 32, seed = base | 1;
    while (!stop) {
        uint64_t r = unit_random(&seed), address = base + r % 128 * 16 + 16;
        cut(address);
        if (put(address, r >> 20 & 0xfffff)) recorded++;
    }
    for (uint64_t a = base + 16; a <= base + 128 * 16; a += 16) cut(a);
    return NULL;
}

static bool whole(const mt_record *r) {
    uint64_t size = r->chunk.size;
    if (r->frames != 1 + size % DEPTH || r->chunk.born_ns != size || r->caller != size ||
        r->allocator != size % MT_ALLOCATORS || r->native != r->frames - size % (r->frames + 1))
        return false;
    for (uint32_t i = 0; i < r->frames; i++)
        if (r->stack[i] != pc(r->chunk.size, i)) return false;
    return true;
}

static void records_are_whole_while_threads_churn(void **state) {
    (void)state;
    static mt_record records[SLOTS];
    mt_levels_init(&chunks, SLOTS, false);
    mt_sites_init(&sites, SLOTS, DEPTH + 1);
    pthread_t thread[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, churn, (void *)(i + 1));
    uint64_t copied = 0, broken = 0;
    while (recorded < 400000 || !copied) {
        uint32_t n = mt_snapshot_take(&chunks, &sites, records, SLOTS);
        copied += n;
        for (uint32_t i = 0; i < n; i++) broken += !whole(&records[i]);
    }
    stop = true;
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    assert_int_equal(broken, 0);
    assert_true(copied > 0);
    assert_int_equal(mt_snapshot_take(&chunks, &sites, records, SLOTS), 0);
    assert_int_equal(mt_sites_held(&sites), 0);
}

static bool put_born(uint64_t address, uint64_t born_ns) {
    void *stack[] = {(void *)1, (void *)2,
                     (void *)mt_context_word(0, MT_ALLOCATOR_MALLOC, 2, 0, 0)};
    mt_chunk chunk = {.address = address, .size = 1, .born_ns = born_ns};
    int32_t cell = mt_levels_claim(&chunks, address);
    if (cell < 0) return false;
    chunk.site = (uint32_t)mt_sites_hold(&sites, stack, 3);
    mt_levels_publish(&chunks, cell, &chunk);
    return true;
}

static void the_oldest_come_first(void **state) {
    (void)state;
    static mt_record records[SLOTS];
    static uint64_t born[SLOTS];
    uint64_t seed = unit_seed();
    uint32_t there = 0;
    mt_levels_init(&chunks, SLOTS, false);
    mt_sites_init(&sites, SLOTS, DEPTH + 1);
    for (uint64_t a = 16; a < 16 * 700; a += 16) {
        uint64_t when = unit_random(&seed) % 300;
        if (put_born(a, when)) born[there++] = when;
    }
    for (uint32_t max = 0; max < there + 50; max = max * 2 + 1) {
        uint32_t n = mt_snapshot_oldest(&chunks, &sites, records, max), younger = 0;
        assert_int_equal(n, max < there ? max : there);
        for (uint32_t i = 1; i < n; i++) {
            const mt_chunk *a = &records[i - 1].chunk, *b = &records[i].chunk;
            assert_true(a->born_ns < b->born_ns ||
                        (a->born_ns == b->born_ns && a->address < b->address));
        }
        for (uint32_t i = 0; n && i < there; i++)
            younger += born[i] < records[n - 1].chunk.born_ns;
        assert_true(younger < n || n == 0); /* nobody older was left out */
    }
}

static void no_more_records_than_there_is_room_for(void **state) {
    (void)state;
    mt_record three[3];
    mt_levels_init(&chunks, SLOTS, false);
    mt_sites_init(&sites, SLOTS, DEPTH + 1);
    for (uint64_t a = 16; a < 16 * 50; a += 16) put(a, a);
    assert_int_equal(mt_snapshot_take(&chunks, &sites, three, 3), 3);
    assert_int_equal(mt_snapshot_take(&chunks, &sites, three, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_whole_while_threads_churn),
        cmocka_unit_test(the_oldest_come_first),
        cmocka_unit_test(no_more_records_than_there_is_room_for),
    };
    return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
