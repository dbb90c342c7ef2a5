/* debug: opens, asks, copies the answer. */
#include "debug.h"

#include <dwarf.h>
#include <string.h>

#include "debug_file.h"
#include "libdw.h"
#include "scopes.h"

enum { MAX_HOPS = 8, MAX_NAME = 16384, MAX_PATH = 4096 };
#define MOST_MEMORY (sizeof(void *) == 8 ? (size_t)1 << 30 : (size_t)1 << 28)

struct mt_debug {
    mt_pool pool;
    const mt_libdw *lib;
    Elf *elf[2]; /* its own, and the one that dwz made of several */
    Dwarf *dwarf[2];
    mt_scopes scopes;
    mt_libdw_end last; /* not DONE: nothing more can be asked */
};

bool mt_debug_available(const char **why_not) {
    return mt_libdw_get(why_not) != NULL;
}

static bool has_dwarf(const mt_elf *f) {
    return mt_elf_section(f, ".debug_info") || mt_elf_section(f, ".zdebug_info");
}

/* The file with the debug information of an object, open: itself, or another. */
static int find_dwarf(mt_elf *found, const char *path, const mt_elf_identity *expected,
                      const char *search_path) {
    mt_elf object;
    bool there = mt_elf_open(&object, path) == 0;
    if (there && expected && !mt_elf_is(&object, expected)) {
        mt_elf_close(&object);
        there = false;
    }
    if (there && has_dwarf(&object)) {
        *found = object;
        return 0;
    }
    int result = mt_debug_file_find(found, there ? &object : NULL, path, expected, search_path);
    if (there) mt_elf_close(&object);
    if (result == 0 && !has_dwarf(found)) {
        mt_elf_close(found);
        result = -1;
    }
    return result;
}

/* libelf has read all debug sections once libdw has begun: the descriptor is not needed after
 * that, and must not be used when it has become another file's. */
static void begin(mt_debug *d, int which, const mt_elf *f) {
    d->elf[which] = d->lib->elf_begin(f->fd, ELF_C_READ, NULL);
    if (!d->elf[which]) return;
    d->dwarf[which] = d->lib->dwarf_begin_elf(d->elf[which], DWARF_C_READ, NULL);
    d->lib->elf_cntl(d->elf[which], ELF_C_FDDONE);
    if (d->dwarf[which]) d->lib->dwarf_new_oom_handler(d->dwarf[which], mt_libdw_out_of_memory);
}

typedef struct {
    mt_debug *debug;
    const mt_elf *file, *shared; /* shared: NULL if there is none */
} opening;

static void open_dwarf(void *context) {
    const opening *o = context;
    mt_debug *d = o->debug;
    begin(d, 0, o->file);
    if (!d->dwarf[0]) return;
    if (o->shared) begin(d, 1, o->shared);
    if (d->dwarf[1]) d->lib->dwarf_setalt(d->dwarf[0], d->dwarf[1]);
    mt_scopes_read(&d->scopes, d->dwarf[0]);
}

static mt_debug *new_debug(void) {
    const mt_libdw *lib = mt_libdw_get(NULL);
    mt_debug *d = lib ? mt_memory_map(sizeof *d) : NULL;
    if (!d) return NULL;
    if (mt_pool_open(&d->pool, MOST_MEMORY) != 0) {
        mt_memory_unmap(d, sizeof *d);
        return NULL;
    }
    d->lib = lib;
    d->scopes = (mt_scopes){.pool = &d->pool, .lib = lib};
    return d;
}

mt_debug *mt_debug_open(const char *path, const mt_elf_identity *expected,
                        const char *search_path) {
    mt_elf file, shared;
    mt_debug *d = new_debug();
    if (!d || find_dwarf(&file, path, expected, search_path) != 0) {
        mt_debug_close(d);
        return NULL;
    }
    bool shares = mt_debug_file_shared(&shared, &file, search_path) == 0;
    opening o = {d, &file, shares ? &shared : NULL};
    d->last = mt_libdw_run(&d->pool, open_dwarf, &o);
    mt_elf_close(&file);
    if (shares) mt_elf_close(&shared);
    if (d->last != MT_LIBDW_DONE || d->scopes.units.n == 0) {
        mt_debug_close(d);
        return NULL;
    }
    return d;
}

static void end(void *context) {
    mt_debug *d = context;
    for (int i = 0; i < 2; i++) {
        if (d->dwarf[i]) d->lib->dwarf_end(d->dwarf[i]);
        if (d->elf[i]) d->lib->elf_end(d->elf[i]);
    }
}

void mt_debug_close(mt_debug *d) {
    if (!d) return;
    if (d->last != MT_LIBDW_GAVE_UP) mt_libdw_run(&d->pool, end, d);
    mt_pool_close(&d->pool);
    mt_memory_unmap(d, sizeof *d);
}

