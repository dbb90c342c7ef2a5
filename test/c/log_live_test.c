/* The table of live chunks against a naive model, while it grows and chunks move up. */
#include "unit.h"

#include "ctl/log/live.h"

enum { ADDRESSES = 1 << 16, ROUNDS = 2000000 };

static uint64_t sizes[ADDRESSES]; /* of the model; 0: not live */

static void the_table_is_a_map_of_addresses(void **state) {
    (void)state;
    uint64_t seed = unit_seed(), count = 0;
    mt_logged_live live;
    mt_logged_live_open(&live);
    for (int i = 0; i < ROUNDS; i++) {
        /* Fuller and emptier in turn, so that runs of cells grow and close up again. */
        bool put = unit_random(&seed) % 100 < (i / (ROUNDS / 8) % 2 ? 30 : 70);
        uint64_t n = unit_random(&seed) % ADDRESSES, address = 0x5500000000 + n * 16;
        mt_logged_chunk chunk = {.address = address, .size = 1 + unit_random(&seed) % 1000},
                        was;
        if (put) {
            assert_int_equal(mt_logged_live_put(&live, &chunk, &was), sizes[n] != 0);
            if (sizes[n]) assert_int_equal(was.size, sizes[n]);
            else count++;
            sizes[n] = chunk.size;
        } else {
            assert_int_equal(mt_logged_live_take(&live, address, &was), sizes[n] != 0);
            if (sizes[n]) assert_int_equal(was.size, sizes[n]);
            count -= sizes[n] != 0;
            sizes[n] = 0;
        }
        assert_int_equal(live.count, count);
    }
    for (uint64_t i = 0; i < live.cells; i++) {
        if (!live.cell[i].address) continue;
        assert_int_equal(live.cell[i].size, sizes[(live.cell[i].address - 0x5500000000) / 16]);
        count--;
    }
    assert_int_equal(count, 0);
    mt_logged_live_close(&live);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_table_is_a_map_of_addresses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
