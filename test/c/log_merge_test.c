/* The reader of event logs against a naive model: order, chunks, books; what is wrong with a
 * file; and files of any bytes. */
#include "unit.h"

#include <string.h>
#include <unistd.h>

#include "ctl/log/account.h"
#include "ctl/log/out.h"
#include "log_made.h"

enum { THREADS = 5, STACKS = 40, ADDRESSES = 300, EVENTS = 20000 };

static char path[64];
static log_made made;

static int setup(void **state) {
    (void)state;
    int fd;
    strcpy(path, "/tmp/log_merge_test.XXXXXX");
    fd = mkstemp(path);
    close(fd);
    made_open(&made, 3, 50);
    return fd < 0;
}

static FILE *shown; /* stderr, while what is said of 20,000 files goes elsewhere */

static int teardown(void **state) {
    if (shown) {
        fclose(stderr);
        stderr = shown;
        shown = NULL;
    }
    (void)state;
    made_close(&made);
    return unlink(path);
}

static void write_bytes(const void *bytes, size_t n) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static void start(void) {
    mt_log_start s = {.pid = 77,
                      .wall_ns = 5000,
                      .ns = 1000,
                      .ticks = 1000,
                      .clock = MT_LOG_CLOCK_NS,
                      .tick_shift = made.shift};
    made_start(&made, 1, &s, "prog\0arg", 9);
}

/* What a reader sees of the file as it is now. */
typedef struct {
    mt_logged_file file;
    mt_logged_stacks stacks;
    mt_logged_account account;
    bool open;
} reading;

static reading *read_all(reading *r, uint32_t slices) {
    memset(r, 0, sizeof *r);
    r->open = mt_logged_file_open(&r->file, &r->stacks, path) == 0;
    r->account.slices = slices;
    if (r->open) mt_logged_account_run(&r->account, &r->file, &r->stacks);
    return r;
}

static void done(reading *r) {
    if (r->open) mt_logged_account_close(&r->account);
    mt_logged_file_close(&r->file);
    mt_logged_stacks_close(&r->stacks);
}

static void write_made(void) {
    write_bytes(made.bytes, made.used);
}

static void flush_all(uint64_t now) {
    for (uint32_t t = 1; t < MADE_THREADS; t++)
        if (made.block[t].events) made_flush(&made, t, now);
}

/* The naive model: one array by address. */
typedef struct {
    uint64_t size;
    uint32_t stack, thread;
    bool live;
} model_chunk;

static uint64_t address_of(uint64_t i) {
    return 0x7f0000000000 + i * 16;
}

static void books_are_those_of_a_naive_model(void **state) {
    (void)state;
    uint64_t seed = unit_seed(), now = 2000, bytes = 0, peak = 0, count = 0, strays = 0,
             temp = 0;
    static model_chunk chunk[ADDRESSES];
    static uint64_t live[STACKS + 1], at_peak[STACKS + 1], last[THREADS + 1];
    memset(chunk, 0, sizeof chunk);
    memset(live, 0, sizeof live);
    start();
    for (uint32_t i = 1; i <= STACKS; i++)
        made_stack(&made, 1 + i % THREADS, i * 1000003, (uint64_t[]){i, i * 2, 9}, 3);
    for (int n = 0; n < EVENTS; n++) {
        uint32_t t = 1 + (uint32_t)(unit_random(&seed) % THREADS);
        uint64_t i = unit_random(&seed) % ADDRESSES;
        now += 3000 + (unit_random(&seed) % 50 == 0 ? unit_random(&seed) % 10000000 : 0);
        model_chunk *c = &chunk[i];
        bool stray = !c->live && unit_random(&seed) % 20 == 0;
        if (c->live || stray) {
            made_event(&made, t, MT_LOG_FREE, now, address_of(i), 0, 0);
            strays += stray;
            temp += !stray && last[t] == i + 1 && c->thread == t;
            if (last[t] == i + 1) last[t] = 0;
            if (stray) continue;
            bytes -= c->size;
            live[c->stack] -= c->size;
            c->live = false;
            count--;
        } else {
            *c = (model_chunk){unit_random(&seed) % 1000,
                               1 + (uint32_t)(unit_random(&seed) % STACKS), t, true};
            if (unit_random(&seed) % 1000 == 0) c->size += 1ull << 33;
            made_event(&made, t, MT_LOG_ALLOC, now, address_of(i), c->size, c->stack * 1000003);
            last[t] = i + 1;
            bytes += c->size;
            live[c->stack] += c->size;
            count++;
            if (bytes > peak) {
                peak = bytes;
                memcpy(at_peak, live, sizeof live);
            }
        }
    }
    made_end(&made, 1, MT_LOG_END_EXIT, 0);
    flush_all(now + 5);
    write_made();
    reading r;
    assert_true(read_all(&r, 7)->open);
    assert_int_equal(r.account.events, EVENTS);
    assert_int_equal(r.account.bytes, bytes);
    assert_int_equal(r.account.count, count);
    assert_int_equal(r.account.live.count, count);
    assert_int_equal(r.account.peak_bytes, peak);
    assert_int_equal(r.account.stray, strays);
    assert_int_equal(r.account.temporary, temp);
    assert_int_equal(r.account.replaced, 0);
    for (uint32_t s = 1; s <= STACKS; s++) {
        uint32_t number = mt_logged_stacks_number(&r.stacks, s * 1000003);
        assert_int_not_equal(number, 0);
        assert_int_equal(mt_logged_stacks_addresses(&r.stacks, number)[1], s * 2);
        assert_int_equal(r.account.site[number].live_bytes, live[s]);
        assert_int_equal(r.account.site[number].at_peak_bytes, at_peak[s]);
    }
    assert_int_equal(r.account.slice[6].live_bytes, bytes);
    assert_false(mt_logged_file_is_damaged(&r.file));
    assert_true(r.stacks.has_end);
    done(&r);
}

