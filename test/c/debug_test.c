/* Lines and inlined functions, from the debug information of several compilers. */
#include "fixture.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "name/debug.h"
#include "name/demangle.h"
#include "name/libdw.h"
#include "name/symbols.h"

#define CC "gcc -shared -fPIC -O2 -g -Wl,--build-id=sha1 "

static mt_arena strings;

static void assert_place(const mt_line *line, const char *file, int number) {
    char folder[256], expected[512];
    assert_non_null(getcwd(folder, sizeof folder));
    snprintf(expected, sizeof expected, "%s/fixtures/%s", folder, file);
    assert_non_null(line->file);
    assert_string_equal(line->file, expected);
    assert_int_equal(line->line, number);
}

static void assert_named(const mt_line *line, const char *name) {
    char plain[512];
    assert_true(line->inlined);
    assert_non_null(line->function);
    if (!mt_demangle(line->function, plain, sizeof plain))
        snprintf(plain, sizeof plain, "%s", line->function);
    assert_string_equal(plain, name);
}

/* The object's innermost call lies in two inlined functions and one that is not. */
static void assert_chain(const char *object, const char *search, const char *file,
                         const char *innermost, const char *middle) {
    int lines[4] = {0};
    mt_line line[8];
    uint64_t address = fixture_address(object, lines);
    mt_debug *d = mt_debug_open(fixture_path(object), NULL, search);
    assert_non_null(d);
    assert_int_equal(mt_debug_lines(d, address, line, 8, &strings), 3);
    mt_debug_close(d); /* the strings are ours */
    assert_named(&line[0], innermost);
    assert_named(&line[1], middle);
    assert_null(line[2].function);
    assert_false(line[2].inlined);
    for (int i = 0; i < 3; i++) assert_place(&line[i], file, lines[i]);
}

static void every_form_of_dwarf_gives_the_same_lines(void **state) {
    (void)state;
    static const char *const flags[] = {"-gdwarf-2",
                                        "-gdwarf-3",
                                        "-gdwarf-4",
                                        "-gdwarf-5",
                                        "-gz=zlib",
                                        "-gno-column-info",
                                        "-fdebug-types-section",
                                        "-gdwarf-4 -gz=zlib-gnu",
                                        "-ffunction-sections",
                                        "-flto",
                                        "-DNESTED"};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        fixture_make(CC "%s -o $D/form%zu.so $PWD/$F/lines.c", flags[i], i);
        char name[32];
        snprintf(name, sizeof name, "form%zu.so", i);
        assert_chain(name, NULL, "lines.c", "innermost", "middle");
    }
}

static void a_relative_source_is_made_absolute(void **state) {
    (void)state;
    fixture_make(CC "-o $D/relative.so $F/lines.c");
    assert_chain("relative.so", NULL, "lines.c", "innermost", "middle");
    fixture_make(CC "-gdwarf-4 -o $D/relative4.so $F/lines.c");
    assert_chain("relative4.so", NULL, "lines.c", "innermost", "middle");
}

/* clang writes no .debug_aranges. */
static void clang_is_understood(void **state) {
    (void)state;
    fixture_needs("clang");
    fixture_make("clang -shared -fPIC -O2 -g -o $D/clang5.so $F/lines.c");
    assert_chain("clang5.so", NULL, "lines.c", "innermost", "middle");
    fixture_make("clang -shared -fPIC -O2 -gdwarf-4 -o $D/clang4.so $F/lines.c");
    assert_chain("clang4.so", NULL, "lines.c", "innermost", "middle");
    fixture_make("clang -shared -fPIC -O2 -gline-tables-only -o $D/clangm.so $F/lines.c");
    assert_chain("clangm.so", NULL, "lines.c", "innermost", "middle");
}

