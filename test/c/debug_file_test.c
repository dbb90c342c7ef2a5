/* Where the debug file of an object is looked for, and which ones are refused. */
#include "fixture.h"

#include <sys/stat.h>

#include "name/debug_file.h"
#include "name/memory.h"
#include "name/symbols.h"
#include "name/xz.h"

#if defined __has_include
#if __has_include(<lzma.h>)
#include <lzma.h>
/* name/xz.c declares these for itself. */
_Static_assert(LZMA_OK == 0 && LZMA_BUF_ERROR == 10, "liblzma's results");
_Static_assert(offsetof(lzma_allocator, alloc) == 0 &&
                   offsetof(lzma_allocator, free) == sizeof(void *) &&
                   offsetof(lzma_allocator, opaque) == 2 * sizeof(void *),
               "liblzma's allocator");
static __attribute__((unused))
lzma_ret (*decoder)(uint64_t *, uint32_t, const lzma_allocator *, const uint8_t *, size_t *,
                    size_t, uint8_t *, size_t *, size_t) = lzma_stream_buffer_decode;
#endif
#endif

/* whole.so, with and without a build id, and what a packager makes of them. */
static int make_objects(void **state) {
    if (fixture_start(state) != 0) return -1;
    return fixture_sh(
        "set -e\n"
        "gcc -shared -fPIC -O2 -g -Wl,--build-id=sha1 -o $D/whole.so $F/lines.c\n"
        "gcc -shared -fPIC -O1 -g -Wl,--build-id=sha1 -o $D/other.so $F/lines.c\n"
        "gcc -shared -fPIC -O2 -g -Wl,--build-id=none -o $D/nameless.so $F/lines.c\n"
        "for f in whole other nameless; do\n"
        "  objcopy --only-keep-debug $D/$f.so $D/$f.debug; strip -o $D/$f.stripped $D/$f.so\n"
        "done\n"
        "id=$(readelf -n $D/whole.so | sed -n 's/.*Build ID: //p')\n"
        "rest=${id#??}; echo ${id%%$rest} >$D/first; echo $rest >$D/rest");
}

#define BY_ID ".build-id/$(cat $D/first)/$(cat $D/rest).debug"

/* Is there a debug file for the object? */
static bool finds(const char *object, const char *search) {
    mt_elf f, found;
    assert_int_equal(mt_elf_open(&f, fixture_path(object)), 0);
    bool there = mt_debug_file_find(&found, &f, fixture_path(object), NULL, search) == 0;
    if (there) {
        assert_true(mt_elf_has(&found, SHT_SYMTAB));
        mt_elf_close(&found);
    }
    mt_elf_close(&f);
    return there;
}

static void a_build_id_leads_to_it(void **state) {
    (void)state;
    char search[600];
    fixture_make("mkdir -p $D/root/.build-id/$(cat $D/first)\n"
                 "cp $D/whole.debug $D/root/" BY_ID);
    assert_true(finds("whole.stripped", fixture_path("root")));
    snprintf(search, sizeof search, "::relative:/nowhere:%s:", fixture_path("root"));
    assert_true(finds("whole.stripped", search));
    assert_false(finds("whole.stripped", "relative:/nowhere"));
    assert_false(finds("whole.stripped", ""));
    assert_false(finds("whole.stripped", NULL));
    assert_false(finds("other.stripped", fixture_path("root")));
    assert_false(finds("nameless.stripped", fixture_path("root")));
}

static void an_object_that_is_gone_still_has_one(void **state) {
    (void)state;
    mt_elf f, found;
    assert_int_equal(mt_elf_open(&f, fixture_path("whole.so")), 0);
    mt_elf_identity identity = f.identity;
    mt_elf_close(&f);
    assert_int_equal(mt_debug_file_find(&found, NULL, "/gone", &identity, fixture_path("root")),
                     0);
    mt_elf_close(&found);
    identity.build_id_bytes = 0;
    assert_int_equal(mt_debug_file_find(&found, NULL, "/gone", &identity, fixture_path("root")),
                     -1);
}

static void another_build_under_its_name_is_refused(void **state) {
    (void)state;
    fixture_make("mkdir -p $D/liar/.build-id/$(cat $D/first)\n"
                 "cp $D/other.debug $D/liar/" BY_ID);
    assert_false(finds("whole.stripped", fixture_path("liar")));
    fixture_make("cp $D/nameless.debug $D/liar/" BY_ID);
    assert_false(finds("whole.stripped", fixture_path("liar")));
}

/* An object called $1 whose debuglink says $2.debug. */
static void link_to(const char *object, const char *stripped, const char *debug) {
    fixture_make(
        "mkdir -p $D/lib && cd $D && cp %s.debug linked.debug &&\n"
        "objcopy --add-gnu-debuglink=linked.debug %s.stripped lib/%s && rm linked.debug",
        debug, stripped, object);
}