/* Times in a log of two threads, one event a block and many. */
static void events_come_in_the_order_of_their_times(void **state) {
    (void)state;
    uint64_t seed = unit_seed(), now = 1000;
    made.full = 1 + (uint32_t)(unit_random(&seed) % 9);
    for (int i = 0; i < 3000; i++) {
        now += 8 * (unit_random(&seed) % (i % 500 == 0 ? 1 << 22 : 9));
        made_event(&made, 1 + (uint32_t)(unit_random(&seed) % 9), MT_LOG_ALLOC, now, 8 + i * 8,
                   i, 0);
    }
    flush_all(now);
    write_made();
    reading r;
    mt_logged_merge merge;
    mt_logged_event event[7];
    uint64_t before = 0;
    uint32_t n, all = 0;
    memset(&r, 0, sizeof r);
    assert_int_equal(mt_logged_file_open(&r.file, &r.stacks, path), 0);
    r.stacks.start.tick_shift = 3;
    mt_logged_merge_open(&merge, &r.file, &r.stacks);
    while ((n = mt_logged_merge_next(&merge, event, 7)))
        for (uint32_t i = 0; i < n; i++, all++) {
            assert_true(event[i].time >= before);
            before = event[i].time;
        }
    assert_int_equal(all, 3000);
    assert_int_equal(before, now & ~7ull);
    mt_logged_merge_close(&merge);
    done(&r);
}

static void a_realloc_ends_the_old_chunk_when_it_is_called(void **state) {
    (void)state;
    start();
    made_stack(&made, 1, 1, (uint64_t[]){1, 2}, 2);
    made_event(&made, 1, MT_LOG_ALLOC, 2000, 0x1000, 10, 1);
    made_event(&made, 1, MT_LOG_REALLOC_FROM, 3000, 0x1000, 0, 0);
    made_event(&made, 2, MT_LOG_ALLOC, 3100, 0x1000, 5, 1);
    made_event(&made, 1, MT_LOG_REALLOC_TO, 3200, 0x2000, 20, 1);
    flush_all(4000);
    write_made();
    reading r;
    read_all(&r, 0);
    assert_int_equal(r.account.count, 2);
    assert_int_equal(r.account.bytes, 25);
    assert_int_equal(r.account.replaced, 0);
    assert_int_equal(r.account.reallocs, 1);
    done(&r);
}

