/* pprof: see the header.
 *
 *   sample -> location -> line -> function -> texts
 *                 \-> mapping -> text
 *
 * A location is a place, which has the functions that were inlined there; its address is that
 * of the first stack it was met in.
 */
#include "pprof.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gzip.h"
#include "place_map.h"
#include "ctl/plain.h"
#include "protobuf.h"

enum { NAME = 2048 };
enum { PROFILE_SAMPLE_TYPE = 1, PROFILE_SAMPLE, PROFILE_MAPPING, PROFILE_LOCATION };
enum { PROFILE_FUNCTION = 5, PROFILE_TEXT, PROFILE_TIME = 9, PROFILE_DURATION };
enum { PROFILE_PERIOD_TYPE = 11, PROFILE_PERIOD, PROFILE_COMMENT, PROFILE_DEFAULT_TYPE };

typedef struct {
    const mt_view *view;
    mt_bytes out, message, part;
    mt_texts texts;
    mt_texts functions; /* "name:file", numbers of texts: their numbers are the functions' */
    mt_place_map places;
} profile;

static uint64_t text(profile *p, const char *string) {
    char plain[NAME];
    mt_plain(plain, sizeof plain, string ? string : "");
    return mt_texts_number(&p->texts, plain);
}

static void value_type(profile *p, uint32_t field, const char *type, const char *unit) {
    mt_protobuf_int(&p->message, 1, text(p, type));
    mt_protobuf_int(&p->message, 2, text(p, unit));
    mt_protobuf_message(&p->out, field, &p->message);
}

/* Functions are numbered from 1, as 0 is that table's empty text. */
static uint64_t function(profile *p, const char *name, const char *file) {
    char key[48];
    uint64_t name_text = text(p, name), file_text = text(p, file);
    snprintf(key, sizeof key, "%" PRIu64 ":%" PRIu64, name_text, file_text);
    uint32_t before = p->functions.n ? p->functions.n : 1;
    uint64_t number = mt_texts_number(&p->functions, key);
    if (number < before) return number;
    mt_bytes message = {0};
    mt_protobuf_int(&message, 1, number);
    mt_protobuf_int(&message, 2, name_text);
    mt_protobuf_int(&message, 3, name_text);
    mt_protobuf_int(&message, 4, file_text);
    mt_protobuf_message(&p->out, PROFILE_FUNCTION, &message);
    mt_bytes_free(&message);
    return number;
}

/* The object that the place lies in, from 1, or 0. */
static uint32_t mapping_of(const profile *p, const mt_names_place *place, uint64_t address) {
    const mt_census *c = p->view->census;
    if (!place->object) return 0;
    for (uint32_t i = c->objects; i-- > 0;) {
        const mt_census_object *o = &c->object[i];
        if (o->lo < address && address <= o->hi &&
            strncmp(o->path, place->object, strlen(place->object)) == 0)
            return i + 1;
    }
    return 0;
}

static void location(profile *p, const mt_names_place *place, uint64_t number,
                     uint64_t address) {
    char unnamed[NAME];
    mt_protobuf_int(&p->message, 1, number);
    mt_protobuf_int(&p->message, 2, mapping_of(p, place, address));
    mt_protobuf_int(&p->message, 3, address);
    for (uint32_t i = mt_view_first(p->view, place, 1); i < place->frames; i++) {
        const mt_names_frame *frame = &place->frame[i];
        const char *name = frame->function;
        if (!name && place->object) {
            snprintf(unnamed, sizeof unnamed, "%.1900s+%#" PRIx64,
                     mt_view_last_name(place->object), place->in_file);
            name = unnamed;
        }
        mt_protobuf_int(
            &p->part, 1,
            function(p, name ? name : "[unknown]", p->view->no_lines ? NULL : frame->file));
        mt_protobuf_int(&p->part, 2, p->view->no_lines ? 0 : frame->line);
        mt_protobuf_message(&p->message, 4, &p->part);
    }
    mt_protobuf_message(&p->out, PROFILE_LOCATION, &p->message);
}

