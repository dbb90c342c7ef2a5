/* Names of JIT code out of lists that the test builds as the VM would, whole and damaged. */
#include "unit.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "name/jit.h"
#include "name/jit_list.h"

typedef struct entry {
    struct entry *next, *prev;
    char *symfile;
    uint64_t size;
} entry;

typedef struct descriptor {
    uint32_t version, action;
    entry *relevant, *first;
} descriptor;

/* In the program's initialised data, where the VM's is. */
static volatile descriptor the = {1, 0, NULL, NULL};
static volatile descriptor another = {1, 0, NULL, NULL};

enum { BASE = 0x10000000, STRIDE = 0x1000, FUNCTIONS = 4, LENGTH = 0x100, LINES = 3 };

static void put(char **at, const void *from, size_t n) {
    memcpy(*at, from, n);
    *at += n;
}

static void put_u32(char **at, uint32_t x) {
    put(at, &x, sizeof x);
}

static void put_text(char **at, const char *text, size_t padding) {
    uint16_t n = (uint16_t)(strlen(text) + 1);
    put(at, &n, sizeof n);
    put(at, text, n);
    *at += padding;
}

/* m<i>, whose functions f0..f3 of LENGTH bytes stand at BASE + i * STRIDE, each after a
 * prologue of 16 bytes, with a line at every 32 bytes. Exactly as large as it must be. */
static char *symfile_of(int i, uint64_t base, uint64_t *size) {
    char all[4096] = {0}, name[64], *at = all;
    put_u32(&at, 1);
    put_u32(&at, 0x5555); /* padding, whatever malloc had there */
    put(&at, &base, sizeof base);
    put_u32(&at, 2 * FUNCTIONS);
    put_u32(&at, STRIDE);
    snprintf(name, sizeof name, "m%d", i);
    put_text(&at, name, 6);
    for (int f = 0; f < 2 * FUNCTIONS; f++) {
        bool prologue = f % 2 == 0;
        uint32_t lo = (uint32_t)(f / 2 * LENGTH) + (prologue ? 0 : 16);
        put_u32(&at, lo);
        put_u32(&at, prologue ? lo + 16 : lo + LENGTH - 32);
        put_u32(&at, prologue ? 0 : LINES);
        snprintf(name, sizeof name, "m%d:f%d/%d%s", i, f / 2, f / 2,
                 prologue ? "-CodeInfoPrologue" : "");
        put_text(&at, name, 2);
        for (uint32_t l = 0; !prologue && l < LINES; l++) {
            put_u32(&at, lo - 8 + 32 * l);
            put_u32(&at, 100 * (uint32_t)(f / 2) + l);
            snprintf(name, sizeof name, "m%d.erl", i);
            put_text(&at, name, 2);
        }
    }
    *size = (uint64_t)(at - all);
    return memcpy(malloc(*size), all, *size);
}

static void insert(volatile descriptor *d, char *symfile, uint64_t size) {
    entry *e = malloc(sizeof *e);
    *e = (entry){d->first, NULL, symfile, size};
    if (d->first) d->first->prev = e;
    d->first = e;
}

static void insert_module(int i) {
    uint64_t size;
    char *symfile = symfile_of(i, BASE + (uint64_t)i * STRIDE, &size);
    insert(&the, symfile, size);
}

static void drop(volatile descriptor *d, entry *e) {
    if (e->prev) e->prev->next = e->next;
    else d->first = e->next;
    if (e->next) e->next->prev = e->prev;
    free(e->symfile);
    free(e);
}

static int no_list(void **state) {
    (void)state;
    while (the.first) drop(&the, the.first);
    another.first = NULL;
    return 0;
}

/* What the list must say about this address of module i, if anything is known of it. */
static void assert_right(const mt_erlang *found, int i, uintptr_t offset) {
    char name[64];
    snprintf(name, sizeof name, "m%d:f%d/%d", i, (int)(offset / LENGTH),
             (int)(offset / LENGTH));
    assert_string_equal(found->name, name);
    if (!found->file) return;
    snprintf(name, sizeof name, "m%d.erl", i);
    assert_string_equal(found->file, name);
    uintptr_t in = (offset % LENGTH - 8) / 32;
    assert_int_equal(found->line, 100 * (offset / LENGTH) + (in < LINES ? in : LINES - 1));
}

