/* The levels of an exact table: against a naive model, up to 3/4 of the slots in patterns of
 * addresses as heaps have them, and under threads. */
#include "unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "record/level.h"
#include "record/levels.h"

enum { SLOTS = 65536, MOST = SLOTS / 4 * 3 };

static mt_levels levels;

static int map(void **state) {
    (void)state;
    return mt_levels_init(&levels, SLOTS, true);
}

static int unmap(void **state) {
    (void)state;
    mt_levels_fini(&levels);
    return 0;
}

static mt_chunk chunk_of(uint64_t address, uint64_t salt) {
    return (mt_chunk){.address = address,
                      .size = salt,
                      .born_ns = (salt * 31) ^ address,
                      .p = 1,
                      .weight = MT_WEIGHT_ONE,
                      .site = (uint32_t)(salt ^ address >> 4)};
}

static bool whole(const mt_chunk *c) {
    mt_chunk expected = chunk_of(c->address, c->size);
    return c->born_ns == expected.born_ns && c->site == expected.site && c->p == 1 &&
           c->weight == MT_WEIGHT_ONE;
}

/* Of two calls one tries the short way of exact mode first. */
static _Atomic unsigned calls;

static mt_put put_chunk(const mt_chunk *chunk) {
    uint32_t set = mt_level_set(&levels.level[0], chunk->address);
    if (calls++ & 1 && mt_level_put(mt_word_is_alone(), &levels, set, chunk))
        return MT_PUT_DONE;
    return mt_levels_put(&levels, chunk);
}

static mt_put put(uint64_t address, uint64_t salt) {
    mt_chunk chunk = chunk_of(address, salt);
    return put_chunk(&chunk);
}

static bool cut(uint64_t address, mt_chunk *chunk) {
    mt_chunks *first = &levels.level[0];
    uint64_t tag;
    bool alone = mt_word_is_alone();
    if (calls++ & 1) return mt_levels_cut(&levels, address, chunk);
    int32_t i = mt_level_find(alone, first, mt_level_set(first, address), address, &tag);
    if (i < 0) return mt_levels_cut(&levels, address, chunk);
    mt_cell_read(first, i, tag, chunk);
    mt_cell_clear(alone, first, i, mt_level_fingerprint(address));
    return true;
}

static void a_table_to_sample_has_one_level(void **state) {
    (void)state;
    mt_levels other;
    assert_int_equal(mt_levels_init(&other, 4096, true), 0); /* too small to be cut up */
    assert_false(mt_levels_several(&other));
    assert_int_equal(mt_levels_slots(&other), 4096);
    mt_levels_fini(&other);
    assert_int_equal(mt_levels_init(&other, SLOTS, false), 0);
    assert_int_equal(mt_levels_slots(&other), SLOTS);
    mt_levels_fini(&other);
    assert_true(mt_levels_several(&levels));
    assert_true(mt_levels_slots(&levels) >= SLOTS);
    assert_true(mt_levels_slots(&levels) < SLOTS + SLOTS / 4);
}

static void a_level_that_was_never_used_is_not_looked_at(void **state) {
    (void)state;
    mt_chunk chunk;
    assert_int_equal(put(0x1000, 1), MT_PUT_DONE);
    assert_int_equal(levels.used, 1);
    for (uint64_t a = 0x2000; levels.used == 1; a += 16)
        assert_int_equal(put(a, a), MT_PUT_DONE);
    assert_int_equal(levels.used, 2);
    assert_true(cut(0x1000, &chunk));
    assert_int_equal(levels.used, 2); /* for good */
}

static void an_address_that_has_a_record_is_stale_in_whatever_level(void **state) {
    (void)state;
    mt_chunk chunk;
    uint64_t last = 0;
    for (uint64_t a = 0x10000; levels.used < MT_LEVELS_MAX - 1; a += 16)
        if (put(a, a) == MT_PUT_DONE) last = a;
    assert_true(mt_levels_of(mt_levels_take(&levels, last, &chunk)) == levels.used - 1);
    assert_int_equal(put(last, 1), MT_PUT_DONE); /* its byte is still taken: another cell */
    assert_int_equal(put(last, 2), MT_PUT_STALE);
    assert_true(cut(0x10000, &chunk)); /* makes room in the first */
    assert_int_equal(put(last, 3), MT_PUT_STALE);
    assert_true(cut(last, &chunk));
    assert_int_equal(chunk.size, 1);
    assert_int_equal(put(last, 4), MT_PUT_DONE);
}