static void sample(profile *p, const mt_census_site *site) {
    const uint64_t value[] = {site->allocated, site->allocated_bytes, site->count, site->bytes};
    const uint64_t now = p->view->census->now_ns;
    mt_bytes sample = {0}, numbers = {0};
    for (uint32_t i = 0; i < site->frames; i++) {
        bool added = false;
        const mt_names_place *place = mt_view_place(p->view, site, i);
        if (mt_view_is_hook(place, i)) continue;
        int64_t number = mt_place_map_number(&p->places, place, &added);
        if (number < 0) p->out.failed = true;
        if (added) location(p, place, (uint64_t)number + 1, site->stack[i]);
        mt_protobuf_varint(&numbers, (uint64_t)number + 1);
    }
    mt_protobuf_message(&sample, 1, &numbers);
    for (int i = 0; i < 4; i++) mt_protobuf_varint(&numbers, value[i]);
    mt_protobuf_message(&sample, 2, &numbers);
    mt_protobuf_int(&numbers, 1, text(p, "age"));
    mt_protobuf_int(&numbers, 3, now > site->oldest_ns ? (now - site->oldest_ns) / 1000000 : 0);
    mt_protobuf_int(&numbers, 4, text(p, "milliseconds"));
    mt_protobuf_message(&sample, 3, &numbers);
    mt_protobuf_message(&p->out, PROFILE_SAMPLE, &sample);
    mt_bytes_free(&sample);
    mt_bytes_free(&numbers);
}

/* pprof takes the first mapping for the program's, which is no library. */
static void mappings(profile *p) {
    const mt_census *c = p->view->census;
    for (uint32_t pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < c->objects; i++) {
            const mt_census_object *o = &c->object[i];
            char hex[2 * 32 + 1] = "";
            if (!*o->path || (strstr(o->path, ".so") || *o->path != '/') != (pass == 1))
                continue;
            for (uint32_t k = 0; k < o->build_id_bytes && k < 32; k++)
                snprintf(hex + 2 * k, 3, "%02x", o->build_id[k]);
            mt_protobuf_int(&p->message, 1, i + 1);
            mt_protobuf_int(&p->message, 2, o->lo);
            mt_protobuf_int(&p->message, 3, o->hi);
            mt_protobuf_int(&p->message, 4, o->lo - o->base);
            mt_protobuf_int(&p->message, 5, text(p, o->path));
            mt_protobuf_int(&p->message, 6, text(p, hex));
            for (uint32_t has = 7; has <= 10; has++) mt_protobuf_int(&p->message, has, 1);
            mt_protobuf_message(&p->out, PROFILE_MAPPING, &p->message);
        }
}

static void comment(profile *p, const char *what) {
    mt_protobuf_varint(&p->part, text(p, what));
}

static void ending(profile *p) {
    const mt_census *c = p->view->census;
    char line[256];
    mt_protobuf_int(&p->out, PROFILE_TIME, c->wall_ns);
    mt_protobuf_int(&p->out, PROFILE_DURATION, c->now_ns - c->start_ns);
    value_type(p, PROFILE_PERIOD_TYPE, "inuse_space", "bytes");
    mt_protobuf_int(&p->out, PROFILE_PERIOD, c->interval);
    comment(p, c->command);
    comment(p, c->exact ? "exact: every allocation counts" : "estimated from a sample");
    snprintf(line, sizeof line, "recorded %" PRIu64 ", ignored %" PRIu64 ", thinned %" PRIu64,
             c->recorded, c->ignored, c->thinned);
    comment(p, line);
    mt_protobuf_message(&p->out, PROFILE_COMMENT, &p->part);
    mt_protobuf_int(&p->out, PROFILE_DEFAULT_TYPE, text(p, "inuse_space"));
    for (uint32_t i = 0; i < p->texts.n; i++) {
        const char *string = (const char *)p->texts.bytes.data + p->texts.offset[i];
        mt_protobuf_bytes(&p->out, PROFILE_TEXT, string, strlen(string));
    }
    p->out.failed |= p->texts.bytes.failed || p->functions.bytes.failed || p->message.failed;
}

int mt_pprof_write(const mt_view *view, const char *path) {
    profile p = {.view = view};
    mt_bytes packed = {0};
    value_type(&p, PROFILE_SAMPLE_TYPE, "alloc_objects", "count");
    value_type(&p, PROFILE_SAMPLE_TYPE, "alloc_space", "bytes");
    value_type(&p, PROFILE_SAMPLE_TYPE, "inuse_objects", "count");
    value_type(&p, PROFILE_SAMPLE_TYPE, "inuse_space", "bytes");
    mappings(&p);
    for (uint32_t i = 0; i < view->sites; i++) sample(&p, view->site[i]);
    ending(&p);
    mt_gzip_store(&p.out, &packed);
    int failed = mt_bytes_write(&packed, path);
    mt_bytes_free(&packed);
    mt_bytes_free(&p.out);
    mt_bytes_free(&p.message);
    mt_bytes_free(&p.part);
    mt_texts_free(&p.texts);
    mt_texts_free(&p.functions);
    mt_place_map_free(&p.places);
    return failed;
}
