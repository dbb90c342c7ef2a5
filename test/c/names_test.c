/* Names of addresses in files that are, or were, mapped somewhere else. */
#include "fixture.h"

#include <fcntl.h>

#include "ctl/show/named_kept.h"
#include "ctl/show/names.h"
#include "name/elf_file.h"

#define CC   "gcc -shared -fPIC -O2 -g "
#define BASE 0x7f0000000000ull
#define SIZE 0x100000ull

static int lines[4];
static uint64_t
    inside; /* the return address in fixtures/lines.c's innermost call, in the file */
static mt_elf_identity identity;

static void make(const char *name, const char *flags) {
    mt_elf f;
    fixture_make(CC "%s -o $D/%s $PWD/$F/lines.c", flags, name);
    inside = fixture_address(name, lines) + 1;
    assert_int_equal(mt_elf_open(&f, fixture_path(name)), 0);
    identity = f.identity;
    mt_elf_close(&f);
}

static void add(mt_names *names, const char *path, uint64_t since, uint64_t until) {
    mt_names_object(names, BASE, BASE + SIZE, BASE, since, until, path, identity.build_id,
                    identity.build_id_bytes);
}

static const mt_names_place *found(mt_names *names, uint64_t at) {
    return mt_names_find(names, BASE + inside, at);
}

static void assert_nameless(const mt_names_place *place) {
    assert_int_equal(place->frames, 1);
    assert_null(place->frame[0].function);
    assert_null(place->frame[0].file);
}

static void assert_the_chain(const mt_names_place *place) {
    assert_int_equal(place->frames, 3);
    assert_string_equal(place->frame[0].function, "innermost");
    assert_string_equal(place->frame[1].function, "middle");
    assert_string_equal(place->frame[2].function, "a_static_function");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(place->frame[i].line, lines[i]);
        assert_string_equal(strrchr(place->frame[i].file, '/'), "/lines.c");
        assert_int_equal(place->frame[i].inlined, i < 2);
    }
}

static void an_address_has_its_function_lines_and_inlined_calls(void **state) {
    (void)state;
    make("a.so", "-Wl,--build-id=sha1");
    mt_names *names = mt_names_open(NULL);
    add(names, fixture_path("a.so"), 10, 0);
    const mt_names_place *place = found(names, 20);
    assert_the_chain(place);
    assert_string_equal(place->object, fixture_path("a.so"));
    assert_int_equal(place->in_file, inside);
    assert_true(place->frame[2].offset > 0 && place->frame[2].offset < 4096);
    assert_ptr_equal(found(names, 21), place);
    assert_null(mt_names_missing(names, 0));
    mt_names_close(names);
}

/* What this process has asked the kernel to read, so far. */
static unsigned long long bytes_read(void) {
    unsigned long long n = 0;
    FILE *io = fopen("/proc/self/io", "r");
    assert_non_null(io);
    assert_int_equal(fscanf(io, "rchar: %llu", &n), 1);
    fclose(io);
    return n;
}

static unsigned long long bytes_for_the_chain(mt_named_kept *kept, const char *path) {
    unsigned long long before = bytes_read();
    mt_names *names = mt_names_open(NULL);
    mt_names_keep(names, kept);
    add(names, path, 10, 0);
    assert_the_chain(found(names, 20));
    mt_names_close(names);
    return bytes_read() - before;
}

/* Of 300 processes that ended together each had the C library read for it. */
static void a_file_that_is_kept_is_not_read_again(void **state) {
    (void)state;
    make("a.so", "-Wl,--build-id=sha1");
    mt_named_kept *kept = mt_named_kept_open();
    assert_int_equal(mt_named_kept_due_ms(kept), -1);
    unsigned long long first = bytes_for_the_chain(kept, fixture_path("a.so"));
    assert_true(mt_named_kept_due_ms(kept) > 0);
    mt_named_kept_tidy(kept);
    assert_true(bytes_for_the_chain(kept, fixture_path("a.so")) < first / 4);
    assert_true(bytes_for_the_chain(NULL, fixture_path("a.so")) > first / 2);
    mt_named_kept_close(kept);
}

static void a_kept_file_that_was_replaced_is_read_again(void **state) {
    (void)state;
    mt_named_kept *kept = mt_named_kept_open();
    make("none.so", "-Wl,--build-id=none");
    bytes_for_the_chain(kept, fixture_path("none.so"));
    uint64_t before = inside;
    fixture_make("rm $D/none.so");
    make("none.so", "-Wl,--build-id=none -falign-functions=256");
    assert_true(inside != before);
    bytes_for_the_chain(kept, fixture_path("none.so"));
    make("none.so", "-Wl,--build-id=sha1"); /* the same path, and another file */
    bytes_for_the_chain(kept, fixture_path("none.so"));
    mt_named_kept_close(kept);
}