/* Heaps of chunks of one size, of two arenas, of sizes at random, of chunks on a page of their
 * own each and far from each other; the next address after `a`. */
typedef uint64_t pattern(uint64_t a, uint64_t i, uint64_t *seed);

static uint64_t by_16(uint64_t a, uint64_t i, uint64_t *seed) {
    (void)i, (void)seed;
    return a + 16;
}
static uint64_t by_32(uint64_t a, uint64_t i, uint64_t *seed) {
    (void)i, (void)seed;
    return a + 32;
}
static uint64_t by_48(uint64_t a, uint64_t i, uint64_t *seed) {
    (void)i, (void)seed;
    return a + 48;
}
static uint64_t by_pages(uint64_t a, uint64_t i, uint64_t *seed) {
    (void)i, (void)seed;
    return a + 4096;
}
static uint64_t far_apart(uint64_t a, uint64_t i, uint64_t *seed) {
    (void)i, (void)seed;
    return a + (2 << 20);
}
static uint64_t in_two_arenas(uint64_t a, uint64_t i, uint64_t *seed) {
    (void)seed;
    return i % 2 ? a - (64 << 20) + 48 : a + (64 << 20);
}
static uint64_t small_ones(uint64_t a, uint64_t i, uint64_t *seed) {
    (void)i;
    return a + 32 + unit_random(seed) % 6 * 16;
}
static uint64_t all_sizes(uint64_t a, uint64_t i, uint64_t *seed) {
    (void)i;
    return a + 32 + (unit_random(seed) % 4096 >> unit_random(seed) % 8) * 16;
}

/* A cell's number was negative for addresses with bit 36: its record was there, but its byte
 * was another set's, and half of the frees found nothing. */
static void a_record_is_found_whatever_the_bits_of_its_address(void **state) {
    (void)state;
    mt_chunk chunk;
    uint64_t seed = unit_seed();
    for (int i = 0; i < 20000; i++) {
        uint64_t a = unit_random(&seed) & 0x7ffffffffff0, next = a ^ 0x1000000000;
        assert_int_equal(put(a, 1), MT_PUT_DONE);
        assert_int_equal(put(a, 2), MT_PUT_STALE);
        assert_int_equal(put(next, 3), MT_PUT_DONE);
        assert_true(cut(a, &chunk));
        assert_int_equal(chunk.size, 1);
        assert_true(cut(next, &chunk));
        assert_int_equal(chunk.size, 3);
        assert_false(cut(a, &chunk));
    }
    assert_int_equal(mt_levels_taken(&levels), 0);
}

/* Where a set of the first level has overflowed and is empty again, nobody looks further. */
static void what_went_beyond_the_first_level_is_counted(void **state) {
    (void)state;
    enum { N = 8192 };
    mt_chunk chunk;
    uint64_t beyond = 0;
    for (uint64_t i = 0; i < N; i++)
        assert_int_equal(put(0x7f0000000000 + i * 65536, i), MT_PUT_DONE);
    for (size_t i = 0; i < sizeof levels.beyond / sizeof *levels.beyond; i++)
        beyond += levels.beyond[i];
    assert_int_equal(beyond, N - mt_chunks_taken(&levels.level[0]));
    assert_true(beyond > 0);
    for (uint64_t i = 0; i < N; i++) {
        uint64_t a = 0x7f0000000000 + i * 65536;
        int32_t cell = i % 2 ? mt_levels_take(&levels, a, &chunk) : -1;
        if (cell >= 0) mt_levels_abandon(&levels, cell, a);
        else assert_true(cut(a, &chunk));
        assert_int_equal(chunk.size, i);
    }
    for (size_t i = 0; i < sizeof levels.beyond / sizeof *levels.beyond; i++)
        assert_int_equal(levels.beyond[i], 0);
}