/* The next block has to be looked into for what became of the realloc. */
static void a_realloc_that_failed_leaves_the_chunk(void **state) {
    (void)state;
    for (int apart = 0; apart < 2; apart++) {
        made_close(&made);
        made_open(&made, 0, 50);
        start();
        made_event(&made, 1, MT_LOG_ALLOC, 2000, 0x1000, 10, 1);
        made_event(&made, 1, MT_LOG_REALLOC_FROM, 3000, 0x1000, 0, 0);
        if (apart) made_flush(&made, 1, 3000);
        made_event(&made, 1, MT_LOG_REALLOC_FAILED, 3200, 0x1000, 1ull << 31, 1);
        flush_all(4000);
        write_made();
        reading r;
        read_all(&r, 0);
        assert_int_equal(r.account.count, 1);
        assert_int_equal(r.account.bytes, 10);
        assert_int_equal(r.account.failed, 1);
        assert_int_equal(r.account.freed, 0);
        done(&r);
    }
}

static void a_realloc_that_had_not_returned_leaves_the_chunk(void **state) {
    (void)state;
    made_event(&made, 1, MT_LOG_ALLOC, 2000, 0x1000, 10, 1);
    made_event(&made, 1, MT_LOG_REALLOC_FROM, 3000, 0x1000, 0, 0);
    flush_all(4000);
    write_made();
    reading r;
    read_all(&r, 0);
    assert_int_equal(r.account.bytes, 10);
    assert_int_equal(r.account.events, 2);
    done(&r);
}

static void an_address_given_out_again_ends_the_chunk_whose_free_was_missed(void **state) {
    (void)state;
    made_event(&made, 1, MT_LOG_ALLOC, 2000, 0x1000, 10, 1);
    made_event(&made, 1, MT_LOG_ALLOC, 3000, 0x1000, 7, 1);
    flush_all(4000);
    write_made();
    reading r;
    read_all(&r, 0);
    assert_int_equal(r.account.replaced, 1);
    assert_int_equal(r.account.bytes, 7);
    assert_int_equal(r.account.live.count, 1);
    done(&r);
}

/* Thread 2 was given what thread 1 freed; thread 2 freed what it had of thread 1. */
static void times_in_the_wrong_order_by_a_little_are_put_right(void **state) {
    (void)state;
    start();
    made_event(&made, 1, MT_LOG_ALLOC, 50000, 0x1000, 10, 1);
    made_event(&made, 2, MT_LOG_ALLOC, 60000, 0x1000, 7, 1);
    made_event(&made, 1, MT_LOG_FREE, 60100, 0x1000, 0, 0);
    made_event(&made, 2, MT_LOG_FREE, 70000, 0x2000, 0, 0);
    made_event(&made, 1, MT_LOG_ALLOC, 70100, 0x2000, 5, 1);
    flush_all(100000);
    write_made();
    reading r;
    read_all(&r, 0);
    assert_int_equal(r.account.replaced, 0);
    assert_int_equal(r.account.stray, 0);
    assert_int_equal(r.account.bytes, 7);
    assert_int_equal(r.account.freed, 2);
    assert_int_equal(r.account.allocated, 3);
    assert_int_equal(r.account.live.count, 1);
    done(&r);
}

static void what_is_further_apart_is_what_it_is(void **state) {
    (void)state;
    start();
    made_event(&made, 1, MT_LOG_ALLOC, 50000, 0x1000, 10, 1);
    made_event(&made, 2, MT_LOG_ALLOC, 60000, 0x1000, 7, 1);
    made_event(&made, 1, MT_LOG_FREE, 65000, 0x1000, 0, 0);
    made_event(&made, 2, MT_LOG_FREE, 70000, 0x2000, 0, 0);
    made_event(&made, 1, MT_LOG_ALLOC, 75000, 0x2000, 5, 1);
    /* A thread's own order is certain. */
    made_event(&made, 1, MT_LOG_FREE, 80000, 0x3000, 0, 0);
    made_event(&made, 1, MT_LOG_ALLOC, 80100, 0x3000, 3, 1);
    flush_all(100000);
    write_made();
    reading r;
    read_all(&r, 0);
    assert_int_equal(r.account.replaced, 1);
    assert_int_equal(r.account.stray, 2);
    assert_int_equal(r.account.bytes, 8);
    done(&r);
}

