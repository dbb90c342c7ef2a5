/* The journal of files whose code was met. */
#include "unit.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "record/seen.h"

/* Libraries of libc's that no test is linked with. */
static const char *const libraries[] = {"libresolv.so.2", "libthread_db.so.1",
                                        "libnss_files.so.2", "libBrokenLocale.so.1"};
enum { LIBRARIES = sizeof libraries / sizeof *libraries };

static void *some_library(int i) {
    void *library = NULL;
    for (int k = 0; k < LIBRARIES && !library; k++)
        library = dlopen(libraries[(i + k) % LIBRARIES], RTLD_NOW);
    assert_non_null(library);
    return library;
}

/* An address in its code: its dynamic section's object's first executable segment. */
typedef struct {
    uintptr_t of, lo, hi, base;
    const uint8_t *build_id;
    uint32_t build_id_bytes;
} segment;

static void note_build_id(const ElfW(Phdr) * p, uintptr_t base, segment *s) {
    for (const char *at = (const char *)(base + p->p_vaddr), *end = at + p->p_memsz;
         at < end;) {
        const ElfW(Nhdr) *n = (const void *)at;
        at += sizeof *n + ((n->n_namesz + 3) & ~3u);
        if (n->n_type == NT_GNU_BUILD_ID) {
            s->build_id = (const uint8_t *)at;
            s->build_id_bytes = n->n_descsz;
        }
        at += (n->n_descsz + 3) & ~3u;
    }
}

static int find_segment(struct dl_phdr_info *info, size_t size, void *context) {
    segment *s = context;
    (void)size;
    bool here = false;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t lo = info->dlpi_addr + p->p_vaddr;
        here |= p->p_type == PT_LOAD && s->of - lo < p->p_memsz;
    }
    for (int i = 0; here && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_NOTE) note_build_id(p, info->dlpi_addr, s);
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X)) continue;
        s->base = info->dlpi_addr;
        s->lo = info->dlpi_addr + p->p_vaddr;
        s->hi = s->lo + p->p_memsz;
    }
    return here;
}

static segment segment_of(const void *address) {
    segment s = {.of = (uintptr_t)address};
    assert_int_equal(dl_iterate_phdr(find_segment, &s), 1);
    return s;
}

static segment segment_of_library(void *library) {
    struct link_map *map;
    assert_int_equal(dlinfo(library, RTLD_DI_LINKMAP, &map), 0);
    return segment_of(map->l_ld);
}

static void note(uintptr_t address) {
    void *stack[] = {(void *)address};
    mt_seen_note(stack, 1);
}

/* The latest entry that covers it and has not ended. */
static const mt_seen *find(uintptr_t address) {
    for (uint32_t i = mt_seen_count(); i-- > 0;) {
        const mt_seen *e = mt_seen_entry(i);
        if (address >= e->lo && address < e->hi && !e->until_ns) return e;
    }
    return NULL;
}

static void check(segment s, const char *path) {
    note(s.lo + 5);
    const mt_seen *e = find(s.lo);
    assert_non_null(e);
    assert_true(e->base == s.base && e->lo <= s.lo && e->hi >= s.hi && e->since_ns > 0);
    assert_int_equal(e->build_id_bytes, s.build_id_bytes);
    assert_memory_equal(e->build_id, s.build_id, s.build_id_bytes);
    if (path) assert_string_equal(e->path, path);
}

static void the_program_and_its_libraries_are_known_from_the_start(void **state) {
    (void)state;
    char self[500] = {0};
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    assert_int_equal(mt_seen_start(), 0);
    uint32_t n = mt_seen_count();
    assert_true(n >= 2);
    check(segment_of((void *)(uintptr_t)the_program_and_its_libraries_are_known_from_the_start),
          self);
    check(segment_of(dlsym(RTLD_DEFAULT, "qsort")), NULL);
    assert_int_equal(mt_seen_count(), n);
    assert_int_equal(mt_seen_start(), 0);
    assert_int_equal(mt_seen_count(), n);
}

static void a_library_is_noted_when_it_is_met_and_ends_when_it_is_gone(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        void *library = some_library(0);
        segment s = segment_of_library(library);
        s.build_id = memcpy(test_malloc(32), s.build_id, s.build_id_bytes);
        uint32_t n = mt_seen_count(), changes = mt_seen_changes();
        check(s, NULL);
        const mt_seen *e = find(s.lo);
        assert_true(i > 0 || (mt_seen_count() > n && mt_seen_changes() == changes));
        mt_seen_unloaded();
        assert_true(e->until_ns == 0);
        dlclose(library);
        mt_seen_unloaded();
        assert_true(e->until_ns >= e->since_ns);
        assert_null(find(s.lo));
        assert_true(mt_seen_changes() > changes);
        test_free((void *)s.build_id);
    }
}

