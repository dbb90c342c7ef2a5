/* Censuses in files: what comes back is what was saved, or nothing. */
#include "census_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "ctl/show/saved.h"
#include "ctl/show/view.h"
#include "record/log_format.h"

#define SOURCE                                                                                 \
    "int one(int x) { return x + 1; }\\nint two(int x) { return 2 * one(x) + 5; }\\n"          \
    "int three(int x) { return 3 * two(x) + 7; }\\n"

static char *bytes;
static size_t n;

static void save(const mt_census *census, const char *name) {
    mt_show show = MT_SHOW_DEFAULT;
    show.save_path = fixture_path(name);
    free(fixture_shown(census, &show, census->sites ? MT_SHOWN_LEFT : MT_SHOWN_NOTHING));
}

static fixture_census *example(void) {
    fixture_census *c = fixture_census_of("prog", 0);
    fixture_site(c, "prog", "one two", 4, 100);
    fixture_site(c, "prog", "three", 43, 22704)->bytes_variance = 12.5;
    c->census.exact = false;
    return c;
}

static int start(void **state) {
    if (fixture_start(state) != 0) return -1;
    fixture_program("prog", "-g", SOURCE);
    fixture_census *c = example();
    save(&c->census, "example");
    free(c);
    struct stat st;
    FILE *file = fopen(fixture_path("example"), "r");
    if (!file || fstat(fileno(file), &st) != 0) return -1;
    n = (size_t)st.st_size;
    bytes = malloc(n);
    n = fread(bytes, 1, n, file);
    fclose(file);
    return 0;
}

static int end(void **state) {
    free(bytes);
    return fixture_end(state);
}

static const char *write_bytes(const void *data, size_t length) {
    FILE *file = fopen(fixture_path("other"), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, length, file), length);
    fclose(file);
    return fixture_path("other");
}

static void what_was_saved_comes_back(void **state) {
    (void)state;
    fixture_census *c = example();
    mt_saved *saved = mt_saved_read(fixture_path("example"));
    assert_non_null(saved);
    mt_census was = c->census, is = saved->census;
    assert_string_equal(is.command, was.command);
    assert_int_equal(is.sites, was.sites);
    assert_int_equal(is.objects, was.objects);
    for (uint32_t i = 0; i < is.sites; i++) {
        mt_census_site x = was.site[i], y = is.site[i];
        assert_memory_equal(x.stack, y.stack, x.frames * sizeof *x.stack);
        x.stack = y.stack = NULL;
        assert_memory_equal(&x, &y, sizeof x);
    }
    for (uint32_t i = 0; i < is.objects; i++) {
        mt_census_object x = was.object[i], y = is.object[i];
        assert_string_equal(x.path, y.path);
        assert_memory_equal(x.build_id, y.build_id, x.build_id_bytes);
        x.path = y.path = NULL;
        x.build_id = y.build_id = NULL;
        assert_memory_equal(&x, &y, sizeof x);
    }
    was.command = is.command = NULL;
    was.site = is.site = NULL;
    was.object = is.object = NULL;
    was.memory = is.memory = NULL;
    assert_memory_equal(&was, &is, sizeof was);
    mt_saved_free(saved);
    free(c);
}

static void it_is_shown_as_it_was_when_its_files_are_gone(void **state) {
    (void)state;
    fixture_census *c = example();
    mt_show show = MT_SHOW_DEFAULT;
    char *was = fixture_shown(&c->census, &show, MT_SHOWN_LEFT);
    assert_non_null(strstr(was, "prog.c:3"));
    fixture_make("mv $D/prog $D/away");
    int status = fixture_sh("../../priv/mtracectl show $D/example > $D/shown");
    fixture_make("mv $D/away $D/prog");
    if (status == 0) {
        char *is = fixture_read("shown");
        assert_string_equal(is + 0, was);
        free(is);
    } else printf("   mtracectl is not built: not tested\n");
    free(was);
    free(c);
}