static void inlined_templates_have_their_full_names(void **state) {
    (void)state;
    const char *const put = "shop::shelf<long, 3>::put(int*)",
                      *const fill = "void* shop::fill<long>(int*)";
    fixture_needs("c++");
    fixture_make("c++ -shared -fPIC -O2 -g -o $D/cc.so $F/lines.cc");
    assert_chain("cc.so", NULL, "lines.cc", put, fill);
    fixture_needs("clang++");
    fixture_make("clang++ -shared -fPIC -O2 -g -o $D/clangcc.so $F/lines.cc");
    assert_chain("clangcc.so", NULL, "lines.cc", put, fill);
}

static void rust_is_understood(void **state) {
    (void)state;
    fixture_needs("rustc");
    if (fixture_sh(
            "rustc --crate-type=cdylib -C opt-level=2 -g --crate-name lines -o $D/rust.so "
            "$F/lines.rs") != 0) {
        printf("   rustc does not work here: not tested\n");
        skip();
    }
    assert_chain("rust.so", NULL, "lines.rs", "lines::innermost", "lines::middle");
}

static void the_debug_file_of_a_stripped_object_serves_it(void **state) {
    (void)state;
    fixture_make(CC "-o $D/whole.so $F/lines.c\n"
                    "objcopy --only-keep-debug $D/whole.so $D/whole.debug\n"
                    "strip -o $D/by_id.so $D/whole.so\n"
                    "id=$(readelf -n $D/whole.so | sed -n 's/.*Build ID: //p')\n"
                    "rest=${id#??}\n"
                    "mkdir -p $D/root/.build-id/${id%%$rest}\n"
                    "mv $D/whole.debug $D/root/.build-id/${id%%$rest}/$rest.debug");
    assert_chain("by_id.so", fixture_path("root"), "lines.c", "innermost", "middle");
    assert_null(mt_debug_open(fixture_path("by_id.so"), NULL, NULL));
    fixture_make(
        CC "-Wl,--build-id=none -o $D/plain.so $F/lines.c\n"
           "objcopy --only-keep-debug --compress-debug-sections $D/plain.so $D/linked.debug\n"
           "cd $D && objcopy --strip-all --add-gnu-debuglink=linked.debug plain.so linked.so");
    assert_chain("linked.so", NULL, "lines.c", "innermost", "middle");
}

/* What dwz moved into a file of several. */
static void a_shared_debug_file_is_followed(void **state) {
    (void)state;
    int lines[4] = {0};
    mt_line line[8];
    fixture_needs("dwz");
    for (int version = 4; version <= 5; version++) {
        fixture_make(CC "-gdwarf-%d -o $D/a.so $F/lines.c && " CC
                        "-gdwarf-%d -DOTHER -o $D/b.so $F/lines.c\n"
                        "cd $D && dwz -m common.debug -M $D/common.debug a.so b.so &&"
                        "readelf -S a.so | grep gnu_debugaltlink",
                     version, version);
        assert_chain("a.so", NULL, "lines.c", "innermost", "middle");
        uint64_t address = fixture_address("a.so", lines);
        fixture_make("mv $D/common.debug $D/elsewhere");
        mt_debug *d = mt_debug_open(fixture_path("a.so"), NULL, NULL);
        if (d) mt_debug_lines(d, address, line, 8, &strings);
        mt_debug_close(d);
    }
}

static void fewer_lines_than_there_are_begin_inside(void **state) {
    (void)state;
    int lines[4] = {0};
    mt_line line[8], few[2];
    fixture_make(CC "-o $D/few.so $F/lines.c");
    uint64_t address = fixture_address("few.so", lines);
    mt_debug *d = mt_debug_open(fixture_path("few.so"), NULL, NULL);
    assert_int_equal(mt_debug_lines(d, address, line, 8, &strings), 3);
    assert_int_equal(mt_debug_lines(d, address, few, 2, &strings), 2);
    assert_string_equal(few[0].function, "innermost");
    assert_string_equal(few[1].function, "middle");
    assert_int_equal(mt_debug_lines(d, address, few, 0, &strings), 0);
    assert_int_equal(mt_debug_lines(d, 0, line, 8, &strings), 0);
    assert_int_equal(mt_debug_lines(d, UINT64_MAX, line, 8, &strings), 0);
    mt_debug_close(d);
}