static void every_address_has_its_function_file_and_line(void **state) {
    (void)state;
    mt_jit jit = {0};
    mt_erlang found;
    for (int i = 0; i < 50; i++) insert_module(i);
    assert_int_equal(mt_jit_read(&jit), 0);
    assert_int_equal(jit.n, 50 * FUNCTIONS);
    for (int i = 0; i < 50; i++)
        for (uintptr_t offset = 0; offset < STRIDE; offset++) {
            bool is = offset < FUNCTIONS * LENGTH && offset % LENGTH < LENGTH - 16;
            uintptr_t address = BASE + (uintptr_t)i * STRIDE + offset;
            assert_int_equal(mt_jit_find(&jit, address, &found), is);
            if (is) assert_right(&found, i, offset);
            else assert_null(found.name);
            /* line 0 is none */
            bool lined = is && offset % LENGTH >= (offset < LENGTH ? 40 : 8);
            assert_int_equal(found.file != NULL, lined);
        }
    assert_false(mt_jit_find(&jit, 0, &found));
    assert_false(mt_jit_find(&jit, BASE - 1, &found));
    assert_false(mt_jit_find(&jit, UINTPTR_MAX, &found));
    mt_jit_empty(&jit);
    assert_false(mt_jit_find(&jit, BASE, &found));
}

static void without_a_list_nothing_is_named(void **state) {
    (void)state;
    mt_jit jit = {0};
    mt_erlang found;
    assert_int_equal(mt_jit_read(&jit), -1);
    assert_int_equal(jit.arena.bytes, 0);
    assert_false(mt_jit_find(&jit, BASE, &found));
}

/* OTP 25 leaves garbage in prev until the next module comes: no list was found then. */
static void the_first_entrys_prev_may_be_anything(void **state) {
    (void)state;
    mt_jit jit = {0};
    for (int i = 0; i < 3; i++) insert_module(i);
    the.first->prev = (entry *)0x123450;
    assert_int_equal(mt_jit_read(&jit), 0);
    assert_int_equal(jit.n, 3 * FUNCTIONS);
    the.first->prev = NULL;
    mt_jit_empty(&jit);
}

/* A library's JIT may share the list where the VM's symbol is seen: ELF files are none of ours.
 */
static void other_symfiles_are_passed_over(void **state) {
    (void)state;
    mt_jit jit = {0};
    insert_module(1);
    insert(&the, calloc(1, 32), 32); /* about the emulator */
    insert(&the, strcpy(malloc(64), "\177ELF"), 64);
    insert(&the, strcpy(malloc(8), "\177ELF"), 8);
    insert(&the, NULL, 100);
    insert(&the, strcpy(malloc(8), "\177ELF"), UINT64_MAX);
    assert_int_equal(mt_jit_read(&jit), 0);
    assert_int_equal(jit.n, FUNCTIONS);
    mt_jit_empty(&jit);
}

static void of_two_descriptors_none_is_believed(void **state) {
    (void)state;
    mt_jit jit = {0};
    insert_module(1);
    another.first = the.first;
    assert_int_equal(mt_jit_read(&jit), -1);
    another.version = 2;
    assert_int_equal(mt_jit_read(&jit), 0);
    another.version = 1;
    mt_jit_empty(&jit);
}

static void a_list_in_a_circle_has_an_end(void **state) {
    (void)state;
    mt_jit jit = {0};
    for (int i = 0; i < 3; i++) insert_module(i);
    entry *first = the.first, *last = first->next->next;
    last->next = first;
    first->prev = last;
    assert_int_equal(mt_jit_read(&jit), 0);
    assert_int_equal(jit.n, 3 * FUNCTIONS);
    assert_true(jit.arena.bytes < 1 << 20);
    mt_jit_empty(&jit);
    last->next = last->prev;
    assert_int_equal(mt_jit_read(&jit), 0);
    assert_int_equal(jit.n, 3 * FUNCTIONS);
    assert_true(jit.arena.bytes < 1 << 20);
    mt_jit_empty(&jit);
    last->next = NULL;
    first->prev = NULL;
}

/* OTP 25 never forgets a module, whatever comes into its place. */
static void the_newest_code_at_an_address_is_meant(void **state) {
    (void)state;
    mt_jit jit = {0};
    mt_erlang found;
    uint64_t size;
    char *older = symfile_of(7, BASE, &size);
    insert(&the, older, size);
    older = symfile_of(8, BASE + 3 * STRIDE, &size);
    insert(&the, older, size);
    char *newer = symfile_of(9, BASE + STRIDE / 2, &size);
    insert(&the, newer, size);
    assert_int_equal(mt_jit_read(&jit), 0);
    assert_false(mt_jit_find(&jit, BASE + 20, &found));
    assert_true(mt_jit_find(&jit, BASE + STRIDE / 2 + 20, &found));
    assert_string_equal(found.name, "m9:f0/0");
    assert_true(mt_jit_find(&jit, BASE + 3 * STRIDE, &found));
    assert_string_equal(found.name, "m8:f0/0");
    mt_jit_empty(&jit);
}

