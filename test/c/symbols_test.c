/* Symbol tables of ELF files, among them ones that lie. */
#include "unit.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "name/symbols.h"

static __attribute__((noinline, used)) int a_static_function(int x) {
    return x * 3 + 1;
}

static char *self;
static size_t self_bytes;
static char path[64];

static int read_self(void **state) {
    (void)state;
    int fd = open("/proc/self/exe", O_RDONLY);
    struct stat st;
    fstat(fd, &st);
    self_bytes = (size_t)st.st_size;
    self = malloc(self_bytes);
    for (size_t n = 0; n < self_bytes;) n += (size_t)read(fd, self + n, self_bytes - n);
    close(fd);
    snprintf(path, sizeof path, "/tmp/mtrace-symbols-%d", (int)getpid());
    return 0;
}

static int remove_file(void **state) {
    (void)state;
    unlink(path);
    free(self);
    return 0;
}

static void write_file(const void *bytes, size_t n) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, bytes, n), n);
    close(fd);
}

/* Where the symbols say that a function is, and that it is there to its last byte only. */
static void static_functions_have_their_names(void **state) {
    (void)state;
    mt_symbols symbols;
    assert_int_equal(mt_symbols_read(&symbols, "/proc/self/exe", NULL), 0);
    const mt_symbol *found = NULL;
    for (size_t i = 0; i < symbols.n; i++)
        if (strcmp(symbols.symbol[i].name, "a_static_function") == 0)
            found = &symbols.symbol[i];
    assert_non_null(found);
    assert_true(found->size > 0);
    assert_string_equal(mt_symbols_find(&symbols, found->address), "a_static_function");
    assert_string_equal(mt_symbols_find(&symbols, found->address + found->size - 1),
                        "a_static_function");
    const char *behind = mt_symbols_find(&symbols, found->address + found->size);
    assert_true(!behind || strcmp(behind, "a_static_function") != 0);
    assert_null(mt_symbols_find(&symbols, 0));
    mt_symbols_free(&symbols);
}

static void plain_names_come_before_internal_ones(void **state) {
    (void)state;
    mt_symbol entry[] = {{0x100, 0x20, "strdup", 1}, {0x100, 0x20, "__strdup", 4}};
    mt_symbols symbols = {.symbol = entry, .n = 2};
    assert_string_equal(mt_symbols_find(&symbols, 0x110), "strdup");
}

static void a_gap_between_functions_has_no_name(void **state) {
    (void)state;
    mt_symbol entry[] = {{0x100, 0x20, "first", 0}, {0x200, 0x20, "second", 0}};
    mt_symbols symbols = {.symbol = entry, .n = 2};
    assert_null(mt_symbols_find(&symbols, 0xff));
    assert_null(mt_symbols_find(&symbols, 0x120));
    assert_null(mt_symbols_find(&symbols, 0x1ff));
    assert_null(mt_symbols_find(&symbols, 0x220));
    assert_string_equal(mt_symbols_find(&symbols, 0x21f), "second");
}

static void a_function_inside_another_is_the_nearer_one(void **state) {
    (void)state;
    mt_symbol entry[] = {{0x100, 0x100, "outer", 0}, {0x140, 0x10, "inner", 0}};
    mt_symbols symbols = {.symbol = entry, .n = 2};
    assert_string_equal(mt_symbols_find(&symbols, 0x148), "inner");
    assert_string_equal(mt_symbols_find(&symbols, 0x150), "outer");
}

static void the_file_must_be_the_one_that_is_expected(void **state) {
    (void)state;
    mt_symbols symbols;
    mt_elf_identity other = {.headers = 1, .build_id_bytes = 0};
    assert_int_equal(mt_symbols_read(&symbols, "/proc/self/exe", &other), -1);
    assert_int_equal(symbols.n, 0);
    other.build_id_bytes = 20;
    assert_int_equal(mt_symbols_read(&symbols, "/proc/self/exe", &other), -1);
}

static void what_is_no_regular_file_is_left_alone(void **state) {
    (void)state;
    mt_symbols symbols;
    mkfifo(path, 0600);
    assert_int_equal(mt_symbols_read(&symbols, path, NULL), -1); /* and does not wait */
    unlink(path);
    assert_int_equal(mt_symbols_read(&symbols, path, NULL), -1);
    assert_int_equal(mt_symbols_read(&symbols, "/dev/zero", NULL), -1);
    assert_int_equal(mt_symbols_read(&symbols, "/", NULL), -1);
    assert_int_equal(mt_symbols_read(&symbols, "", NULL), -1);
}

static void ask_around(mt_symbols *symbols, uint64_t *seed) {
    for (int i = 0; i < 50; i++) {
        const char *name = mt_symbols_find(symbols, unit_random(seed) % (1 << 22));
        if (name) assert_true(strlen(name) < self_bytes);
    }
}

static void truncated_files_give_fewer_names_or_none(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    for (int i = 0; i < 200; i++) {
        mt_symbols symbols;
        write_file(self, i < 100 ? (size_t)i * 7 : unit_random(&seed) % self_bytes);
        mt_symbols_read(&symbols, path, NULL);
        ask_around(&symbols, &seed);
        mt_symbols_free(&symbols);
    }
}

/* Bytes of the headers, of the section table and of the symbols are set at random. */
static void damaged_files_never_crash(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    char *copy = malloc(self_bytes);
    ElfW(Ehdr) head;
    memcpy(&head, self, sizeof head);
    for (int i = 0; i < 400; i++) {
        memcpy(copy, self, self_bytes);
        size_t region[3][2] = {
            {16, 200}, {head.e_shoff, self_bytes - head.e_shoff}, {0, self_bytes}};
        size_t *r = region[i % 3];
        for (int n = 1 + (int)(unit_random(&seed) % 20); n > 0; n--) {
            uint64_t value = unit_random(&seed);
            copy[r[0] + unit_random(&seed) % r[1]] = (char)(value % 3 ? value : 0xff);
        }
        mt_symbols symbols;
        write_file(copy, self_bytes);
        mt_symbols_read(&symbols, path, NULL);
        ask_around(&symbols, &seed);
        mt_symbols_free(&symbols);
    }
    free(copy);
}

static void notes_that_lie_about_their_length_are_refused(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    for (int i = 0; i < 20000; i++) {
        uint32_t notes[16];
        mt_elf_identity id = {0};
        for (int k = 0; k < 16; k++) notes[k] = (uint32_t)unit_random(&seed) >> (k % 3 * 14);
        id.build_id_bytes =
            mt_build_id_find(notes, unit_random(&seed) % (sizeof notes + 1), id.build_id);
        assert_true(id.build_id_bytes <= MT_BUILD_ID_MAX);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(static_functions_have_their_names),
        cmocka_unit_test(plain_names_come_before_internal_ones),
        cmocka_unit_test(a_gap_between_functions_has_no_name),
        cmocka_unit_test(a_function_inside_another_is_the_nearer_one),
        cmocka_unit_test(the_file_must_be_the_one_that_is_expected),
        cmocka_unit_test(what_is_no_regular_file_is_left_alone),
        cmocka_unit_test(truncated_files_give_fewer_names_or_none),
        cmocka_unit_test(damaged_files_never_crash),
        cmocka_unit_test(notes_that_lie_about_their_length_are_refused),
    };
    return cmocka_run_group_tests_name("symbols", tests, read_self, remove_file);
}