static void without_lines_there_are_functions(void **state) {
    (void)state;
    make("a.so", "-Wl,--build-id=sha1");
    mt_names *names = mt_names_open(NULL);
    mt_names_no_lines(names);
    add(names, fixture_path("a.so"), 10, 0);
    assert_int_equal(found(names, 20)->frames, 1);
    assert_string_equal(found(names, 20)->frame[0].function, "a_static_function");
    assert_null(found(names, 20)->frame[0].file);
    mt_names_close(names);
}

static void a_file_that_was_replaced_is_not_believed(void **state) {
    (void)state;
    make("b.so", "-Wl,--build-id=0x1234");
    make("a.so", "-Wl,--build-id=sha1");
    mt_names *names = mt_names_open(NULL);
    add(names, fixture_path("b.so"), 10, 0);
    assert_nameless(found(names, 20));
    assert_string_equal(found(names, 20)->object, fixture_path("b.so"));
    assert_non_null(strstr(mt_names_missing(names, 0), "b.so: the file is not the one"));
    assert_null(mt_names_missing(names, 1));
    mt_names_close(names);
}

static void where_there_was_no_build_id_none_will_do(void **state) {
    (void)state;
    make("none.so", "-Wl,--build-id=none");
    mt_names *names = mt_names_open(NULL);
    add(names, fixture_path("none.so"), 10, 0);
    assert_the_chain(found(names, 20));
    mt_names_close(names);
    make("a.so", "-Wl,--build-id=sha1");
    names = mt_names_open(NULL);
    identity.build_id_bytes = 0;
    add(names, fixture_path("a.so"), 10, 0);
    assert_nameless(found(names, 20));
    assert_non_null(strstr(mt_names_missing(names, 0), "showed no build id"));
    mt_names_close(names);
}

static void a_file_that_is_gone_leads_to_its_debug_file(void **state) {
    (void)state;
    make("gone.so", "-Wl,--build-id=0xabcdef0123456789");
    fixture_make("mkdir -p $D/debug/.build-id/ab && objcopy --only-keep-debug $D/gone.so "
                 "$D/debug/.build-id/ab/cdef0123456789.debug && rm $D/gone.so");
    char path[256];
    snprintf(path, sizeof path, "%s (deleted)", fixture_path("gone.so"));
    mt_names *names = mt_names_open(fixture_path("debug"));
    add(names, path, 10, 0);
    assert_the_chain(found(names, 20));
    assert_string_equal(found(names, 20)->object, fixture_path("gone.so"));
    assert_null(mt_names_missing(names, 0));
    mt_names_close(names);
    names = mt_names_open(NULL);
    add(names, path, 10, 0);
    assert_nameless(found(names, 20));
    assert_non_null(strstr(mt_names_missing(names, 0), "not there any more"));
    mt_names_close(names);
}

static void a_stripped_file_is_told_of(void **state) {
    (void)state;
    fixture_make("echo 'int main(void) { return 0; }' > $D/m.c && cd $D && "
                 "gcc -s -o stripped m.c -Wl,--build-id=sha1");
    mt_elf f;
    assert_int_equal(mt_elf_open(&f, fixture_path("stripped")), 0);
    identity = f.identity;
    mt_elf_close(&f);
    mt_names *names = mt_names_open(NULL);
    add(names, fixture_path("stripped"), 10, 0);
    assert_nameless(found(names, 20));
    assert_non_null(strstr(mt_names_missing(names, 0), "stripped: it is stripped;"));
    mt_names_close(names);
}

static void folders_come_before_the_path(void **state) {
    (void)state;
    make("a.so", "-Wl,--build-id=sha1");
    fixture_make("mkdir -p $D/one $D/two && echo no > $D/one/a.so && mv $D/a.so $D/two/");
    char folders[600];
    snprintf(folders, sizeof folders, "%s:%s", fixture_path("one"), fixture_path("two"));
    mt_names *names = mt_names_open(folders);
    add(names, "/elsewhere/lib/a.so", 10, 0);
    assert_the_chain(found(names, 20));
    mt_names_close(names);
}

/* Until when it was found to be gone an address is the old file's, then the new one's, which
 * may be found a moment after its code has been on a stack. */
static void an_address_belongs_to_what_was_mapped_at_the_moment(void **state) {
    (void)state;
    mt_names *names = mt_names_open(NULL);
    add(names, "/second.so", 300, 400);
    add(names, "/first.so", 100, 200);
    mt_names_object(names, BASE + 0x10, BASE + 0x20, BASE, 500, 0, "", NULL, 0);
    static const struct {
        uint64_t at;
        const char *object;
    } expected[] = {{50, "/first.so"},   {100, "/first.so"},  {199, "/first.so"},
                    {250, "/second.so"}, {399, "/second.so"}, {450, NULL},
                    {600, NULL}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const char *object = mt_names_find(names, BASE + 0x18, expected[i].at)->object;
        if (expected[i].object) assert_string_equal(object, expected[i].object);
        else assert_null(object);
    }
    /* The very first byte behind the mapping returns into it; the first byte of it does not. */
    assert_non_null(mt_names_find(names, BASE + SIZE, 100)->object);
    assert_null(mt_names_find(names, BASE, 100)->object);
    assert_null(mt_names_find(names, 0, 100)->object);
    mt_names_close(names);
}