static void without_debug_information_there_is_none(void **state) {
    (void)state;
    fixture_make("gcc -shared -fPIC -O2 -o $D/none.so $F/lines.c");
    assert_null(mt_debug_open(fixture_path("none.so"), NULL, NULL));
    assert_null(mt_debug_open(fixture_path("absent.so"), NULL, NULL));
    assert_null(mt_debug_open("", NULL, NULL));
    assert_null(mt_debug_open("/dev/zero", NULL, NULL));
    mt_debug_close(NULL);
}

/* A library that was replaced on disk while the old one is mapped. */
static void another_build_is_refused(void **state) {
    (void)state;
    mt_elf old;
    fixture_make(CC "-o $D/old.so $F/lines.c && " CC "-O1 -o $D/new.so $F/lines.c");
    assert_int_equal(mt_elf_open(&old, fixture_path("old.so")), 0);
    mt_debug *d = mt_debug_open(fixture_path("old.so"), &old.identity, NULL);
    assert_non_null(d);
    mt_debug_close(d);
    assert_null(mt_debug_open(fixture_path("new.so"), &old.identity, NULL));
    mt_elf_close(&old);
}

static void what_becomes_of_the_file_does_not_matter(void **state) {
    (void)state;
    int lines[4] = {0};
    mt_line line[8];
    fixture_make(CC "-o $D/gone.so $F/lines.c");
    uint64_t address = fixture_address("gone.so", lines);
    mt_debug *d = mt_debug_open(fixture_path("gone.so"), NULL, NULL);
    assert_int_equal(truncate(fixture_path("gone.so"), 100), 0);
    assert_int_equal(mt_debug_lines(d, address, line, 8, &strings), 3);
    assert_named(&line[0], "innermost");
    assert_place(&line[2], "lines.c", lines[2]);
    mt_debug_close(d);
}

/* libdw's own allocations go to the pool, and all of it comes back. */
static void nothing_is_left_of_it(void **state) {
    (void)state;
    int lines[4] = {0};
    mt_line line[8];
    fixture_make(CC "-o $D/leak.so $F/lines.c");
    uint64_t address = fixture_address("leak.so", lines);
    size_t before = 0;
    for (int i = 0; i < 20; i++) {
        if (i == 1) before = mallinfo2().uordblks; /* after what stays: the loader's */
        mt_debug *d = mt_debug_open(fixture_path("leak.so"), NULL, NULL);
        assert_int_equal(mt_debug_lines(d, address, line, 8, &strings), 3);
        if (i > 0) assert_true(mallinfo2().uordblks <= before + 4096);
        mt_debug_close(d);
    }
    assert_int_equal(mallinfo2().uordblks, before);
}

static bool is_mapped(const char *name) {
    char command[128];
    snprintf(command, sizeof command, "grep -q %s /proc/%d/maps", name, (int)getpid());
    return system(command) == 0;
}

static bool has_socket(void) {
    char command[128];
    snprintf(command, sizeof command, "ls -l /proc/%d/fd | grep -q socket", (int)getpid());
    return system(command) == 0;
}

/* libdwfl would ask a server: debuginfod. elfutils 0.183 loads its client together with
 * libdw, where that is installed, but calls it no more than 0.188 does. */
static bool has_client, had_socket;

static void the_network_is_never_asked(void **state) {
    (void)state;
    fixture_make(CC "-o $D/ask.so $F/lines.c && strip $D/ask.so");
    assert_null(mt_debug_open(fixture_path("ask.so"), NULL, NULL));
    assert_true(is_mapped("libdw"));
    assert_int_equal(is_mapped("libdebuginfod"), has_client);
    if (!has_client) assert_false(is_mapped("libcurl"));
    assert_int_equal(has_socket(), had_socket);
}