static void only_the_user_may_read_it(void **state) {
    (void)state;
    struct stat st;
    assert_int_equal(stat(fixture_path("example"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_census_without_sites_is_one_too(void **state) {
    (void)state;
    fixture_census *c = fixture_census_of("prog", 0);
    save(&c->census, "empty");
    mt_saved *saved = mt_saved_read(fixture_path("empty"));
    assert_non_null(saved);
    assert_int_equal(saved->census.sites, 0);
    mt_saved_free(saved);
    free(c);
}

static void what_is_cut_off_is_refused(void **state) {
    (void)state;
    for (size_t length = 0; length < n; length += length < 400 ? 1 : 61)
        assert_null(mt_saved_read(write_bytes(bytes, length)));
    char *more = calloc(1, n + 8);
    memcpy(more, bytes, n);
    assert_null(mt_saved_read(write_bytes(more, n + 8)));
    free(more);
}

static void what_is_something_else_is_refused(void **state) {
    (void)state;
    static const char *const others[] = {
        "/dev/null", "/dev/zero", "/proc/self/exe", "/", "/etc/passwd", "/no/such/file", ""};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_null(mt_saved_read(others[i]));
    fixture_make("mkfifo $D/pipe"); /* nobody waits for a writer */
    assert_null(mt_saved_read(fixture_path("pipe")));
}

static void other_versions_and_byte_orders_are_refused(void **state) {
    (void)state;
    char *copy = malloc(n);
    memcpy(copy, bytes, n);
    copy[8] = MT_SAVED_VERSION + 1;
    assert_null(mt_saved_read(write_bytes(copy, n)));
    memcpy(copy, bytes, n);
    for (int i = 0; i < 8; i++) copy[i] = bytes[7 - i];
    assert_null(mt_saved_read(write_bytes(copy, n)));
    memcpy(copy, bytes, n);
    assert_non_null(copy);
    mt_saved *good = mt_saved_read(write_bytes(copy, n));
    assert_non_null(good);
    mt_saved_free(good);
    free(copy);
}

static void a_changed_bit_is_noticed(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    char *copy = malloc(n);
    for (int round = 0; round < 200; round++) {
        uint64_t at = round < 40 ? (uint64_t)round : unit_random(&seed) % n;
        memcpy(copy, bytes, n);
        copy[at] ^= (char)(1 << unit_random(&seed) % 8);
        assert_null(mt_saved_read(write_bytes(copy, n)));
    }
    free(copy);
}

/* As on a full disk. */
static void what_cannot_be_written_leaves_the_old_one(void **state) {
    (void)state;
    struct rlimit was, little = {100, 100};
    fixture_census *c = example();
    save(&c->census, "old");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    little.rlim_max = was.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
    mt_show show = MT_SHOW_DEFAULT;
    show.save_path = fixture_path("old");
    free(fixture_shown(&c->census, &show, MT_SHOWN_FAILED));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    mt_saved *saved = mt_saved_read(fixture_path("old"));
    assert_non_null(saved);
    mt_saved_free(saved);
    assert_int_not_equal(fixture_sh("ls $D/old.*"), 0); /* nothing lies about */
    free(c);
}

/* All of what a census says is looked at, so that a sanitizer sees what lies outside. */
static void look_at_all(const mt_saved *saved) {
    mt_show show = MT_SHOW_DEFAULT;
    mt_view view;
    size_t length;
    char *text = NULL;
    FILE *out = open_memstream(&text, &length);
    assert_int_equal(mt_view_open(&view, &saved->census, saved, &show), 0);
    for (uint32_t i = 0; i < view.sites; i++)
        for (uint32_t f = 0; f < view.site[i]->frames; f++) {
            const mt_names_place *p = mt_view_place(&view, view.site[i], f);
            for (uint32_t k = 0; k < p->frames; k++)
                fprintf(out, "%s %s %s", p->frame[k].function ? p->frame[k].function : "-",
                        p->frame[k].file ? p->frame[k].file : "-", p->object ? p->object : "-");
        }
    for (uint32_t i = 0; i < saved->census.objects; i++)
        fprintf(out, "%s %.*s", saved->census.object[i].path,
                (int)saved->census.object[i].build_id_bytes,
                (const char *)saved->census.object[i].build_id);
    mt_view_close(&view);
    fclose(out);
    free(text);
}

/* With a checksum that is right again, so that what it protects is reached. */
static void a_file_that_lies_is_refused_or_harmless(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    uint64_t *copy = malloc(n);
    mt_saved_header *header = (mt_saved_header *)copy;
    int read = 0;
    fflush(stderr);
    int err = dup(2), null = open("/dev/null", O_WRONLY);
    dup2(null, 2);
    for (int round = 0; round < 4000; round++) {
        memcpy(copy, bytes, n);
        for (uint64_t k = 0; k <= unit_random(&seed) % 3; k++) {
            uint64_t at = unit_random(&seed) % (n / 8);
            if (unit_random(&seed) % 2) at = 4 + at % 12; /* the figures above all */
            static const uint64_t odd[] = {0, 1, UINT32_MAX, UINT64_MAX, 1ull << 61, 255};
            if (unit_random(&seed) % 2) copy[at] = odd[unit_random(&seed) % 6];
            else copy[at] += unit_random(&seed) % 64 - 32;
        }
        if (round % 8) {
            header->magic = MT_SAVED_MAGIC;
            header->version = MT_SAVED_VERSION;
            header->bytes = n;
            header->header_bytes = sizeof *header + sizeof(mt_saved_figures);
            header->checksum = mt_log_checksum(header + 1, n - sizeof *header);
        }
        mt_saved *saved = mt_saved_read(write_bytes(copy, n));
        if (!saved) continue;
        read++;
        look_at_all(saved);
        mt_saved_free(saved);
    }
    dup2(err, 2);
    close(err);
    close(null);
    free(copy);
    assert_true(read > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_saved_comes_back),
        cmocka_unit_test(it_is_shown_as_it_was_when_its_files_are_gone),
        cmocka_unit_test(only_the_user_may_read_it),
        cmocka_unit_test(a_census_without_sites_is_one_too),
        cmocka_unit_test(what_is_cut_off_is_refused),
        cmocka_unit_test(what_is_something_else_is_refused),
        cmocka_unit_test(other_versions_and_byte_orders_are_refused),
        cmocka_unit_test(a_changed_bit_is_noticed),
        cmocka_unit_test(what_cannot_be_written_leaves_the_old_one),
        cmocka_unit_test(a_file_that_lies_is_refused_or_harmless),
    };
    return cmocka_run_group_tests(tests, start, end);
}