static void a_name_leads_to_it_in_three_folders(void **state) {
    (void)state;
    char folder[300];
    link_to("n.so", "nameless", "nameless");
    assert_false(finds("lib/n.so", NULL));
    fixture_make("cp $D/nameless.debug $D/lib/linked.debug");
    assert_true(finds("lib/n.so", NULL));
    fixture_make("mkdir $D/lib/.debug && mv $D/lib/linked.debug $D/lib/.debug");
    assert_true(finds("lib/n.so", NULL));
    fixture_make("mkdir -p $D/tree$D/lib && mv $D/lib/.debug/* $D/tree$D/lib");
    assert_false(finds("lib/n.so", NULL));
    assert_true(finds("lib/n.so", fixture_path("tree")));
    /* through a link to the object, too */
    fixture_make("mkdir $D/alias && ln -s ../lib/n.so $D/alias/n.so");
    assert_true(finds("alias/n.so", fixture_path("tree")));
    snprintf(folder, sizeof folder, "/nowhere:%s", fixture_path("tree"));
    assert_true(finds("lib/n.so", folder));
}

static void a_name_with_the_wrong_content_is_refused(void **state) {
    (void)state;
    link_to("w.so", "nameless", "nameless");
    fixture_make("cp $D/nameless.debug $D/lib/linked.debug");
    assert_true(finds("lib/w.so", NULL));
    fixture_make("printf x | dd of=$D/lib/linked.debug bs=1 seek=3000 conv=notrunc");
    assert_false(finds("lib/w.so", NULL)); /* the CRC */
    link_to("b.so", "whole", "other");
    fixture_make("cp $D/other.debug $D/lib/linked.debug");
    assert_false(finds("lib/b.so", NULL)); /* the build id, though the CRC agrees */
    fixture_make("rm $D/lib/linked.debug && mkfifo $D/lib/linked.debug");
    assert_false(finds("lib/b.so", NULL)); /* and does not wait */
    fixture_make("rm $D/lib/linked.debug");
}

/* The CRC is right in all of them: of the target, whatever it is called. */
static void a_name_that_is_a_path_is_not_followed(void **state) {
    (void)state;
    static const char *const names[] = {
        "../up.debug", "/etc/passwd", "../../../../etc/passwd", "sub/up.debug", "", ".",
        "..",          "plain.debug"};
    link_to("p.so", "nameless", "nameless");
    fixture_make("mkdir -p $D/lib/sub && cp $D/nameless.debug $D/up.debug\n"
                 "cp $D/up.debug $D/lib/sub/ && cp $D/up.debug $D/lib/plain.debug\n"
                 "objcopy -O binary --only-section=.gnu_debuglink --set-section-flags "
                 ".gnu_debuglink=alloc $D/lib/p.so $D/link && tail -c 4 $D/link >$D/crc");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        bool is_last = i + 1 == sizeof names / sizeof *names;
        fixture_make("{ printf '%s'; head -c %d /dev/zero; cat $D/crc; } >$D/link &&"
                     "objcopy --update-section .gnu_debuglink=$D/link $D/lib/p.so",
                     names[i], 4 - (int)(strlen(names[i]) % 4));
        assert_int_equal(finds("lib/p.so", NULL), is_last);
    }
}

static void an_object_is_not_its_own_debug_file(void **state) {
    (void)state;
    mt_elf f, found;
    fixture_make("mkdir -p $D/self && cp $D/whole.so $D/self/me && cd $D/self &&"
                 "objcopy --add-gnu-debuglink=me me");
    assert_int_equal(mt_elf_open(&f, fixture_path("self/me")), 0);
    assert_int_equal(mt_debug_file_find(&found, &f, fixture_path("self/me"), NULL, NULL), -1);
    mt_elf_close(&f);
}

#define EMBED                                                                                  \
    "cp $D/whole.so $D/mini && strip --strip-debug $D/mini && xz -kf $D/mini &&"               \
    "objcopy --add-section .gnu_debugdata=$D/mini.xz $D/whole.stripped $D/embedding.so"

static void names_come_from_the_file_inside(void **state) {
    (void)state;
    fixture_needs("xz");
    mt_symbols symbols;
    mt_elf f, found;
    fixture_make(EMBED);
    assert_int_equal(mt_elf_open(&f, fixture_path("embedding.so")), 0);
    assert_false(mt_elf_has(&f, SHT_SYMTAB));
    assert_int_equal(mt_debug_file_embedded(&found, &f), 0);
    assert_true(mt_elf_has(&found, SHT_SYMTAB));
    assert_true(mt_elf_is(&found, &f.identity));
    mt_elf_close(&found);
    mt_elf_close(&f);
    int lines[4] = {0};
    uint64_t address = fixture_address("embedding.so", lines);
    mt_symbols_read(&symbols, fixture_path("embedding.so"), NULL);
    assert_null(mt_symbols_find(&symbols, address));
    mt_symbols_free(&symbols);
    mt_symbols_read_all(&symbols, fixture_path("embedding.so"), NULL, NULL);
    assert_string_equal(mt_symbols_find(&symbols, address), "a_static_function");
    mt_symbols_free(&symbols);
}

