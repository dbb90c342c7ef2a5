/* What lacked room, from tables that were filled by the core's own code. */
#include "unit.h"

#include "ctl/watch/room.h"
#include "record/levels.h"

enum { SLOTS = 1024, ROWS = 1024 };

static mt_tables tables_of(const mt_sites *sites, const mt_chunks *level) {
    mt_tables t = {.levels = 1};
    t.sites = *sites;
    t.level[0] = *level;
    return t;
}

static mt_sites sites;
static mt_chunks chunks;

static int begin(void **state) {
    (void)state;
    return mt_sites_init(&sites, ROWS, 4) || mt_chunks_init(&chunks, SLOTS);
}

static int end(void **state) {
    (void)state;
    mt_sites_fini(&sites);
    mt_chunks_fini(&chunks);
    return 0;
}

/* Returns how many found a row. */
static uint32_t hold(uint32_t stacks) {
    uint32_t held = 0;
    for (uintptr_t i = 0; i < stacks; i++) {
        void *stack[] = {(void *)(i * 4096 + 16), (void *)0x1000};
        held += mt_sites_hold(&sites, stack, 2) >= 0;
    }
    return held;
}

static uint32_t put(uint32_t n) {
    uint32_t done = 0;
    for (uint64_t i = 0; i < n; i++) {
        mt_chunk chunk = {.address = 0x10000 + i * 64, .size = 8, .weight = MT_WEIGHT_ONE};
        int32_t cell = mt_chunks_claim(&chunks, chunk.address);
        if (cell >= 0) mt_chunks_publish(&chunks, cell, &chunk);
        done += cell >= 0;
    }
    return done;
}

static mt_room lacked(void) {
    mt_tables t = tables_of(&sites, &chunks);
    return mt_room_lacked(&t);
}

static void empty_tables_lack_nothing(void **state) {
    (void)state;
    assert_false(lacked().no_slots || lacked().no_rows);
    mt_tables none = {.levels = 0};
    assert_false(mt_room_lacked(&none).no_slots || mt_room_lacked(&none).no_rows);
}

/* The sentence named the slots where the stacks were too many. */
static void a_stack_without_a_row_is_not_a_chunk_without_a_slot(void **state) {
    (void)state;
    assert_int_equal(put(10), 10);
    assert_int_equal(hold(ROWS / 2), ROWS / 2);
    assert_false(lacked().no_rows);
    assert_true(hold(2 * ROWS) < 2 * ROWS);
    assert_true(lacked().no_rows);
    assert_false(lacked().no_slots);
}

static void a_chunk_without_a_slot_shows_when_all_are_free_again(void **state) {
    (void)state;
    uint32_t done = put(2 * SLOTS);
    mt_chunk chunk;
    assert_true(done < 2 * SLOTS);
    for (uint64_t i = 0; i < 2 * SLOTS; i++) {
        int32_t cell = mt_chunks_take(&chunks, 0x10000 + i * 64, &chunk);
        if (cell >= 0) mt_chunks_abandon(&chunks, cell);
    }
    assert_int_equal(mt_chunks_taken(&chunks), 0);
    assert_true(lacked().no_slots);
    assert_false(lacked().no_rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(empty_tables_lack_nothing, begin, end),
        cmocka_unit_test_setup_teardown(a_stack_without_a_row_is_not_a_chunk_without_a_slot,
                                        begin, end),
        cmocka_unit_test_setup_teardown(a_chunk_without_a_slot_shows_when_all_are_free_again,
                                        begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