/* Wherever a library is loaded again, and again, its one entry serves. */
static void what_comes_back_to_its_place_has_its_entry_again(void **state) {
    (void)state;
    uint32_t n = 0, changes = 0;
    uintptr_t place = 0;
    for (int i = 0; i < 20; i++) {
        void *library = some_library(2);
        segment s = segment_of_library(library);
        note(s.lo + 5);
        assert_non_null(find(s.lo));
        if (i > 0 && s.lo == place) {
            assert_int_equal(mt_seen_count(), n);
            assert_true(mt_seen_changes() > changes);
        }
        n = mt_seen_count();
        changes = mt_seen_changes();
        place = s.lo;
        dlclose(library);
        mt_seen_unloaded();
        assert_null(find(place));
    }
}

/* As V8 does with the builtins of node. */
static void code_that_is_mapped_once_more_is_the_same_file(void **state) {
    (void)state;
    segment s = segment_of((void *)(uintptr_t)code_that_is_mapped_once_more_is_the_same_file);
    uintptr_t page = s.lo & ~(uintptr_t)4095, end = (s.hi + 4095) & ~(uintptr_t)4095;
    const mt_seen *first = find(s.lo);
    assert_non_null(first);
    assert_true(first->build_id_bytes > 0);
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[500];
    unsigned long lo, offset = 0;
    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%*x %*s %lx", &lo, &offset) == 2 && lo == page) break;
    fclose(maps);
    int file = open("/proc/self/exe", O_RDONLY);
    for (int low = 0; low < 2; low++) {
        void *where = low ? (void *)(page - (end - page) - (64 << 20)) : NULL;
        char *twin =
            mmap(where, end - page, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, (off_t)offset);
        assert_true(twin != MAP_FAILED);
        note((uintptr_t)twin + 100);
        const mt_seen *e = find((uintptr_t)twin);
        assert_non_null(e);
        assert_string_equal(e->path, first->path);
        assert_true((uintptr_t)twin - e->base == page - first->base);
        assert_int_equal(e->build_id_bytes, first->build_id_bytes);
        assert_memory_equal(e->build_id, first->build_id, first->build_id_bytes);
        munmap(twin, end - page);
        mt_seen_unloaded();
        assert_true(e->until_ns != 0);
        assert_ptr_equal(find(s.lo), first);
    }
    close(file);
}

static void code_that_is_split_or_protected_for_a_moment_is_still_there(void **state) {
    (void)state;
    void *library = some_library(1);
    segment s = segment_of_library(library);
    uintptr_t page = s.lo & ~(uintptr_t)4095;
    note(s.lo + 1);
    const mt_seen *e = find(s.lo);
    assert_non_null(e);
    uint32_t n = mt_seen_count();
    assert_int_equal(mprotect((void *)page, 4096, PROT_READ), 0);
    mt_seen_unloaded();
    assert_ptr_equal(find(s.lo), e);
    assert_int_equal(mprotect((void *)page, 4096, PROT_READ | PROT_EXEC), 0);
    mt_seen_unloaded();
    assert_ptr_equal(find(s.lo), e);
    assert_int_equal(mt_seen_count(), n);
    dlclose(library);
    mt_seen_unloaded();
}