static void names_come_from_the_debug_file(void **state) {
    (void)state;
    int lines[4] = {0};
    mt_symbols symbols;
    mt_elf f;
    const char *root = fixture_path("root");
    uint64_t address = fixture_address("whole.stripped", lines);
    mt_symbols_read_all(&symbols, fixture_path("whole.stripped"), NULL, root);
    assert_string_equal(mt_symbols_find(&symbols, address), "a_static_function");
    mt_symbols_free(&symbols);
    /* the exported ones are still there, and the file may be another by now */
    mt_elf_open(&f, fixture_path("whole.so"));
    assert_int_equal(mt_symbols_read_all(&symbols, fixture_path("other.so"), &f.identity, root),
                     0);
    assert_string_equal(mt_symbols_find(&symbols, address), "a_static_function");
    mt_symbols_free(&symbols);
    assert_int_equal(mt_symbols_read_all(&symbols, fixture_path("other.so"), &f.identity, NULL),
                     -1);
    mt_elf_close(&f);
}

static void what_unpacks_to_too_much_is_refused(void **state) {
    (void)state;
    fixture_needs("xz");
    mt_elf f, found;
    fixture_make(
        "head -c 300M /dev/zero | xz -1 >$D/bomb.xz &&"
        "objcopy --add-section .gnu_debugdata=$D/bomb.xz $D/whole.stripped $D/bomb.so");
    assert_int_equal(mt_elf_open(&f, fixture_path("bomb.so")), 0);
    assert_int_equal(mt_debug_file_embedded(&found, &f), -1);
    mt_elf_close(&f);
}

static void damaged_packing_never_crashes(void **state) {
    (void)state;
    fixture_needs("xz");
    uint64_t seed = unit_seed();
    mt_elf f;
    fixture_make(EMBED);
    assert_int_equal(mt_elf_open(&f, fixture_path("embedding.so")), 0);
    const ElfW(Shdr) *s = mt_elf_section(&f, ".gnu_debugdata");
    unsigned char *packed = mt_elf_copy(&f, s->sh_offset, s->sh_size),
                  *copy = malloc(s->sh_size);
    for (int i = 0; i < 3000; i++) {
        size_t bytes, n = i % 4 ? s->sh_size : unit_random(&seed) % s->sh_size;
        memcpy(copy, packed, s->sh_size);
        for (int k = (int)(unit_random(&seed) % 4); k > 0; k--)
            copy[unit_random(&seed) % s->sh_size] = (unsigned char)unit_random(&seed);
        char *out = mt_xz_decode(copy, n, 4 << 20, &bytes);
        if (!out) continue;
        assert_true(bytes > 0 && bytes <= 4 << 20);
        mt_memory_unmap(out, bytes);
    }
    free(copy);
    mt_memory_unmap(packed, s->sh_size + 1);
    mt_elf_close(&f);
}

/* The headers, section names, links and notes that the search reads. */
static void damaged_objects_never_crash(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    const char *const names[] = {"lib/p.so", "embedding.so", "whole.debug"};
    for (int i = 0; i < 3000; i++) {
        mt_elf f, found;
        const char *name = fixture_path(names[i % 3]);
        if (mt_elf_open(&f, name) != 0) continue; /* no xz, no embedding.so */
        char *image = mt_memory_map(f.bytes);
        size_t bytes = f.bytes, heads = f.head.e_shoff;
        assert_true(mt_elf_fetch(&f, 0, image, bytes));
        mt_elf_close(&f);
        for (int k = 1 + (int)(unit_random(&seed) % 20); k > 0; k--) {
            size_t at = unit_random(&seed) % 3 ? heads + unit_random(&seed) % (bytes - heads)
                                               : unit_random(&seed) % bytes;
            image[at] = (char)unit_random(&seed);
        }
        if (mt_elf_open_image(&f, image, bytes) != 0) continue;
        if (mt_debug_file_find(&found, &f, name, NULL, fixture_path("root")) == 0)
            mt_elf_close(&found);
        if (mt_debug_file_embedded(&found, &f) == 0) mt_elf_close(&found);
        if (mt_debug_file_shared(&found, &f, NULL) == 0) mt_elf_close(&found);
        mt_elf_close(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_build_id_leads_to_it),
        cmocka_unit_test(an_object_that_is_gone_still_has_one),
        cmocka_unit_test(another_build_under_its_name_is_refused),
        cmocka_unit_test(a_name_leads_to_it_in_three_folders),
        cmocka_unit_test(a_name_with_the_wrong_content_is_refused),
        cmocka_unit_test(a_name_that_is_a_path_is_not_followed),
        cmocka_unit_test(an_object_is_not_its_own_debug_file),
        cmocka_unit_test(names_come_from_the_file_inside),
        cmocka_unit_test(names_come_from_the_debug_file),
        cmocka_unit_test(what_unpacks_to_too_much_is_refused),
        cmocka_unit_test(damaged_packing_never_crashes),
        cmocka_unit_test(damaged_objects_never_crash),
    };
    return cmocka_run_group_tests_name("debug_file", tests, make_objects, fixture_end);
}
