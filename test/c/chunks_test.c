/* The table of chunks: against a naive model, and under threads that reuse each other's
 * addresses while others copy, thin and empty it. */
#include "unit.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <string.h>

#include "record/chunks.h"

static mt_chunks table;

static int map(void **state) {
    (void)state;
    return mt_chunks_init(&table, 4096);
}

static int unmap(void **state) {
    (void)state;
    mt_chunks_fini(&table);
    return 0;
}

static bool put(uint64_t address, uint64_t size, uint32_t site) {
    mt_chunk chunk = {.address = address, .size = size, .born_ns = size ^ 0xabcd, .site = site};
    int32_t cell = mt_chunks_claim(&table, address);
    if (cell >= 0) mt_chunks_publish(&table, cell, &chunk);
    return cell >= 0;
}

static bool cut(uint64_t address, mt_chunk *chunk) {
    int32_t cell = mt_chunks_take(&table, address, chunk);
    if (cell >= 0) mt_chunks_abandon(&table, cell);
    return cell >= 0;
}

static void a_recorded_chunk_is_found_once(void **state) {
    (void)state;
    mt_chunk chunk;
    assert_true(put(0x1000, 77, 5));
    assert_false(cut(0x1010, &chunk));
    assert_true(cut(0x1000, &chunk));
    assert_int_equal(chunk.address, 0x1000);
    assert_int_equal(chunk.size, 77);
    assert_int_equal(chunk.site, 5);
    assert_false(cut(0x1000, &chunk));
    assert_int_equal(mt_chunks_taken(&table), 0);
}

static void addresses_that_no_tag_can_hold_are_refused(void **state) {
    (void)state;
    mt_chunk chunk;
    const uint64_t odd[] = {0, 1, 0x1004, 1ull << 48, 0xffff800000001000ull, ~0ull};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        assert_int_equal(mt_chunks_claim(&table, odd[i]), -1);
        assert_int_equal(mt_chunks_take(&table, odd[i], &chunk), -1);
    }
    assert_true(put((1ull << 48) - 8, 1, 1));
    assert_true(cut((1ull << 48) - 8, &chunk));
    assert_int_equal(chunk.address, (1ull << 48) - 8);
}

static void a_full_set_refuses_and_loses_nothing(void **state) {
    (void)state;
    uint64_t kept[4096];
    uint32_t n = 0, refused = 0;
    for (uint64_t a = 16; refused < 100; a += 16) {
        if (put(a, a, 0)) kept[n++] = a;
        else refused++;
    }
    assert_int_equal(mt_chunks_taken(&table), n);
    mt_chunk chunk;
    for (uint32_t i = 0; i < n; i++) {
        assert_true(cut(kept[i], &chunk));
        assert_int_equal(chunk.size, kept[i]);
    }
}

static void every_slot_of_a_table_can_be_taken(void **state) {
    (void)state;
    uint32_t n = 0;
    for (uint64_t a = 16; a < 16 * 400000 && n < 4096; a += 16) n += put(a, a, 0);
    assert_int_equal(n, 4096);
}

static void the_smallest_table_has_two_sets(void **state) {
    (void)state;
    mt_chunks_fini(&table);
    assert_int_equal(mt_chunks_init(&table, 16), 0);
    uint32_t n = 0;
    for (uint64_t a = 16; a < 1600; a += 16) n += put(a, a, 0);
    assert_int_equal(n, 16);
}

static void a_held_record_is_restored_whole_even_if_its_set_filled_up(void **state) {
    (void)state;
    mt_chunk chunk, again;
    assert_true(put(0x5000, 123, 9));
    int32_t cell = mt_chunks_take(&table, 0x5000, &chunk);
    assert_true(cell >= 0);
    assert_int_equal(mt_chunks_peek(&table, cell, &again), 0);
    for (uint64_t a = 16; a < 16 * 100000; a += 16)
        if (a != 0x5000) put(a, a, 0);
    mt_chunks_publish(&table, cell, &chunk);
    assert_true(cut(0x5000, &again));
    assert_int_equal(again.size, 123);
    assert_int_equal(again.site, 9);
}