static void run_out(void *context) {
    (void)context;
    mt_libdw_out_of_memory();
}

static void where_libdw_gives_up_naming_goes_on(void **state) {
    (void)state;
    mt_pool pool;
    assert_true(mt_debug_available(NULL));
    assert_int_equal(mt_pool_open(&pool, 16 << 20), 0);
    assert_int_equal(mt_libdw_run(&pool, run_out, NULL), MT_LIBDW_OUT_OF_MEMORY);
    mt_pool_close(&pool);
    void *p = realloc(malloc(10), 100000); /* the program's own again */
    assert_non_null(p);
    free(p);
}

#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
static void limit_memory(rlim_t more) {
    unsigned long pages;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%lu", &pages) != 1) _exit(2);
    fclose(f);
    rlim_t most = pages * (rlim_t)sysconf(_SC_PAGESIZE) + more;
    setrlimit(RLIMIT_AS, &(struct rlimit){most, most});
}

/* Many lines, in a process that may not have the memory for them: libdw itself would end it
 * with "Cannot allocate memory" for some. */
static int ask_for_too_much(uint64_t address, bool fits) {
    size_t before = 0;
    limit_memory((rlim_t)480 << 20); /* of which the pool takes a sixteenth */
    for (int i = 0; i < 20; i++) {
        mt_line line[4];
        if (i == 1) before = mallinfo2().uordblks;
        mt_debug *d = mt_debug_open(fixture_path("many.so"), NULL, NULL);
        if (!d) return 3;
        uint32_t n = mt_debug_lines(d, address, line, 4, &strings);
        if (n > 1 || (n == 1 && !fits)) return 4;
        if (mt_debug_lines(d, address, line, 4, &strings) != n) return 5;
        mt_debug_close(d);
    }
    return mallinfo2().uordblks == before ? 0 : 6;
}

static void too_many_lines_are_unknown_and_given_back(void **state) {
    (void)state;
    static const int pairs[] = {50000, 60000, 65000, 70000, 80000, 90000, 110000, 400000};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        mt_symbols symbols;
        mt_line line[4];
        fixture_make(CC "-DPAIRS=%d -o $D/many.so $F/many.c", pairs[i]);
        mt_symbols_read(&symbols, fixture_path("many.so"), NULL);
        uint64_t address = 0;
        for (size_t k = 0; k < symbols.n; k++)
            if (strcmp(symbols.symbol[k].name, "many") == 0)
                address = symbols.symbol[k].address;
        mt_symbols_free(&symbols);
        assert_int_not_equal(address, 0);
        mt_debug *d = mt_debug_open(fixture_path("many.so"), NULL, NULL);
        assert_int_equal(mt_debug_lines(d, address + 1000, line, 4, &strings), 1);
        assert_true(line[0].line == 7 || line[0].line == 9);
        mt_debug_close(d);
        pid_t child = fork();
        if (child == 0) _exit(ask_for_too_much(address + 1000, pairs[i] < 400000));
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
}
#else
static void too_many_lines_are_unknown_and_given_back(void **state) {
    (void)state; /* a sanitizer's own memory is beyond any limit */
    skip();
}
#endif

