/* Profiles, read by pprof itself where go is installed, and unpacked by gzip. */
#include "census_fixture.h"

#define SOURCE                                                                                 \
    "int one(int x) { return x + 1; }\\nint two(int x) { return 2 * one(x) + 5; }\\n"          \
    "int three(int x) { return 3 * two(x) + 7; }\\n"

static int start(void **state) {
    if (fixture_start(state) != 0) return -1;
    fixture_program("prog", "-g", SOURCE);
    return 0;
}

static void write_profile(const mt_census *census) {
    mt_show show = MT_SHOW_DEFAULT;
    show.pprof_path = fixture_path("profile");
    free(fixture_shown(census, &show, census->sites ? MT_SHOWN_LEFT : MT_SHOWN_NOTHING));
}

static char *pprof(const char *arguments) {
    if (fixture_sh("cd $D && HOME=$D PPROF_TMPDIR=$D go tool pprof %s profile > got",
                   arguments) != 0)
        fail_msg("go tool pprof %s", arguments);
    return NULL;
}

static void assert_line(const char *a, const char *b) {
    if (fixture_sh("grep -E '%s' $D/got | grep -F '%s'", a, b) != 0) {
        char *got = fixture_read("got");
        fail_msg("no %s with %s in\n%s", a, b, got);
    }
}

static void pprof_reads_every_figure(void **state) {
    (void)state;
    fixture_needs("go");
    fixture_census *c = fixture_census_of("prog", 0);
    fixture_site(c, "prog", "one two three", 4, 1000);
    fixture_site(c, "prog", "three", 43, 500)->oldest_ns = 0;
    fixture_site(c, "prog", "one", 1, 7);
    c->stack[2][1] = 0x10;
    write_profile(&c->census);
    pprof("-top -sample_index=inuse_space");
    assert_line(" 1000B .* 1000B .* one$", "66.");
    assert_line(" 500B .* 1500B .* three$", "99.");
    assert_line("7B .*7B", "[unknown]");
    assert_line("Type: inuse_space", "");
    pprof("-top");
    assert_line("Type: inuse_space", "");
    pprof("-top -sample_index=inuse_objects");
    assert_line(" 43 .* 47 .* three$", "");
    pprof("-top -sample_index=alloc_objects");
    assert_line(" 129 .* 141 .* three$", "");
    pprof("-top -sample_index=alloc_space");
    assert_line("2.93kB .* one$", "");
    pprof("-traces");
    assert_line("age:", "100s");
    pprof("-list=two");
    assert_line("return 2 . one", "1000B");
    pprof("-raw");
    assert_line("/prog", "[FN]");
    assert_line("command|prog --now", "prog --now");
    fixture_make("id=$(readelf -n $D/prog | sed -n 's/.*Build ID: //p') && grep -F $id $D/got");
    free(c);
}

static void gzip_unpacks_it_whole(void **state) {
    (void)state;
    fixture_needs("gzip");
    fixture_census *c = fixture_census_of("prog", 0);
    write_profile(&c->census);
    fixture_make("gzip -dc < $D/profile | grep -a inuse_space");
    /* More than a block of 64 KiB. */
    static char command[3000];
    for (int i = 0; i < MOST_SITES; i++) fixture_site(c, "prog", "one two three", 1, 1);
    memset(command, 'c', sizeof command - 1);
    c->census.command = command;
    c->census.sites = 5000;
    c->census.site = calloc(5000, sizeof *c->census.site);
    for (int i = 0; i < 5000; i++) c->census.site[i] = c->site[i % MOST_SITES];
    write_profile(&c->census);
    fixture_make("gzip -t < $D/profile && test $(gzip -dc < $D/profile | wc -c) -gt 70000");
    free(c->census.site);
    free(c);
}

static void inlined_functions_are_lines_of_one_location(void **state) {
    (void)state;
    int lines[4];
    fixture_needs("go");
    fixture_make("gcc -shared -fPIC -O2 -g -Wl,--build-id -o $D/inl.so $PWD/$F/lines.c");
    uint64_t inside = fixture_address("inl.so", lines) + 1;
    fixture_census *c = fixture_census_of("inl.so", 0);
    fixture_site(c, "inl.so", "fixture", 1, 10);
    c->stack[0][1] = PROG + inside;
    write_profile(&c->census);
    pprof("-top");
    assert_line(" 10B .* 10B .* innermost .inline.$", "");
    assert_line(" 0 .* 10B .* middle .inline.$", "");
    assert_line(" 0 .* 10B .* a_static_function$", "");
    free(c);
}

static void hostile_names_make_a_profile_too(void **state) {
    (void)state;
    fixture_needs("go");
    fixture_census *c = fixture_census_of("prog", 0);
    fixture_site(c, "prog", "one", 1, 10);
    c->census.command = "\xff\xfe\033[31m";
    c->object[0].path = "/tmp/\xff\n.so";
    write_profile(&c->census);
    pprof("-top");
    assert_line(" 10B .* 10B", "xff");
    free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pprof_reads_every_figure),
        cmocka_unit_test(gzip_unpacks_it_whole),
        cmocka_unit_test(inlined_functions_are_lines_of_one_location),
        cmocka_unit_test(hostile_names_make_a_profile_too),
    };
    return cmocka_run_group_tests(tests, start, fixture_end);
}