static void only_the_last_allocation_of_its_thread_is_temporary(void **state) {
    (void)state;
    start();
    made_event(&made, 1, MT_LOG_ALLOC, 2000, 0x1000, 10, 1);
    made_event(&made, 2, MT_LOG_ALLOC, 2100, 0x2000, 10, 1);
    made_event(&made, 1, MT_LOG_FREE, 2200, 0x1000, 0, 0); /* yes */
    made_event(&made, 1, MT_LOG_ALLOC, 2300, 0x1000, 10, 1);
    made_event(&made, 1, MT_LOG_ALLOC, 2400, 0x3000, 10, 1);
    made_event(&made, 1, MT_LOG_FREE, 2500, 0x1000, 0, 0); /* no: 0x3000 came between */
    made_event(&made, 1, MT_LOG_FREE, 2600, 0x2000, 0, 0); /* no: another thread's */
    made_event(&made, 2, MT_LOG_FREE, 2700, 0x3000, 0, 0); /* no: another thread's */
    made_event(&made, 2, MT_LOG_ALLOC, 2800, 0x3000, 10, 1);
    made_event(&made, 1, MT_LOG_FREE, 2900, 0x3000, 0, 0); /* no: it had it before, too */
    flush_all(4000);
    write_made();
    reading r;
    read_all(&r, 0);
    assert_int_equal(r.account.temporary, 1);
    done(&r);
}

static void stacks_that_are_alike_are_one(void **state) {
    (void)state;
    made_stack(&made, 1, 5, (uint64_t[]){1, 2}, 2);
    made_stack(&made, 2, 900000000, (uint64_t[]){1, 2}, 2);
    made_stack(&made, 2, 7, (uint64_t[]){1}, 1);
    flush_all(4000);
    write_made();
    reading r;
    read_all(&r, 0);
    assert_int_equal(mt_logged_stacks_number(&r.stacks, 5),
                     mt_logged_stacks_number(&r.stacks, 900000000));
    assert_int_not_equal(mt_logged_stacks_number(&r.stacks, 7), 0);
    assert_int_not_equal(mt_logged_stacks_number(&r.stacks, 5),
                         mt_logged_stacks_number(&r.stacks, 7));
    assert_int_equal(mt_logged_stacks_number(&r.stacks, 6), 0);
    done(&r);
}

/* Three blocks of one thread and one of another; where they begin goes to `at`. */
static void four_blocks(size_t at[5]) {
    start();
    made_event(&made, 1, MT_LOG_ALLOC, 2000, 0x1000, 1, 0);
    at[0] = made.used;
    made_flush(&made, 1, 2100);
    at[1] = made.used;
    made_event(&made, 2, MT_LOG_ALLOC, 2200, 0x2000, 2, 0);
    made_flush(&made, 2, 2300);
    at[2] = made.used;
    made_event(&made, 1, MT_LOG_ALLOC, 2400, 0x3000, 4, 0);
    made_flush(&made, 1, 2500);
    at[3] = made.used;
    made_event(&made, 1, MT_LOG_ALLOC, 2600, 0x4000, 8, 0);
    made_end(&made, 1, MT_LOG_END_EXIT, 0);
    made_flush(&made, 1, 2700);
    at[4] = made.used;
}

static void a_log_that_is_cut_gives_what_is_before_the_cut(void **state) {
    (void)state;
    size_t at[5];
    four_blocks(at);
    for (size_t n = 1; n <= made.used; n++) {
        uint64_t bytes = 0;
        for (int i = 1; i < 5; i++)
            if (n >= at[i]) bytes |= 1u << (i - 1);
        write_bytes(made.bytes, n);
        reading r;
        read_all(&r, 0);
        assert_int_equal(r.open, n >= at[1]);
        if (r.open) {
            bool between = n == at[1] || n == at[2] || n == at[3] || n == at[4];
            assert_int_equal(r.account.bytes, bytes);
            assert_false(mt_logged_file_is_damaged(&r.file));
            assert_int_equal(r.file.cut != 0, !between);
        }
        done(&r);
    }
}

static void a_damaged_block_is_left_out_and_the_next_is_found(void **state) {
    (void)state;
    size_t at[5];
    uint64_t seed = unit_seed();
    four_blocks(at);
    for (int block = 0; block < 3; block++)
        for (size_t i = at[block]; i < at[block + 1]; i++) {
            /* The header's own numbers have no sum: those that matter to the search. */
            size_t in = i - at[block];
            if (in >= 16 && in < 56) continue;
            if (in >= 60 && in < 64) continue;
            char was = made.bytes[i];
            made.bytes[i] ^= (char)(1 + unit_random(&seed) % 255);
            write_made();
            made.bytes[i] = was;
            reading r;
            assert_true(read_all(&r, 0)->open);
            assert_int_equal(r.file.damaged, 1);
            assert_int_equal(r.file.damaged_at, at[block]);
            assert_int_equal(r.account.bytes, 15 - (block == 0 ? 1 : block == 1 ? 2 : 4));
            assert_int_equal(r.account.before_damage, block);
            done(&r);
        }
}