/* One operation in turn against an array that remembers everything. */
static void the_table_agrees_with_a_naive_model(void **state) {
    (void)state;
    enum { ADDRESSES = 6000, STEPS = 400000 };
    static uint64_t model[ADDRESSES]; /* size, 0: not recorded */
    memset(model, 0, sizeof model);
    uint64_t seed = unit_seed();
    uint32_t live = 0;
    for (int i = 0; i < STEPS; i++) {
        uint64_t r = unit_random(&seed);
        uint64_t k = r % ADDRESSES, address = 0x7f0000000000 + k * 32;
        mt_chunk chunk;
        if (r >> 40 & 1) {
            if (model[k]) continue;
            if (put(address, r | 1, (uint32_t)k)) model[k] = r | 1, live++;
        } else {
            assert_int_equal(cut(address, &chunk), model[k] != 0);
            if (model[k]) {
                assert_int_equal(chunk.size, model[k]);
                assert_int_equal(chunk.site, k);
                model[k] = 0;
                live--;
            }
        }
    }
    assert_int_equal(mt_chunks_taken(&table), live);
    uint32_t seen = 0;
    for (int32_t i = 0; i < mt_chunks_slots(&table); i++) {
        mt_chunk chunk;
        if (!mt_chunks_peek(&table, i, &chunk)) continue;
        assert_int_equal(model[(chunk.address - 0x7f0000000000) / 32], chunk.size);
        seen++;
    }
    assert_int_equal(seen, live);
}

static bool keep_even(mt_chunk *chunk, void *context) {
    (void)context;
    chunk->size++;
    return chunk->address / 16 % 2 == 0;
}

static void count_gone(const mt_chunk *chunk, void *context) {
    (void)chunk;
    ++*(int *)context;
}

static void thinning_keeps_removes_and_changes_records(void **state) {
    (void)state;
    int gone = 0;
    mt_chunk chunk;
    for (uint64_t a = 16; a <= 16 * 100; a += 16) assert_true(put(a, a, 0));
    mt_chunks_thin(&table, keep_even, count_gone, &gone);
    assert_int_equal(gone, 50);
    for (uint64_t a = 16; a <= 16 * 100; a += 16) {
        assert_int_equal(cut(a, &chunk), a / 16 % 2 == 0);
        if (a / 16 % 2 == 0) assert_int_equal(chunk.size, a + 1);
    }
    assert_int_equal(mt_chunks_taken(&table), 0);
}

static bool freed_meanwhile(mt_chunk *chunk, void *context) {
    (void)context;
    mt_chunk copy;
    assert_int_equal(mt_chunks_take(&table, chunk->address, &copy), -1);
    return true;
}

static void a_record_freed_while_it_is_thinned_is_ended_by_the_thinner(void **state) {
    (void)state;
    int gone = 0;
    assert_true(put(0x40, 1, 1));
    mt_chunks_thin(&table, freed_meanwhile, count_gone, &gone);
    assert_int_equal(gone, 1);
    assert_int_equal(mt_chunks_taken(&table), 0);
}

static bool freed_and_handed_out_again(mt_chunk *chunk, void *context) {
    (void)context;
    mt_chunk copy;
    uint64_t address = chunk->address;
    assert_int_equal(mt_chunks_take(&table, address, &copy), -1);
    assert_true(put(address, 2, 2));
    assert_true(cut(address, &copy)); /* not stopped by the dead one */
    assert_int_equal(copy.size, 2);
    return true;
}

/* The dead record hid the live one: its free was lost, and the next owner met it. */
static void a_dead_record_does_not_hide_a_live_one_of_the_same_address(void **state) {
    (void)state;
    int gone = 0;
    assert_true(put(0x40, 1, 1));
    mt_chunks_thin(&table, freed_and_handed_out_again, count_gone, &gone);
    assert_int_equal(gone, 1);
    assert_int_equal(mt_chunks_taken(&table), 0);
}