/* The copies of strings of libdw's; the file of one line is often that of the next. */
typedef struct {
    mt_debug *debug;
    uint64_t address;
    mt_line *out;
    uint32_t max, n;
    mt_arena *strings;
    mt_unit *unit;
    const char *last_file, *last_copy;
} question;

static const char *copy_file(question *q, const char *file) {
    if (!file || file == q->last_file) return file ? q->last_copy : NULL;
    const mt_libdw *lib = q->debug->lib;
    Dwarf_Attribute attribute;
    const char *folder = NULL;
    if (file[0] != '/' && lib->dwarf_attr(&q->unit->die, DW_AT_comp_dir, &attribute))
        folder = lib->dwarf_formstring(&attribute);
    size_t n = strnlen(file, MAX_PATH), m = folder ? strnlen(folder, MAX_PATH) : 0;
    if (n == 0 || n == MAX_PATH || m == MAX_PATH) return NULL;
    char *copy = mt_arena_take(q->strings, m + n + 2);
    if (!copy) return NULL;
    if (m) memcpy(copy, folder, m);
    if (m) copy[m++] = '/';
    memcpy(copy + m, file, n);
    q->last_file = file;
    return q->last_copy = copy;
}

/* The name of an inlined function stands in its abstract origin, and for a member of a class
 * in the declaration that this specifies. */
static const char *name_of(question *q, Dwarf_Die die) {
    const mt_libdw *lib = q->debug->lib;
    const char *name = NULL;
    for (int hop = 0; hop < MAX_HOPS; hop++) {
        Dwarf_Attribute a;
        Dwarf_Die next;
        if (lib->dwarf_attr(&die, DW_AT_linkage_name, &a) ||
            lib->dwarf_attr(&die, DW_AT_MIPS_linkage_name, &a)) {
            name = lib->dwarf_formstring(&a);
            if (name) break;
        }
        if (!name && lib->dwarf_attr(&die, DW_AT_name, &a)) name = lib->dwarf_formstring(&a);
        if ((!lib->dwarf_attr(&die, DW_AT_abstract_origin, &a) &&
             !lib->dwarf_attr(&die, DW_AT_specification, &a)) ||
            !lib->dwarf_formref_die(&a, &next))
            break;
        die = next;
    }
    if (!name || !*name || strnlen(name, MAX_NAME) == MAX_NAME) return NULL;
    return mt_arena_string(q->strings, name);
}

/* Where an inlined function was called. */
static void read_call(question *q, Dwarf_Die *inlined, mt_line *line) {
    const mt_libdw *lib = q->debug->lib;
    Dwarf_Attribute a;
    Dwarf_Word number;
    Dwarf_Files *files;
    size_t n;
    if (lib->dwarf_attr(inlined, DW_AT_call_line, &a) &&
        lib->dwarf_formudata(&a, &number) == 0 && number <= INT32_MAX)
        line->line = (uint32_t)number;
    if (lib->dwarf_attr(inlined, DW_AT_call_file, &a) &&
        lib->dwarf_formudata(&a, &number) == 0 &&
        lib->dwarf_getsrcfiles(&q->unit->die, &files, &n) == 0 && number < n)
        line->file = copy_file(q, lib->dwarf_filesrc(files, number, NULL, NULL));
}

static void read_line(question *q, mt_line *line) {
    const mt_libdw *lib = q->debug->lib;
    Dwarf_Line *entry = lib->dwarf_getsrc_die(&q->unit->die, q->address);
    int number;
    if (!entry) return;
    if (lib->dwarf_lineno(entry, &number) == 0 && number > 0) line->line = (uint32_t)number;
    line->file = copy_file(q, lib->dwarf_linesrc(entry, NULL, NULL));
}

static void answer(void *context) {
    question *q = context;
    mt_inlines inlines;
    q->unit = mt_scopes_unit(&q->debug->scopes, q->address);
    if (!q->unit) return;
    mt_line line = {0};
    read_line(q, &line);
    mt_scopes_inlines(&q->debug->scopes, q->unit, q->address, &inlines);
    for (uint32_t i = inlines.n; i > 0 && q->n < q->max; i--) {
        line.function = name_of(q, inlines.die[i - 1]);
        line.inlined = true;
        q->out[q->n++] = line;
        line = (mt_line){0};
        read_call(q, &inlines.die[i - 1], &line);
    }
    if (q->n < q->max && (q->n > 0 || line.file)) q->out[q->n++] = line;
}

uint32_t mt_debug_lines(mt_debug *d, uint64_t address, mt_line *out, uint32_t max,
                        mt_arena *strings) {
    question q = {.debug = d, .address = address, .out = out, .max = max, .strings = strings};
    if (d->last == MT_LIBDW_DONE) d->last = mt_libdw_run(&d->pool, answer, &q);
    return d->last == MT_LIBDW_DONE ? q.n : 0;
}