static void a_missing_block_is_noticed_by_its_sequence(void **state) {
    (void)state;
    size_t at[5];
    four_blocks(at);
    memmove(made.bytes + at[2], made.bytes + at[3], at[4] - at[3]);
    made.used -= at[3] - at[2];
    write_made();
    reading r;
    read_all(&r, 0);
    assert_int_equal(r.file.lost, 1);
    assert_int_equal(r.account.bytes, 11);
    assert_true(mt_logged_file_is_damaged(&r.file));
    done(&r);
}

/* As who ends the program writes it, and then the thread itself. */
static void of_a_block_that_comes_twice_the_one_with_more_counts(void **state) {
    (void)state;
    for (int longer_first = 0; longer_first < 2; longer_first++) {
        made_close(&made);
        made_open(&made, 0, 50);
        for (int i = 0; i < 2; i++) {
            made_event(&made, 1, MT_LOG_ALLOC, 2000, 0x1000, 1, 0);
            if (i != longer_first) made_event(&made, 1, MT_LOG_ALLOC, 2100, 0x2000, 2, 0);
            made_flush(&made, 1, 2200);
            made.block[1].sequence = 0;
        }
        write_made();
        reading r;
        assert_true(read_all(&r, 0)->open);
        assert_int_equal(r.account.bytes, 3);
        assert_int_equal(r.account.events, 2);
        assert_int_equal(r.file.repeated, 1);
        assert_false(mt_logged_file_is_damaged(&r.file));
        done(&r);
    }
}

/* A thread that had not heard that the file was emptied appends a block of the log before:
 * behind the new one's first block, or before it. */
static void blocks_of_another_generation_are_left_out(void **state) {
    (void)state;
    for (int before = 0; before < 2; before++) {
        made_close(&made);
        made_open(&made, 0, 50);
        for (int i = 0; i < 2; i++) {
            if ((i == 0) == before) {
                made.generation = 3;
                made_event(&made, 2, MT_LOG_ALLOC, 1500, 0x9000, 100, 0);
                made_flush(&made, 2, 1600);
            } else {
                made.generation = 4;
                start();
                made_event(&made, 1, MT_LOG_ALLOC, 2000, 0x1000, 1, 0);
                made_flush(&made, 1, 2100);
            }
        }
        write_made();
        reading r;
        assert_true(read_all(&r, 0)->open);
        assert_int_equal(r.file.former, 1);
        assert_int_equal(r.account.bytes, 1);
        assert_int_equal(r.stacks.start.pid, 77);
        assert_false(mt_logged_file_is_damaged(&r.file));
        done(&r);
    }
}

static void times_that_go_backwards_keep_the_order_of_the_thread(void **state) {
    (void)state;
    made_event(&made, 1, MT_LOG_ALLOC, 90000, 0x1000, 1, 0);
    made_flush(&made, 1, 90000);
    made_event(&made, 1, MT_LOG_FREE, 5000, 0x1000, 0, 0);
    made_flush(&made, 1, 5000);
    write_made();
    reading r;
    read_all(&r, 3);
    assert_int_equal(r.account.bytes, 0);
    assert_int_equal(r.account.stray, 0);
    mt_logged_merge merge;
    mt_logged_event event[2];
    mt_logged_merge_open(&merge, &r.file, &r.stacks);
    assert_int_equal(mt_logged_merge_next(&merge, event, 2), 2);
    assert_true(event[1].time >= event[0].time);
    mt_logged_merge_close(&merge);
    done(&r);
}

static void what_is_no_log_is_refused(void **state) {
    (void)state;
    reading r;
    const char *const texts[] = {"", "x",
                                 "hello, this is no log of events, but longer than one header"
                                 " of a block would be in a log that it is not"};
    for (size_t i = 0; i < 3; i++) {
        write_bytes(texts[i], strlen(texts[i]));
        assert_false(read_all(&r, 0)->open);
        done(&r);
    }
    size_t at[5];
    four_blocks(at);
    for (int i = 0; i < 4; i++) made.bytes[at[i] + 8] = 2; /* the version */
    write_made();
    assert_false(read_all(&r, 0)->open);
    done(&r);
}