/* Its own cell was another's when it was put, and is free now. */
static void a_record_that_is_not_in_its_own_cell_is_stale_too(void **state) {
    (void)state;
    mt_chunk chunk;
    for (int fill = 1; fill <= MT_CELLS; fill += MT_CELLS - 1) {
        uint64_t a = 0x7f0000000000, others[MT_CELLS], n = 0;
        uint32_t set = mt_level_set(&levels.level[0], a);
        others[n++] = a + 8;
        for (uint64_t b = a + 16; n < (uint64_t)fill; b += 8)
            if (mt_level_set(&levels.level[0], b) == set) others[n++] = b;
        for (uint64_t i = 0; i < n; i++) assert_int_equal(put(others[i], i), MT_PUT_DONE);
        assert_int_equal(put(a, 1), MT_PUT_DONE);
        for (uint64_t i = 0; i < n; i++) assert_true(cut(others[i], &chunk));
        for (int i = 0; i < 2; i++) assert_int_equal(put(a, 2), MT_PUT_STALE);
        assert_true(cut(a, &chunk));
        assert_int_equal(chunk.size, 1);
        assert_int_equal(mt_levels_taken(&levels), 0);
    }
}

static void a_rest_that_is_not_usual_is_kept(void **state) {
    (void)state;
    mt_chunk chunk = chunk_of(0x5000, 9), got;
    chunk.thread = (1u << 29) - 1;
    assert_int_equal(put_chunk(&chunk), MT_PUT_DONE);
    assert_true(cut(0x5000, &got));
    assert_memory_equal(&got, &chunk, sizeof got);
    for (int i = 0; i < 3; i++) {
        chunk = chunk_of(0x5000, 9);
        if (i == 0) chunk.p = 0.25;
        if (i == 1) chunk.weight *= 3;
        if (i == 2) chunk.pid = 0x1234567890;
        assert_int_equal(put_chunk(&chunk), MT_PUT_DONE);
        assert_true(cut(0x5000, &got));
        assert_memory_equal(&got, &chunk, sizeof got);
    }
    chunk = chunk_of(0x5000, 9); /* the one before left its rest behind */
    assert_int_equal(put_chunk(&chunk), MT_PUT_DONE);
    assert_true(mt_levels_peek(&levels, mt_levels_next(&levels, 0), &got) != 0);
    assert_memory_equal(&got, &chunk, sizeof got);
}

static void nothing_is_ignored_up_to_three_quarters(void **state) {
    (void)state;
    static pattern *const patterns[] = {by_16,     by_32,         by_48,      by_pages,
                                        far_apart, in_two_arenas, small_ones, all_sizes};
    uint64_t seed = unit_seed();
    for (size_t k = 0; k < sizeof patterns / sizeof *patterns; k++) {
        mt_levels_fini(&levels);
        assert_int_equal(mt_levels_init(&levels, SLOTS, true), 0);
        uint64_t a = 0x550000000000 + unit_random(&seed) % (1 << 26) * 4096 + 16;
        for (uint64_t i = 0; i < MOST; i++, a = patterns[k](a, i, &seed))
            assert_int_equal(put(a, a), MT_PUT_DONE);
        assert_int_equal(mt_levels_taken(&levels), MOST);
    }
}

/* As the first, but for MOST that come and go. */
static void the_levels_agree_with_a_naive_model(void **state) {
    (void)state;
    enum { ADDRESSES = MOST, STEPS = 600000 };
    static uint64_t model[ADDRESSES]; /* size, 0: not recorded */
    uint64_t seed = unit_seed(), live = 0, seen = 0;
    memset(model, 0, sizeof model);
    for (int i = 0; i < STEPS; i++) {
        uint64_t r = unit_random(&seed), k = r % ADDRESSES;
        uint64_t address = 0x7f0000000010 + k * 48;
        mt_chunk chunk;
        if (i < STEPS / 2 ? !model[k] : !model[k] && r >> 40 & 1) {
            assert_int_equal(put(address, r | 1), MT_PUT_DONE);
            model[k] = r | 1, live++;
        } else {
            bool there = model[k] != 0, restores = r >> 50 & 1;
            if (restores) { /* a realloc that failed */
                int32_t cell = mt_levels_take(&levels, address, &chunk);
                assert_int_equal(cell >= 0, there);
                if (cell >= 0) mt_levels_publish(&levels, cell, &chunk);
            } else assert_int_equal(cut(address, &chunk), there);
            if (!there) continue;
            assert_int_equal(chunk.size, model[k]);
            assert_true(whole(&chunk));
            if (!restores) model[k] = 0, live--;
        }
    }
    assert_int_equal(mt_levels_taken(&levels), live);
    for (int32_t i = 0; (i = mt_levels_next(&levels, i)) >= 0; i++, seen++) {
        mt_chunk chunk;
        uint64_t tag = mt_levels_peek(&levels, i, &chunk);
        assert_true(tag && mt_levels_unchanged(&levels, i, tag));
        assert_int_equal(model[(chunk.address - 0x7f0000000010) / 48], chunk.size);
    }
    assert_int_equal(seen, live);
}