static void code_in_no_file_is_noted_once_and_ends_below_a_file(void **state) {
    (void)state;
    enum { BYTES = 16384 };
    char *code = mmap(NULL, BYTES, PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(code != MAP_FAILED);
    uint32_t n = mt_seen_count();
    note((uintptr_t)code + 100);
    const mt_seen *e = find((uintptr_t)code);
    assert_non_null(e);
    assert_string_equal(e->path, "");
    assert_int_equal(mt_seen_count(), n + 1);
    note((uintptr_t)code + BYTES);
    mprotect(code, BYTES, PROT_READ | PROT_WRITE);
    mt_seen_unloaded();
    mprotect(code, BYTES, PROT_READ | PROT_EXEC);
    mt_seen_unloaded();
    assert_int_equal(mt_seen_count(), n + 1);
    assert_true(e->until_ns == 0);
    int file = open("/proc/self/exe", O_RDONLY);
    assert_ptr_equal(mmap(code, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, file, 0),
                     code);
    close(file);
    mt_seen_unloaded();
    assert_true(e->until_ns != 0);
    assert_true(find((uintptr_t)code)->path[0] == '/');
    munmap(code, BYTES);
    mt_seen_unloaded();
    assert_null(find((uintptr_t)code));
}

static void what_is_no_code_is_not_noted(void **state) {
    (void)state;
    uint32_t n = mt_seen_count();
    int local;
    void *stack[] = {NULL,
                     (void *)1,
                     (void *)4096,
                     &local,
                     (void *)UINTPTR_MAX,
                     (void *)((uintptr_t)1 << 47),
                     (void *)((uintptr_t)1 << 63)};
    for (int i = 0; i < 100; i++) mt_seen_note(stack, sizeof stack / sizeof *stack);
    assert_int_equal(mt_seen_count(), n);
}

static void without_a_descriptor_it_is_noted_later(void **state) {
    (void)state;
    void *library = some_library(0);
    segment s = segment_of_library(library);
    struct rlimit before, none;
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    errno = 77;
    note(s.lo + 1);
    int error = errno;
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(error, 77);
    assert_null(find(s.lo));
    note(s.lo + 1);
    assert_non_null(find(s.lo));
    dlclose(library);
    mt_seen_unloaded();
}

static atomic_bool stop;

static void *notes(void *argument) {
    uintptr_t here = (uintptr_t)notes;
    while (!atomic_load(&stop)) {
        note(here + 1);
        note(atomic_load((_Atomic uintptr_t *)argument));
        mt_seen_changes();
    }
    return NULL;
}

/* Entries that are counted are complete, and an end is never taken back. */
static void threads_note_while_libraries_come_and_go(void **state) {
    (void)state;
    pthread_t thread[3];
    _Atomic uintptr_t place = 0;
    for (int i = 0; i < 3; i++) pthread_create(&thread[i], NULL, notes, &place);
    for (int i = 0; i < 60; i++) {
        void *library = some_library(i);
        segment s = segment_of_library(library);
        atomic_store(&place, s.lo + 16);
        for (int k = 0; k < 20; k++) note(s.lo + 16);
        usleep(500);
        note(s.lo + 16);
        for (uint32_t k = 0; k < mt_seen_count(); k++) {
            const mt_seen *e = mt_seen_entry(k);
            assert_true(e->lo < e->hi && e->since_ns);
        }
        dlclose(library);
        mt_seen_unloaded();
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 3; i++) pthread_join(thread[i], NULL);
    mt_seen_unloaded();
    assert_null(find(atomic_load(&place)));
}

/* The last test: nothing more is noted. */
static void files_without_a_place_are_counted(void **state) {
    (void)state;
    const mt_seen_journal *journal =
        (const void *)((const char *)mt_seen_entry(0) - offsetof(mt_seen_journal, entry));
    enum { EACH = 3, MORE = 40 };
    size_t step = 2 * 4096, all = step * (MT_SEEN_ENTRIES + MORE);
    char *room = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int file = open("/proc/self/exe", O_RDONLY);
    uint32_t noted = mt_seen_count();
    assert_true(room != MAP_FAILED);
    for (char *p = room; p < room + all; p += step) {
        assert_ptr_equal(mmap(p, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, file, 0),
                         p);
        if ((p - room) / step % 512 == 511) note((uintptr_t)p + 100);
    }
    for (int i = 0; i < EACH; i++) note((uintptr_t)(room + all - step * (size_t)(i + 1)) + 100);
    close(file);
    assert_int_equal(mt_seen_count(), MT_SEEN_ENTRIES);
    assert_in_range(journal->left_out, noted + MORE - 8, noted + MORE);
    munmap(room, all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_program_and_its_libraries_are_known_from_the_start),
        cmocka_unit_test(a_library_is_noted_when_it_is_met_and_ends_when_it_is_gone),
        cmocka_unit_test(what_comes_back_to_its_place_has_its_entry_again),
        cmocka_unit_test(code_that_is_mapped_once_more_is_the_same_file),
        cmocka_unit_test(code_that_is_split_or_protected_for_a_moment_is_still_there),
        cmocka_unit_test(code_in_no_file_is_noted_once_and_ends_below_a_file),
        cmocka_unit_test(what_is_no_code_is_not_noted),
        cmocka_unit_test(without_a_descriptor_it_is_noted_later),
        cmocka_unit_test(threads_note_while_libraries_come_and_go),
        cmocka_unit_test(files_without_a_place_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
