/* census_fixture: censuses of a program that never ran, whose files are compiled for the test:
 *
 *   prog        main -> fill -> (inlined) take, at PROG, of lines.c as fixture_make has it
 *   mtrace.so   malloc, at HOOK: our own hook
 */
#ifndef CENSUS_FIXTURE_H
#define CENSUS_FIXTURE_H

#include "fixture.h"

#include "ctl/show/census.h"
#include "ctl/show/show.h"
#include "name/elf_file.h"
#include "name/symbols.h"

#define PROG 0x7f1000000000ull
#define HOOK 0x7f2000000000ull
#define MS   1000000ull
#define NOW  (100000 * MS)

enum { MOST_SITES = 16, MOST_FRAMES = 8 };

typedef struct {
    mt_census census;
    mt_census_site site[MOST_SITES];
    uint64_t stack[MOST_SITES][MOST_FRAMES];
    mt_census_object object[3];
    mt_elf_identity identity[3];
    uint64_t moved; /* what was added to the addresses of prog */
} fixture_census;

static inline uint64_t fixture_symbol(const char *file, const char *name) {
    mt_symbols symbols;
    uint64_t address = 0;
    assert_int_equal(mt_symbols_read(&symbols, fixture_path(file), NULL), 0);
    for (size_t i = 0; i < symbols.n; i++)
        if (strcmp(symbols.symbol[i].name, name) == 0) address = symbols.symbol[i].address;
    mt_symbols_free(&symbols);
    if (!address) fail_msg("no %s in %s", name, file);
    return address;
}

static inline void fixture_object(fixture_census *c, const char *name, uint64_t base) {
    static char path[8][256];
    static int which;
    mt_elf f;
    uint32_t i = c->census.objects++;
    char *own = path[which++ % 8];
    snprintf(own, sizeof path[0], "%s", fixture_path(name));
    assert_int_equal(mt_elf_open(&f, own), 0);
    c->identity[i] = f.identity;
    mt_elf_close(&f);
    c->object[i] = (mt_census_object){base,
                                      base + 0x100000,
                                      base,
                                      1,
                                      0,
                                      own,
                                      c->identity[i].build_id,
                                      c->identity[i].build_id_bytes};
}

/* A program whose functions are one, two and so on, a line each, without debug information but
 * for `flags`; and a hook. */
static inline void fixture_program(const char *name, const char *flags, const char *source) {
    fixture_make("printf '%%b' '%s' > $D/%s.c && cd $D && gcc -shared -fPIC -O1 -fno-inline "
                 "-Wl,--build-id=sha1 %s -o %s %s.c",
                 source, name, flags, name, name);
    fixture_make("printf 'void *malloc(unsigned long n) { return (void *)n; }' > $D/hook.c &&"
                 "cd $D && gcc -shared -fPIC -O1 -fno-builtin -Wl,--build-id=sha1 "
                 "-o mtrace.so hook.c");
}

static inline fixture_census *fixture_census_of(const char *program, uint64_t moved) {
    fixture_census *c = calloc(1, sizeof *c);
    c->moved = moved;
    c->census = (mt_census){.pid = 4711,
                            .command = "./prog --now",
                            .start_ns = 1,
                            .now_ns = NOW,
                            .wall_ns = 1700000000000000000ull,
                            .exact = true,
                            .ended = true,
                            .site = c->site,
                            .object = c->object,
                            .recorded = 7,
                            .slots = 4096,
                            .allocations = 100,
                            .frees = 93,
                            .vss = 134201000,
                            .rss = 40960,
                            .allocator_virtual = 2121000,
                            .allocator_resident = 414288};
    fixture_object(c, program, PROG + moved);
    fixture_object(c, "mtrace.so", HOOK);
    return c;
}

/* A site called from the beginnings of these functions (between spaces), innermost first. */
static inline mt_census_site *fixture_site(fixture_census *c, const char *program,
                                           const char *functions, uint64_t count,
                                           uint64_t bytes) {
    char names[256], *rest = names;
    uint32_t n = c->census.sites++, frames = 0;
    c->stack[n][frames++] = HOOK + fixture_symbol("mtrace.so", "malloc") + 2;
    snprintf(names, sizeof names, "%s", functions);
    for (char *name; (name = strsep(&rest, " "));)
        c->stack[n][frames++] = PROG + c->moved + fixture_symbol(program, name) + 1;
    c->site[n] = (mt_census_site){.stack = c->stack[n],
                                  .frames = frames,
                                  .count = count,
                                  .bytes = bytes,
                                  .peak_count = 2 * count,
                                  .peak_bytes = 2 * bytes,
                                  .allocated = 3 * count,
                                  .allocated_bytes = 3 * bytes,
                                  .oldest_ns = NOW - (n + 1) * MS,
                                  .youngest_ns = NOW - 1};
    c->census.count += count;
    c->census.bytes += bytes;
    return &c->site[n];
}

/* What is shown, to be freed. */
static inline char *fixture_shown(const mt_census *census, const mt_show *show,
                                  mt_shown expected) {
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);
    assert_int_equal(mt_show_census(census, show, out), expected);
    fclose(out);
    return text;
}

static inline char *fixture_read(const char *name) {
    char *text = calloc(1, 1 << 20);
    FILE *file = fopen(fixture_path(name), "r");
    assert_non_null(file);
    assert_true(fread(text, 1, (1 << 20) - 1, file) < (1 << 20) - 1);
    fclose(file);
    return text;
}

#endif