static void a_symfile_of_any_other_length_is_refused(void **state) {
    (void)state;
    mt_jit_symfile file;
    uint64_t size;
    char *whole = symfile_of(1, BASE, &size);
    for (size_t n = 0; n <= size + 8; n++) {
        char *part = calloc(1, n + 1);
        memcpy(part + 1, whole, n < size ? n : size); /* unaligned too */
        assert_int_equal(mt_jit_symfile_open(&file, part + 1, n), n == size);
        free(part);
    }
    free(whole);
}

/* ASan watches the copy's ends; names must end inside of it. */
static void ask_everything(const mt_jit_symfile *file, uint64_t *seed) {
    mt_jit_range *range = malloc(file->ranges * sizeof *range + 1);
    uint32_t n = mt_jit_symfile_ranges(file, range);
    assert_true(n <= file->ranges);
    for (uint32_t i = 0; i < n; i++) {
        const char *name = NULL;
        uint32_t line;
        assert_true(range[i].lo < range[i].hi && (!i || range[i - 1].hi <= range[i].lo));
        assert_true(strlen(range[i].name) < file->size);
        for (int k = 0; k < 4; k++) {
            uintptr_t in = unit_random(seed) % (range[i].hi - range[i].lo);
            if (mt_jit_symfile_line(&range[i], range[i].lo + in, &name, &line))
                assert_true(name + strlen(name) < file->bytes + file->size && line);
        }
    }
    free(range);
}

static void damaged_symfiles_do_no_harm(void **state) {
    (void)state;
    uint64_t seed = unit_seed(), size;
    int opened = 0;
    for (int round = 0; round < 20000; round++) {
        mt_jit_symfile file;
        char *bytes = symfile_of(round % 100, BASE, &size);
        for (int n = (int)(unit_random(&seed) % 4); n > 0; n--) {
            uint64_t value = unit_random(&seed);
            bytes[unit_random(&seed) % size] = (char)(value % 4 ? value % 5 : value >> 8);
        }
        if (mt_jit_symfile_open(&file, bytes, size)) {
            opened++;
            ask_everything(&file, &seed);
        }
        free(bytes);
    }
    unit_in_range(opened, 5000, 19999);
}

/* Pointers into nowhere, into a hole, into the middle of things; counts of any size. */
static uint64_t hostile(uint64_t *seed, char *hole) {
    uint64_t r = unit_random(seed);
    switch (r % 7) {
    case 0:
        return 0;
    case 1:
        return r >> 8;
    case 2:
        return (uintptr_t)hole + (r >> 8) % 8192;
    case 3:
        return (uintptr_t)the.first + (r >> 8) % 4 * 8;
    case 4:
        return (r >> 8) % 4096;
    case 5:
        return (uintptr_t)&the;
    default:
        return UINT64_MAX - (r >> 8) % 64;
    }
}

static void damaged_lists_do_no_harm(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    char *hole = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(hole + 4096, 4096);
    entry *all[8], was[8];
    for (int i = 0; i < 8; i++) insert_module(i);
    descriptor whole = the;
    int k = 0, read = 0;
    for (entry *e = the.first; e; e = e->next) was[k] = *e, all[k++] = e;
    for (int round = 0; round < 4000; round++) {
        mt_jit jit = {0};
        mt_erlang found;
        for (int n = 1 + (int)(unit_random(&seed) % 2); n > 0; n--) {
            uint64_t *words = (uint64_t *)all[unit_random(&seed) % 8];
            if (unit_random(&seed) % 8 == 0) words = (uint64_t *)&the;
            words[unit_random(&seed) % (words == (void *)&the ? 3 : 4)] = hostile(&seed, hole);
        }
        if (mt_jit_read(&jit) == 0) read++;
        for (int i = 0; i < 50; i++) {
            uintptr_t offset = unit_random(&seed) % (8 * STRIDE);
            if (mt_jit_find(&jit, BASE + offset, &found))
                assert_right(&found, (int)(offset / STRIDE), offset % STRIDE);
        }
        mt_jit_empty(&jit);
        the = whole;
        for (int i = 0; i < 8; i++) *all[i] = was[i];
    }
    unit_in_range(read, 2000, 3999);
    munmap(hole, 4096);
}