/* libdw in the hands of the program: what it hands out is the program's to free. */
static void *use_libdw(void *path) {
    const mt_libdw *lib = mt_libdw_get(NULL);
    for (int i = 0; i < 20; i++) {
        int fd = open(path, O_RDONLY);
        Elf *elf = lib->elf_begin(fd, ELF_C_READ, NULL);
        Dwarf *dwarf = lib->dwarf_begin_elf(elf, DWARF_C_READ, NULL);
        Dwarf_Off next;
        size_t head;
        Dwarf_Die unit, *scopes;
        Dwarf_Addr base, lo, hi;
        assert_int_equal(lib->dwarf_nextcu(dwarf, 0, &next, &head, NULL, NULL, NULL), 0);
        assert_non_null(lib->dwarf_offdie(dwarf, head, &unit));
        if (lib->dwarf_ranges(&unit, 0, &base, &lo, &hi) > 0) {
            int (*getscopes)(Dwarf_Die *, Dwarf_Addr, Dwarf_Die **) =
                (int (*)(Dwarf_Die *, Dwarf_Addr, Dwarf_Die **))dlsym(
                    dlopen("libdw.so.1", RTLD_NOW | RTLD_NOLOAD), "dwarf_getscopes");
            if (getscopes(&unit, lo, &scopes) > 0) free(scopes);
        }
        lib->dwarf_end(dwarf);
        lib->elf_end(elf);
        close(fd);
    }
    return NULL;
}

static void *use_debug(void *path) {
    mt_arena arena = {0};
    for (int i = 0; i < 20; i++) {
        mt_line line[8];
        mt_debug *d = mt_debug_open(path, NULL, NULL);
        for (uint64_t address = 0x1000; address < 0x1400; address += 16)
            mt_debug_lines(d, address, line, 8, &arena);
        mt_debug_close(d);
    }
    mt_arena_empty(&arena);
    return NULL;
}

static void threads_and_the_program_do_not_meet_in_libdw(void **state) {
    (void)state;
    pthread_t thread[4];
    fixture_make(CC "-o $D/threads.so $F/lines.c");
    char *path = strdup(fixture_path("threads.so"));
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, i % 2 ? use_libdw : use_debug, path),
                         0);
    for (int i = 0; i < 4; i++) pthread_join(thread[i], NULL);
    free(path);
}

typedef struct {
    char *bytes;
    size_t n;
} file;

static file read_file(const char *path) {
    struct stat st;
    int fd = open(path, O_RDONLY);
    assert_int_equal(fstat(fd, &st), 0);
    file f = {malloc((size_t)st.st_size), (size_t)st.st_size};
    assert_int_equal(read(fd, f.bytes, f.n), f.n);
    close(fd);
    return f;
}

static void write_file(const char *path, const void *bytes, size_t n) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, bytes, n), n);
    close(fd);
}

/* Asks all over the code of the damaged file. */
static bool ask_around(const char *path, const ElfW(Shdr) * text, uint64_t *seed) {
    mt_arena arena = {0};
    mt_debug *d = mt_debug_open(path, NULL, NULL);
    for (int i = 0; d && i < 20; i++) {
        mt_line line[70];
        uint64_t address = text->sh_addr + unit_random(seed) % text->sh_size;
        uint32_t n = mt_debug_lines(d, address, line, 70, &arena);
        for (uint32_t k = 0; k < n; k++) {
            assert_true(!line[k].file || strlen(line[k].file) < 10000);
            assert_true(!line[k].function || strlen(line[k].function) < 20000);
        }
    }
    mt_debug_close(d);
    mt_arena_empty(&arena);
    return d != NULL;
}

/* Flips bytes in one debug section, or in any; the build id stays. */
static void damage(file *copy, const mt_elf *f, uint64_t *seed) {
    int flips = 1 + (int)(unit_random(seed) % 12);
    for (int tries = 0; flips > 0 && tries < 10000; tries++) {
        const ElfW(Shdr) *s = &f->section[unit_random(seed) % f->sections];
        if (strncmp(f->names + s->sh_name, ".debug_", 7) != 0 || s->sh_size == 0) continue;
        uint64_t value = unit_random(seed);
        size_t at = s->sh_offset + unit_random(seed) % s->sh_size;
        if (unit_random(seed) % 4 == 0) at = s->sh_offset + unit_random(seed) % 64 % s->sh_size;
        copy->bytes[at] = (char)(value % 3 ? value >> 8 : value % 2 ? 0xff : 0);
        flips--;
    }
}