/* Threads that take addresses from each other, as those of an allocator do, while one copies
 * and empties the table. */
enum { THREADS = 4, POOL = MOST / 2, ROUNDS = 60000, OWN = 3000 };

static struct {
    pthread_mutex_t lock;
    uint64_t address[POOL];
    int n;
    _Atomic uint64_t puts, cuts, emptied, wrong, copies;
    atomic_bool stop;
} shared;

static uint64_t pool_get(void) {
    pthread_mutex_lock(&shared.lock);
    uint64_t a = shared.n ? shared.address[--shared.n] : 0;
    pthread_mutex_unlock(&shared.lock);
    return a;
}

static void pool_put(uint64_t a) {
    pthread_mutex_lock(&shared.lock);
    shared.address[shared.n++] = a;
    pthread_mutex_unlock(&shared.lock);
}

static void give_back(uint64_t address) {
    mt_chunk chunk;
    if (cut(address, &chunk)) {
        if (!whole(&chunk) || chunk.address != address) shared.wrong++;
        shared.cuts++;
    }
    pool_put(address);
}

static void *worker(void *argument) {
    uint64_t seed = (uint64_t)(uintptr_t)argument;
    uint64_t *own = calloc(OWN, sizeof *own);
    for (int i = 0; i < ROUNDS || shared.copies < 1000; i++) {
        uint64_t r = unit_random(&seed), *a = &own[r % OWN];
        if (*a) give_back(*a), *a = 0;
        else if ((*a = pool_get()) != 0) {
            if (put(*a, r | 1) == MT_PUT_DONE) shared.puts++;
            else shared.wrong++;
        }
    }
    for (int i = 0; i < OWN; i++)
        if (own[i]) give_back(own[i]);
    free(own);
    return NULL;
}

static void *observer(void *argument) {
    (void)argument;
    for (int round = 0; !shared.stop; round++)
        for (int32_t i = 0; (i = mt_levels_next(&levels, i)) >= 0; i++) {
            mt_chunk chunk;
            if (mt_levels_peek(&levels, i, &chunk)) {
                shared.copies++;
                if (!whole(&chunk)) shared.wrong++;
            }
            if (round % 16 == 15 && mt_levels_take_cell(&levels, i, &chunk)) { /* a reset */
                if (!whole(&chunk)) shared.wrong++;
                mt_levels_abandon(&levels, i, chunk.address);
                shared.emptied++;
            }
        }
    return NULL;
}

static void threads_lose_nothing_and_take_nothing_foreign(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    memset(&shared, 0, sizeof shared);
    pthread_mutex_init(&shared.lock, NULL);
    for (int i = 0; i < POOL; i++) shared.address[shared.n++] = 0x560000000010 + 48ull * i;
    pthread_t thread[THREADS + 1];
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, worker, (void *)(uintptr_t)(unit_random(&seed) | 1));
    pthread_create(&thread[THREADS], NULL, observer, NULL);
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    shared.stop = true;
    pthread_join(thread[THREADS], NULL);
    assert_int_equal(shared.wrong, 0);
    assert_true(shared.copies > 0);
    assert_int_equal(shared.puts, shared.cuts + shared.emptied);
    assert_int_equal(mt_levels_taken(&levels), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, map, unmap)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_table_to_sample_has_one_level),
        TEST(a_level_that_was_never_used_is_not_looked_at),
        TEST(an_address_that_has_a_record_is_stale_in_whatever_level),
        TEST(a_record_is_found_whatever_the_bits_of_its_address),
        TEST(what_went_beyond_the_first_level_is_counted),
        TEST(a_record_that_is_not_in_its_own_cell_is_stale_too),
        TEST(a_rest_that_is_not_usual_is_kept),
        TEST(nothing_is_ignored_up_to_three_quarters),
        TEST(the_levels_agree_with_a_naive_model),
        TEST(threads_lose_nothing_and_take_nothing_foreign),
    };
    return cmocka_run_group_tests_name("levels", tests, NULL, NULL);
}