static _Atomic bool stop;

/* Modules come and go, as on a purge: those with two digits, whose symfiles are of one size, so
 * that malloc gives the old one's memory to the new one, which is written slowly. */
static void *load_and_purge(void *context) {
    uint64_t seed = *(uint64_t *)context, size;
    while (!stop) {
        entry *gone = the.first;
        for (int k = (int)(unit_random(&seed) % 20); k > 0 && gone->next; k--)
            gone = gone->next;
        int was = atoi(gone->symfile + 27), next = was < 55 ? was + 45 : was - 45;
        if (was < 10) continue;
        char *whole = symfile_of(next, BASE + (uint64_t)next * STRIDE, &size);
        drop(&the, gone);
        char *symfile = malloc(size);
        memcpy(symfile, whole, size / 2);
        sched_yield();
        memcpy(symfile + size / 2, whole + size / 2, size - size / 2);
        insert(&the, symfile, size);
        free(whole);
    }
    return NULL;
}

static void a_list_that_changes_meanwhile_gives_no_wrong_name(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    pthread_t thread;
    for (int i = 0; i < 30; i++) insert_module(i);
    stop = false;
    assert_int_equal(pthread_create(&thread, NULL, load_and_purge, &seed), 0);
    uint64_t mine = seed + 2, right = 0;
    for (int round = 0; round < 1000; round++) {
        mt_jit jit = {0};
        mt_erlang found;
        mt_jit_read(&jit);
        for (int i = 0; i < 200; i++) {
            uintptr_t offset = unit_random(&mine) % (100 * STRIDE);
            if (!mt_jit_find(&jit, BASE + offset, &found)) continue;
            assert_right(&found, (int)(offset / STRIDE), offset % STRIDE);
            right++;
        }
        mt_jit_empty(&jit);
    }
    stop = true;
    pthread_join(thread, NULL);
    assert_true(right > 0);
}

/* Against the definition: what no newer span that was kept overlaps. */
static void settled_spans_are_disjoint_and_new(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    for (int round = 0; round < 2000; round++) {
        mt_jit_span span[24], all[24];
        uint32_t n = (uint32_t)(unit_random(&seed) % 24);
        for (uint32_t i = 0; i < n; i++) {
            uintptr_t lo = unit_random(&seed) % 200;
            all[i] = span[i] = (mt_jit_span){lo, lo + unit_random(&seed) % 20, i, i};
        }
        uint32_t left = mt_jit_settle(span, n);
        for (uint32_t i = 1; i < left; i++) assert_true(span[i - 1].hi <= span[i].lo);
        for (uint32_t i = 0; i < n; i++) { /* gone: something newer was in its way */
            bool kept = all[i].lo >= all[i].hi, in_the_way = false;
            for (uint32_t k = 0; k < left; k++) kept |= span[k].item == i;
            for (uint32_t k = 0; k < i; k++)
                in_the_way |= all[k].lo < all[i].hi && all[i].lo < all[k].hi;
            assert_true(kept || in_the_way);
        }
        for (uint32_t k = 0; k < left; k++) /* kept: nothing newer that was kept reaches in */
            for (uint32_t i = 0; i < left; i++)
                assert_true(i == k || span[i].hi <= span[k].lo || span[k].hi <= span[i].lo);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_address_has_its_function_file_and_line, no_list),
        cmocka_unit_test_teardown(without_a_list_nothing_is_named, no_list),
        cmocka_unit_test_teardown(the_first_entrys_prev_may_be_anything, no_list),
        cmocka_unit_test_teardown(other_symfiles_are_passed_over, no_list),
        cmocka_unit_test_teardown(of_two_descriptors_none_is_believed, no_list),
        cmocka_unit_test_teardown(a_list_in_a_circle_has_an_end, no_list),
        cmocka_unit_test_teardown(the_newest_code_at_an_address_is_meant, no_list),
        cmocka_unit_test(a_symfile_of_any_other_length_is_refused),
        cmocka_unit_test(damaged_symfiles_do_no_harm),
        cmocka_unit_test_teardown(damaged_lists_do_no_harm, no_list),
        cmocka_unit_test_teardown(a_list_that_changes_meanwhile_gives_no_wrong_name, no_list),
        cmocka_unit_test(settled_spans_are_disjoint_and_new),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