/* How many of the damaged files could be opened. */
static int fuzz(const char *name, int rounds, uint64_t seed) {
    mt_elf f;
    file whole = read_file(fixture_path(name)), copy = {malloc(whole.n), whole.n};
    assert_int_equal(mt_elf_open(&f, fixture_path(name)), 0);
    const ElfW(Shdr) *text = mt_elf_section(&f, ".text");
    int opened = 0;
    char path[300];
    snprintf(path, sizeof path, "%s.damaged", fixture_path(name));
    for (int i = 0; i < rounds; i++) {
        memcpy(copy.bytes, whole.bytes, whole.n);
        damage(&copy, &f, &seed);
        write_file(path, copy.bytes, i % 16 ? whole.n : unit_random(&seed) % whole.n);
        opened += ask_around(path, text, &seed);
    }
    mt_elf_close(&f);
    free(whole.bytes);
    free(copy.bytes);
    return opened;
}

/* In a child, so that a crash names its seed and a loop ends. */
static void fuzz_in_child(const char *name, int rounds, int least, uint64_t seed) {
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CPU, &(struct rlimit){300, 300});
        _exit(fuzz(name, rounds, seed) < least);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status) fail_msg("%s: status %x; SEED=%llu", name, status, (unsigned long long)seed);
}

/* Compressed sections have a checksum: few damaged ones get any further. */
static void damaged_debug_information_never_crashes(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    const char *rounds = getenv("ROUNDS");
    int n = rounds ? atoi(rounds) : 1000;
    fixture_make(CC "-gdwarf-4 -o $D/fuzz4.so $F/lines.c");
    fixture_make(CC "-gdwarf-5 -o $D/fuzz5.so $F/lines.c");
    fixture_make(CC "-gz=zlib -o $D/fuzzz.so $F/lines.c");
    fixture_make("g++ -shared -fPIC -O2 -g -o $D/fuzzcc.so $F/lines.cc");
    fuzz_in_child("fuzz4.so", n, n / 4, seed);
    fuzz_in_child("fuzz5.so", n, n / 4, seed);
    fuzz_in_child("fuzzz.so", n, 0, seed);
    fuzz_in_child("fuzzcc.so", n, n / 4, seed);
}

static int tidy(void **state) {
    mt_arena_empty(&strings);
    return fixture_end(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_of_dwarf_gives_the_same_lines),
        cmocka_unit_test(a_relative_source_is_made_absolute),
        cmocka_unit_test(clang_is_understood),
        cmocka_unit_test(inlined_templates_have_their_full_names),
        cmocka_unit_test(rust_is_understood),
        cmocka_unit_test(the_debug_file_of_a_stripped_object_serves_it),
        cmocka_unit_test(a_shared_debug_file_is_followed),
        cmocka_unit_test(fewer_lines_than_there_are_begin_inside),
        cmocka_unit_test(without_debug_information_there_is_none),
        cmocka_unit_test(another_build_is_refused),
        cmocka_unit_test(what_becomes_of_the_file_does_not_matter),
        cmocka_unit_test(nothing_is_left_of_it),
        cmocka_unit_test(the_network_is_never_asked),
        cmocka_unit_test(where_libdw_gives_up_naming_goes_on),
        cmocka_unit_test(too_many_lines_are_unknown_and_given_back),
        cmocka_unit_test(threads_and_the_program_do_not_meet_in_libdw),
        cmocka_unit_test(damaged_debug_information_never_crashes),
    };
    const char *why_not;
    setenv("DEBUGINFOD_URLS", "http://127.0.0.1:9", 1);
    had_socket = has_socket();
    if (!mt_debug_available(&why_not)) {
        printf("   %s: not tested\n", why_not);
        return 0;
    }
    has_client = is_mapped("libdebuginfod");
    if (has_client) printf("   this libdw loads libdebuginfod with itself\n");
    return cmocka_run_group_tests_name("debug", tests, fixture_start, tidy);
}