static void the_number_of_sets_with_room_is_exact(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    for (int i = 0; i < 20000; i++) {
        mt_chunk chunk;
        uint64_t address = 16 + unit_random(&seed) % 6000 * 16;
        if (!cut(address, &chunk)) put(address, 1, 1);
        if (i % 1000) continue;
        uint32_t full = 0;
        for (uint32_t s = 0; s < table.sets; s++) {
            uint32_t taken = 0;
            for (int k = 0; k < 8; k++) taken += (table.word[s] >> 8 * k & 0xff) != 0;
            full += taken == 8;
        }
        assert_int_equal(mt_chunks_open(&table), full < table.sets ? table.sets - full : 1);
        assert_int_equal(mt_chunks_crowded(&table), full > table.sets / 12);
    }
}

/* The thread that fills a set counts it after the word says so; one that opens it again may
 * come between. Then every set was taken for full: the interval doubled, and what was recorded
 * at that moment weighed 512 times too much. */
static void a_set_that_is_opened_before_it_is_counted_full_is_not_a_crowd(void **state) {
    (void)state;
    atomic_store(&table.full, 0);
    atomic_fetch_sub(&table.full, 1);
    assert_false(mt_chunks_crowded(&table));
    assert_int_equal(mt_chunks_open(&table), table.sets);
    atomic_fetch_add(&table.full, 1);
}

static void init_fails_cleanly_without_memory(void **state) {
    (void)state;
    mt_chunks other;
    struct rlimit old, none = {0, 0};
    getrlimit(RLIMIT_AS, &old);
    none.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_AS, &none);
    void *p = mmap(NULL, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int result = mt_chunks_init(&other, 1 << 20);
    setrlimit(RLIMIT_AS, &old);
    if (p != MAP_FAILED) skip(); /* an emulator that has no such limit */
    assert_int_equal(result, -1);
}

/* Threads own disjoint addresses for a moment only: an address is handed from thread to thread
 * through a shared pool, as an allocator does. What is recorded for it must be what its owner
 * recorded, a copy must never mix two records, and at the end nothing may be left. */
enum { THREADS = 8, POOL = 4000, ROUNDS = 40000 };

static struct {
    pthread_mutex_t lock;
    uint64_t free_address[POOL];
    int n;
    _Atomic uint64_t puts, cuts, thinned, emptied, copies, torn;
    atomic_bool stop;
} shared;

static uint64_t pool_get(void) {
    pthread_mutex_lock(&shared.lock);
    uint64_t a = shared.n ? shared.free_address[--shared.n] : 0;
    pthread_mutex_unlock(&shared.lock);
    return a;
}

static void pool_put(uint64_t a) {
    pthread_mutex_lock(&shared.lock);
    shared.free_address[shared.n++] = a; /* last in, first out: reuse at once */
    pthread_mutex_unlock(&shared.lock);
}

/* All fields follow from address and salt, so that a mixture shows. */
static mt_chunk chunk_of(uint64_t address, uint64_t salt) {
    return (mt_chunk){.address = address,
                      .size = salt,
                      .born_ns = (salt * 31) ^ address,
                      .p = 1.0 / (double)salt,
                      .weight = salt * 3,
                      .site = (uint32_t)(salt ^ address >> 4)};
}

static bool whole(const mt_chunk *c) {
    mt_chunk expected = chunk_of(c->address, c->size);
    return c->born_ns == expected.born_ns && c->site == expected.site &&
           c->weight == expected.weight && c->p == expected.p;
}

typedef struct {
    uint64_t address, salt;
    bool recorded;
} held;

static void *worker(void *argument) {
    uint64_t seed = (uint64_t)(uintptr_t)argument;
    held own[64] = {{0}};
    for (int i = 0; i < ROUNDS || shared.copies < 1000; i++) {
        uint64_t r = unit_random(&seed);
        held *h = &own[r % 64];
        mt_chunk chunk;
        if (h->address) {
            int32_t cell = mt_chunks_take(&table, h->address, &chunk);
            if (cell >= 0) {
                if (!h->recorded || chunk.size != h->salt || !whole(&chunk)) shared.torn++;
                if (r >> 50 & 1) { /* a realloc that failed */
                    mt_chunks_publish(&table, cell, &chunk);
                    continue;
                }
                mt_chunks_abandon(&table, cell);
                shared.cuts++;
            }
            pool_put(h->address);
            h->address = 0;
        } else if ((h->address = pool_get()) != 0) {
            h->salt = r | 1;
            int32_t cell = mt_chunks_claim(&table, h->address);
            h->recorded = cell >= 0;
            chunk = chunk_of(h->address, h->salt);
            if (cell >= 0) mt_chunks_publish(&table, cell, &chunk), shared.puts++;
        }
    }
    for (int i = 0; i < 64; i++) {
        mt_chunk chunk;
        if (own[i].address && cut(own[i].address, &chunk)) shared.cuts++;
    }
    return NULL;
}

