/* journal: see the header. */
#include "journal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "name/elf_file.h"
#include "record/seen.h"

/* An entry that is counted is complete; what it says may be anything. */
static mt_census_object *noted(const mt_seen_journal *journal, uint32_t *n, void **texts) {
    uint32_t count = atomic_load_explicit(&journal->count, memory_order_acquire);
    if (count > MT_SEEN_ENTRIES) count = MT_SEEN_ENTRIES;
    mt_seen *copy = malloc(count * sizeof *copy + 1);
    mt_census_object *objects = calloc(count + 1, sizeof *objects);
    if (!copy || !objects) {
        free(copy);
        free(objects);
        return NULL;
    }
    memcpy(copy, journal->entry, count * sizeof *copy);
    for (uint32_t i = 0; i < count; i++) {
        mt_seen *e = &copy[i];
        e->path[MT_SEEN_PATH - 1] = '\0';
        if (e->build_id_bytes > MT_BUILD_ID_MAX) e->build_id_bytes = 0;
        objects[i] = (mt_census_object){.lo = e->lo,
                                        .hi = e->hi,
                                        .base = e->base,
                                        .since_ns = e->since_ns,
                                        .until_ns = atomic_load(&e->until_ns),
                                        .path = e->path,
                                        .build_id = e->build_id,
                                        .build_id_bytes = e->build_id_bytes};
    }
    *n = count;
    *texts = copy;
    return objects;
}

/* Where the file is loaded, by its segment that lies at this place of it. */
static uint64_t base_of(const mt_elf *f, const mt_mapping *m) {
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < f->head.e_phnum; i++) {
        ElfW(Phdr) p;
        if (!mt_elf_fetch(f, f->head.e_phoff + (uint64_t)i * sizeof p, &p, sizeof p)) break;
        if (p.p_type == PT_LOAD && p.p_offset / page * page == m->offset)
            return m->lo - p.p_vaddr / page * page;
    }
    return m->lo - m->offset;
}

static void describe(mt_census_object *o, const mt_mapping *m, uint8_t *build_id) {
    mt_elf f;
    o->lo = m->lo;
    o->hi = m->hi;
    o->base = m->lo - m->offset;
    if (*o->path != '/' || mt_elf_open(&f, o->path) != 0) return;
    o->base = base_of(&f, m);
    o->build_id_bytes = f.identity.build_id_bytes;
    memcpy(build_id, f.identity.build_id, sizeof f.identity.build_id);
    o->build_id = build_id;
    mt_elf_close(&f);
}

static mt_census_object *mapped(const mt_picture *picture, uint32_t *n, void **texts) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < picture->mappings; i++) count += picture->mapping[i].executable;
    mt_census_object *objects = calloc(count + 1, sizeof *objects);
    char *text = malloc(picture->text_bytes + (size_t)count * MT_BUILD_ID_MAX + 1);
    if (!objects || !text) {
        free(objects);
        free(text);
        return NULL;
    }
    if (picture->text_bytes) memcpy(text, picture->texts, picture->text_bytes);
    for (uint32_t i = 0, k = 0; i < picture->mappings; i++) {
        const mt_mapping *m = &picture->mapping[i];
        if (!m->executable) continue;
        objects[k].path = text + m->path;
        describe(&objects[k], m,
                 (uint8_t *)text + picture->text_bytes + (size_t)k * MT_BUILD_ID_MAX);
        k++;
    }
    *n = count;
    *texts = text;
    return objects;
}

static const mt_seen_journal *journal_of(const mt_target *t) {
    uint64_t bytes, a, b;
    const mt_seen_journal *journal = mt_target_part(t, MT_REGION_SEEN, 0, &bytes, &a, &b);
    return journal && bytes >= sizeof *journal && b == sizeof(mt_seen) ? journal : NULL;
}

mt_census_object *mt_journal_read(const mt_target *t, uint32_t *n, void **texts) {
    const mt_seen_journal *journal = journal_of(t);
    *n = 0;
    *texts = NULL;
    return journal ? noted(journal, n, texts) : mapped(&t->last, n, texts);
}

uint64_t mt_journal_left_out(const mt_target *t) {
    const mt_seen_journal *journal = journal_of(t);
    return journal ? atomic_load_explicit(&journal->left_out, memory_order_relaxed) : 0;
}

/* As names has it: the last that was found by then, unless it is gone; else the first that was
 * found later. *gone: one of them is. */
static const mt_census_object *object_at(const mt_census_object *objects, uint32_t n,
                                         uint64_t address, uint64_t at, bool *gone) {
    const mt_census_object *best = NULL;
    for (uint32_t i = 0; i < n; i++) {
        const mt_census_object *o = &objects[i];
        if (address < o->lo || address >= o->hi) continue;
        if (o->until_ns) *gone = true;
        bool later = o->since_ns > at, best_later = best && best->since_ns > at;
        if (!later && o->until_ns && o->until_ns <= at) continue;
        if (!best || (best_later && !later) ||
            (best_later == later &&
             (later ? o->since_ns < best->since_ns : o->since_ns >= best->since_ns)))
            best = o;
    }
    return best;
}

static bool is_same_file(const mt_census_object *a, const mt_census_object *b) {
    if (!a || !b) return a == b;
    return a->base == b->base && a->build_id_bytes == b->build_id_bytes &&
           memcmp(a->build_id, b->build_id, a->build_id_bytes) == 0 &&
           strcmp(a->path, b->path) == 0;
}

bool mt_journal_alike(const mt_census_object *objects, uint32_t n, const uint64_t *stack,
                      uint32_t frames, uint64_t at, uint64_t then) {
    for (uint32_t i = 0; i < frames; i++) {
        bool gone = false;
        const mt_census_object *o = object_at(objects, n, stack[i] - 1, at, &gone);
        if (gone && !is_same_file(o, object_at(objects, n, stack[i] - 1, then, &gone)))
            return false;
    }
    return true;
}