static void what_is_no_file_is_not_looked_for(void **state) {
    (void)state;
    mt_names *names = mt_names_open(NULL);
    mt_names_object(names, BASE, BASE + SIZE, BASE, 1, 0, "[vdso]", NULL, 0);
    assert_nameless(mt_names_find(names, BASE + 8, 2));
    assert_string_equal(mt_names_find(names, BASE + 8, 2)->object, "[vdso]");
    assert_null(mt_names_missing(names, 0));
    mt_names_close(names);
}

/* The kernel spells them so in /proc/PID/maps. */
static void a_path_may_have_a_line_s_end(void **state) {
    (void)state;
    make("end.so", "-Wl,--build-id=sha1");
    fixture_make("mv $D/end.so \"$D/e\nnd.so\"");
    mt_names *names = mt_names_open(NULL);
    add(names, fixture_path("e\\012nd.so"), 10, 0);
    assert_the_chain(found(names, 20));
    assert_string_equal(found(names, 20)->object, fixture_path("e\nnd.so"));
    mt_names_close(names);
}

static void versions_are_no_part_of_names(void **state) {
    (void)state;
    make("a.so", "-Wl,--build-id=sha1");
    fixture_make("objcopy --redefine-sym a_static_function=plain@@V_1.2 $D/a.so");
    mt_names *names = mt_names_open(NULL);
    mt_names_no_lines(names);
    add(names, fixture_path("a.so"), 10, 0);
    assert_string_equal(found(names, 20)->frame[0].function, "plain");
    mt_names_close(names);
}

/* Against a naive search, with mappings that overlap in every way. */
static void random_mappings_are_found_as_a_naive_search_finds_them(void **state) {
    (void)state;
    enum { N = 300 };
    uint64_t seed = unit_seed();
    static struct {
        uint64_t lo, hi, since, until;
        char path[24];
    } o[N];
    mt_names *names = mt_names_open(NULL);
    for (int i = 0; i < N; i++) {
        o[i].lo = unit_random(&seed) % 1000 + 1;
        o[i].hi = o[i].lo + unit_random(&seed) % 50 + 1;
        o[i].since = (uint64_t)i * 10; /* all different */
        o[i].until = unit_random(&seed) % 2 ? o[i].since + 5 + unit_random(&seed) % 900 : 0;
        snprintf(o[i].path, sizeof o[i].path, "/gone/%d", i);
        mt_names_object(names, o[i].lo, o[i].hi, 0, o[i].since, o[i].until, o[i].path, NULL, 0);
    }
    for (int k = 0; k < 20000; k++) {
        uint64_t address = unit_random(&seed) % 1100 + 1, at = unit_random(&seed) % 4000;
        const char *expected = NULL;
        for (int i = 0; i < N && !expected; i++) /* the last that was there by then */
            if (o[N - 1 - i].lo <= address && address < o[N - 1 - i].hi &&
                o[N - 1 - i].since <= at && (!o[N - 1 - i].until || o[N - 1 - i].until > at))
                expected = o[N - 1 - i].path;
        for (int i = 0; i < N && !expected; i++) /* else the first later one */
            if (o[i].lo <= address && address < o[i].hi && o[i].since > at)
                expected = o[i].path;
        const char *got = mt_names_find(names, address + 1, at)->object;
        if (expected) assert_string_equal(got, expected);
        else assert_null(got);
    }
    mt_names_close(names);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_has_its_function_lines_and_inlined_calls),
        cmocka_unit_test(a_file_that_is_kept_is_not_read_again),
        cmocka_unit_test(a_kept_file_that_was_replaced_is_read_again),
        cmocka_unit_test(without_lines_there_are_functions),
        cmocka_unit_test(a_file_that_was_replaced_is_not_believed),
        cmocka_unit_test(where_there_was_no_build_id_none_will_do),
        cmocka_unit_test(a_file_that_is_gone_leads_to_its_debug_file),
        cmocka_unit_test(a_stripped_file_is_told_of),
        cmocka_unit_test(folders_come_before_the_path),
        cmocka_unit_test(an_address_belongs_to_what_was_mapped_at_the_moment),
        cmocka_unit_test(what_is_no_file_is_not_looked_for),
        cmocka_unit_test(a_path_may_have_a_line_s_end),
        cmocka_unit_test(versions_are_no_part_of_names),
        cmocka_unit_test(random_mappings_are_found_as_a_naive_search_finds_them),
    };
    return cmocka_run_group_tests(tests, fixture_start, fixture_end);
}