static void *copier(void *argument) {
    (void)argument;
    while (!shared.stop)
        for (int32_t i = 0; i < mt_chunks_slots(&table); i++) {
            mt_chunk chunk;
            if (!mt_chunks_peek(&table, i, &chunk)) continue;
            shared.copies++;
            if (!whole(&chunk)) shared.torn++;
        }
    return NULL;
}

static bool keep_most(mt_chunk *chunk, void *context) {
    if (!whole(chunk)) shared.torn++;
    return unit_random(context) % 8 != 0;
}

static void count_thinned(const mt_chunk *chunk, void *context) {
    (void)context;
    if (!whole(chunk)) shared.torn++;
    shared.thinned++;
}

static void *thinner(void *argument) {
    uint64_t seed = (uint64_t)(uintptr_t)argument;
    for (int round = 0; !shared.stop; round++) {
        mt_chunks_thin(&table, keep_most, count_thinned, &seed);
        if (round % 16 != 0) continue;
        for (int32_t i = 0; i < mt_chunks_slots(&table); i++) { /* a reset */
            mt_chunk chunk;
            int32_t cell = mt_chunks_take_cell(&table, i, &chunk);
            if (cell < 0) continue;
            if (!whole(&chunk)) shared.torn++;
            mt_chunks_abandon(&table, cell);
            shared.emptied++;
        }
    }
    return NULL;
}

static void threads_never_tear_lose_or_take_foreign_records(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    memset(&shared, 0, sizeof shared);
    pthread_mutex_init(&shared.lock, NULL);
    for (int i = 0; i < POOL; i++) shared.free_address[shared.n++] = 0x560000000000 + 48ull * i;
    pthread_t thread[THREADS + 2];
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, worker, (void *)(uintptr_t)(unit_random(&seed) | 1));
    pthread_create(&thread[THREADS], NULL, copier, NULL);
    pthread_create(&thread[THREADS + 1], NULL, thinner,
                   (void *)(uintptr_t)(unit_random(&seed) | 1));
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    shared.stop = true;
    pthread_join(thread[THREADS], NULL);
    pthread_join(thread[THREADS + 1], NULL);
    assert_int_equal(shared.torn, 0);
    assert_true(shared.copies > 0);
    assert_int_equal(shared.puts, shared.cuts + shared.thinned + shared.emptied);
    assert_int_equal(mt_chunks_taken(&table), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, map, unmap)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_recorded_chunk_is_found_once),
        TEST(addresses_that_no_tag_can_hold_are_refused),
        TEST(a_full_set_refuses_and_loses_nothing),
        TEST(every_slot_of_a_table_can_be_taken),
        TEST(the_smallest_table_has_two_sets),
        TEST(a_held_record_is_restored_whole_even_if_its_set_filled_up),
        TEST(the_table_agrees_with_a_naive_model),
        TEST(thinning_keeps_removes_and_changes_records),
        TEST(a_record_freed_while_it_is_thinned_is_ended_by_the_thinner),
        TEST(a_dead_record_does_not_hide_a_live_one_of_the_same_address),
        TEST(the_number_of_sets_with_room_is_exact),
        TEST(a_set_that_is_opened_before_it_is_counted_full_is_not_a_crowd),
        TEST(init_fails_cleanly_without_memory),
        TEST(threads_never_tear_lose_or_take_foreign_records),
    };
    return cmocka_run_group_tests_name("chunks", tests, NULL, NULL);
}
