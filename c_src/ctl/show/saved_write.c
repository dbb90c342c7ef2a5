/* saved_write: a view's census into a file: see saved.h. */
#include <stdlib.h>
#include <string.h>

#include "ctl/bytes.h"
#include "place_map.h"
#include "saved.h"
#include "view.h"

/* The parts that are not of a fixed size, until all texts are known. */
typedef struct {
    mt_texts texts;
    mt_bytes objects, sites, stacks, numbers, places, frames;
    mt_place_map map;
    mt_saved_figures figures;
} parts;

static uint64_t text(parts *p, const char *string) {
    uint32_t number = mt_texts_number(&p->texts, string);
    return p->texts.offset ? p->texts.offset[number] : 0;
}

static void add_object(parts *p, const mt_census_object *o) {
    mt_saved_object out = {
        o->lo, o->hi, o->base, o->since_ns, o->until_ns, text(p, o->path), o->build_id_bytes,
        {0}};
    if (out.build_id_bytes > sizeof out.build_id) out.build_id_bytes = 0;
    if (out.build_id_bytes) memcpy(out.build_id, o->build_id, out.build_id_bytes);
    mt_bytes_add(&p->objects, &out, sizeof out);
    p->figures.objects++;
}

static void add_place(parts *p, const mt_names_place *place) {
    mt_saved_place out = {text(p, place->object), place->in_file, place->frames};
    mt_bytes_add(&p->places, &out, sizeof out);
    p->figures.places++;
    for (uint32_t i = 0; i < place->frames; i++) {
        const mt_names_frame *f = &place->frame[i];
        mt_saved_frame frame = {text(p, f->function), f->offset, text(p, f->file), f->line,
                                f->inlined};
        mt_bytes_add(&p->frames, &frame, sizeof frame);
        p->figures.frames++;
    }
}

static void add_site(parts *p, const mt_view *view, const mt_census_site *s) {
    mt_saved_site out = {s->frames,         s->count,     s->bytes,           s->peak_count,
                         s->peak_bytes,     s->allocated, s->allocated_bytes, s->count_variance,
                         s->bytes_variance, s->oldest_ns, s->youngest_ns};
    mt_bytes_add(&p->sites, &out, sizeof out);
    p->figures.sites++;
    for (uint32_t i = 0; i < s->frames; i++) {
        bool added = false;
        const mt_names_place *place = mt_view_place(view, s, i);
        int64_t number = mt_place_map_number(&p->map, place, &added);
        if (added) add_place(p, place);
        if (number < 0) p->numbers.failed = true;
        mt_bytes_add(&p->numbers, &(uint32_t){(uint32_t)number}, 4);
        mt_bytes_add(&p->stacks, &s->stack[i], 8);
        p->figures.stacks++;
    }
}

static void add_figures(parts *p, const mt_census *c) {
    mt_saved_figures *f = &p->figures;
    f->pid = c->pid, f->command = text(p, c->command);
#define KEEP(figure) f->figure = c->figure;
    MT_SAVED_FIGURES(KEEP)
#undef KEEP
    f->text_bytes = p->texts.bytes.n;
}

static void join(mt_bytes *file, parts *p) {
    mt_bytes *part[] = {&p->texts.bytes, &p->objects, &p->sites, &p->stacks,
                        &p->numbers,     &p->places,  &p->frames};
    mt_saved_header header = {.magic = MT_SAVED_MAGIC,
                              .version = MT_SAVED_VERSION,
                              .header_bytes = MT_SAVED_HEADER_BYTES};
    mt_bytes_add(file, &header, sizeof header);
    mt_bytes_add(file, &p->figures, sizeof p->figures);
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        mt_bytes_add(file, part[i]->data, part[i]->n);
        mt_bytes_fill(file);
        file->failed |= part[i]->failed;
    }
    if (file->failed) return;
    header.bytes = file->n;
    header.checksum = mt_saved_checksum(file->data, file->n);
    memcpy(file->data, &header, sizeof header);
}

int mt_saved_write(const mt_view *view, const char *path) {
    parts p = {0};
    mt_bytes file = {0};
    const mt_census *census = view->census;
    for (uint32_t i = 0; i < census->objects; i++) add_object(&p, &census->object[i]);
    for (uint32_t i = 0; i < census->sites; i++) add_site(&p, view, &census->site[i]);
    add_figures(&p, census);
    join(&file, &p);
    int failed = mt_bytes_write(&file, path);
    mt_bytes *part[] = {&file,      &p.objects, &p.sites, &p.stacks,
                        &p.numbers, &p.places,  &p.frames};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) mt_bytes_free(part[i]);
    mt_texts_free(&p.texts);
    mt_place_map_free(&p.map);
    return failed;
}