/* Any bytes in any place, sums put right half of the time: nothing but an end is asked for. */
static void logs_of_any_bytes_do_no_harm(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    size_t at[5];
    four_blocks(at);
    made_stack(&made, 3, 4, (uint64_t[]){1, 2, 3}, 3);
    made_object(&made, 3, 1, 100, 0, 5, "/lib/x.so");
    made_thread(&made, 3, 99, "name");
    made_event(&made, 3, MT_LOG_REALLOC_FROM, 2600, 0x4000, 0, 0);
    made_event(&made, 3, MT_LOG_REALLOC_TO, 2650, 0x4000, 1ull << 40, 4);
    made_flush(&made, 3, 2700);
    at[4] = made.used;
    char *bytes = malloc(made.used);
    shown = stderr;
    stderr = fopen("/dev/null", "w");
    for (int round = 0; round < 20000; round++) {
        memcpy(bytes, made.bytes, made.used);
        size_t n = unit_random(&seed) % 8 ? made.used : unit_random(&seed) % made.used;
        for (uint64_t i = 1 + unit_random(&seed) % 4; i-- > 0;) {
            size_t place = unit_random(&seed) % made.used;
            if (unit_random(&seed) % 2) bytes[place] = (char)unit_random(&seed);
            else if (place + 8 <= made.used) {
                uint64_t odd[] = {0, ~0ull, 1ull << 63, 0xffffffff, 64, MT_LOG_BLOCK_MAX};
                memcpy(bytes + place, &odd[unit_random(&seed) % 6], 8);
            }
        }
        for (int b = 0; b < 4 && round % 2; b++) {
            mt_log_block head;
            memcpy(&head, bytes + at[b], sizeof head);
            uint64_t body[512];
            size_t size = head.bytes - sizeof head;
            if (head.bytes < sizeof head || at[b] + head.bytes > made.used ||
                size > sizeof body)
                continue;
            memcpy(body, bytes + at[b] + sizeof head, size);
            head.checksum = mt_log_checksum(body, size);
            memcpy(bytes + at[b], &head, sizeof head);
        }
        write_bytes(bytes, n);
        reading r;
        read_all(&r, 5);
        if (r.open) {
            (void)mt_logged_file_ns(&r.file, ~0ull);
            (void)mt_logged_file_wall(&r.file, &r.stacks, 0);
        }
        done(&r);
    }
    free(bytes);
}

static void ticks_become_nanoseconds_by_two_moments(void **state) {
    (void)state;
    mt_logged_file f = {.ticks = {1000, 3000}, .ns = {500, 1500}};
    assert_int_equal(mt_logged_file_ns(&f, 1000), 500);
    assert_int_equal(mt_logged_file_ns(&f, 2000), 1000);
    assert_int_equal(mt_logged_file_ns(&f, 5000), 2500);
    assert_int_equal(mt_logged_file_ns(&f, 600), 300);
    assert_int_equal(mt_logged_file_ns(&f, 0), 0);
    f = (mt_logged_file){.ticks = {1000, 1000}, .ns = {500, 500}};
    assert_int_equal(mt_logged_file_ns(&f, 1010), 510);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        TEST(books_are_those_of_a_naive_model),
        TEST(events_come_in_the_order_of_their_times),
        TEST(a_realloc_ends_the_old_chunk_when_it_is_called),
        TEST(a_realloc_that_failed_leaves_the_chunk),
        TEST(a_realloc_that_had_not_returned_leaves_the_chunk),
        TEST(an_address_given_out_again_ends_the_chunk_whose_free_was_missed),
        TEST(times_in_the_wrong_order_by_a_little_are_put_right),
        TEST(what_is_further_apart_is_what_it_is),
        TEST(only_the_last_allocation_of_its_thread_is_temporary),
        TEST(stacks_that_are_alike_are_one),
        TEST(a_log_that_is_cut_gives_what_is_before_the_cut),
        TEST(a_damaged_block_is_left_out_and_the_next_is_found),
        TEST(a_missing_block_is_noticed_by_its_sequence),
        TEST(of_a_block_that_comes_twice_the_one_with_more_counts),
        TEST(blocks_of_another_generation_are_left_out),
        TEST(times_that_go_backwards_keep_the_order_of_the_thread),
        TEST(what_is_no_log_is_refused),
        TEST(logs_of_any_bytes_do_no_harm),
        TEST(ticks_become_nanoseconds_by_two_moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
