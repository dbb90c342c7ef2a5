/* saved: reads what saved_write wrote, or what somebody else wrote: see the header. */
#include "saved.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/commands.h"

#define MOST_BYTES  ((uint64_t)4 << 30)
#define MOST_FRAMES 4096

/* The file's bytes, and how far they have been given out. */
typedef struct {
    const char *path;
    uint8_t *data;
    uint64_t n, at;
} source;

static int refuse(const char *path, const char *why) {
    mt_say("%s %s", path, why);
    return -1;
}

static int read_all(int fd, source *from) {
    for (uint64_t done = 0; done < from->n;) {
        ssize_t n = read(fd, from->data + done, from->n - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return n < 0 ? refuse(from->path, strerror(errno))
                         : refuse(from->path, "was cut off while it was read");
        done += (uint64_t)n;
    }
    return 0;
}

static int read_file(source *from) {
    struct stat st;
    int fd = open(from->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) != 0) {
        mt_say("%s cannot be read: %s", from->path, strerror(errno));
        if (fd >= 0) close(fd);
        return -1;
    }
    from->n = (uint64_t)st.st_size;
    int failed = 0;
    if (!S_ISREG(st.st_mode)) failed = refuse(from->path, "is no plain file: a census is one");
    else if (from->n > MOST_BYTES) failed = refuse(from->path, "is too large for a census");
    else if (!(from->data = malloc(from->n + 1)))
        failed = refuse(from->path, "takes more memory than there is");
    else failed = read_all(fd, from);
    close(fd);
    return failed;
}

static int check_header(source *from, mt_saved_header *header) {
    static const char foreign[] = "was not written by mtracectl run --save FILE";
    uint64_t magic = 0;
    memcpy(&magic, from->data, from->n < sizeof magic ? from->n : sizeof magic);
    if (magic == __builtin_bswap64(MT_SAVED_MAGIC))
        return refuse(from->path, "was written on a machine of the other byte order");
    if (magic != MT_SAVED_MAGIC) return refuse(from->path, foreign);
    if (from->n < sizeof *header) return refuse(from->path, "is cut off: it cannot be used");
    memcpy(header, from->data, sizeof *header);
    if (header->version != MT_SAVED_VERSION) {
        mt_say("%s was written by another version of mtracectl (its format is %u, ours is %u)",
               from->path, header->version, MT_SAVED_VERSION);
        return -1;
    }
    if (header->header_bytes != MT_SAVED_HEADER_BYTES)
        return refuse(from->path, "is damaged: it cannot be used");
    if (from->n < header->bytes) return refuse(from->path, "is cut off: it cannot be used");
    if (from->n != header->bytes || from->n < header->header_bytes || from->n % 8 != 0 ||
        header->checksum != mt_saved_checksum(from->data, from->n))
        return refuse(from->path, "is damaged: it cannot be used");
    from->at = sizeof *header;
    return 0;
}

/* The next `n` items of `bytes` each, or NULL if the file has not so many. */
static const void *part(source *from, uint64_t n, uint64_t bytes) {
    if (n > (from->n - from->at) / bytes) return NULL;
    const void *here = from->data + from->at;
    from->at += (n * bytes + 7) & ~7ull;
    return from->at <= from->n ? here : NULL;
}

typedef struct {
    const mt_saved_figures *figures;
    const char *text;
    const mt_saved_object *object;
    const mt_saved_site *site;
    const uint64_t *stack;
    const uint32_t *number;
    const mt_saved_place *place;
    const mt_saved_frame *frame;
} parts;

static bool find_parts(source *from, parts *p) {
    const mt_saved_figures *f = p->figures = part(from, 1, sizeof *p->figures);
    return f && f->objects <= UINT32_MAX && f->sites <= UINT32_MAX && f->places <= UINT32_MAX &&
           (p->text = part(from, f->text_bytes, 1)) && f->text_bytes > 0 && p->text[0] == 0 &&
           p->text[f->text_bytes - 1] == 0 &&
           (p->object = part(from, f->objects, sizeof *p->object)) &&
           (p->site = part(from, f->sites, sizeof *p->site)) &&
           (p->stack = part(from, f->stacks, sizeof *p->stack)) &&
           (p->number = part(from, f->stacks, sizeof *p->number)) &&
           (p->place = part(from, f->places, sizeof *p->place)) &&
           (p->frame = part(from, f->frames, sizeof *p->frame)) && from->at == from->n;
}

/* NULL for none; `*good` becomes false if there is no such text. */
static const char *text(const parts *p, uint64_t at, bool *good) {
    if (at >= p->figures->text_bytes) *good = false;
    return *good && at ? p->text + at : NULL;
}

static bool read_objects(mt_saved *saved, const parts *p) {
    bool good = true;
    for (uint64_t i = 0; i < p->figures->objects; i++) {
        const mt_saved_object *o = &p->object[i];
        const char *path = text(p, o->path, &good);
        if (o->build_id_bytes > sizeof o->build_id) good = false;
        saved->census.object[i] =
            (mt_census_object){o->lo,       o->hi,
                               o->base,     o->since_ns,
                               o->until_ns, path ? path : "",
                               o->build_id, good ? (uint32_t)o->build_id_bytes : 0};
    }
    return good;
}

static double variance(double v) {
    return v >= 0 && v < 1e300 ? v : 0;
}

static bool read_sites(mt_saved *saved, const parts *p) {
    uint64_t used = 0;
    for (uint64_t i = 0; i < p->figures->sites; i++) {
        const mt_saved_site *s = &p->site[i];
        if (s->frames > MOST_FRAMES || s->frames > p->figures->stacks - used) return false;
        saved->census.site[i] = (mt_census_site){.stack = p->stack + used,
                                                 .frames = (uint32_t)s->frames,
                                                 .count = s->count,
                                                 .bytes = s->bytes,
                                                 .peak_count = s->peak_count,
                                                 .peak_bytes = s->peak_bytes,
                                                 .allocated = s->allocated,
                                                 .allocated_bytes = s->allocated_bytes,
                                                 .count_variance = variance(s->count_variance),
                                                 .bytes_variance = variance(s->bytes_variance),
                                                 .oldest_ns = s->oldest_ns,
                                                 .youngest_ns = s->youngest_ns};
        used += s->frames;
    }
    return used == p->figures->stacks;
}

static bool read_places(mt_saved *saved, const parts *p) {
    bool good = true;
    uint64_t used = 0;
    for (uint64_t i = 0; i < p->figures->places; i++) {
        const mt_saved_place *from = &p->place[i];
        if (from->frames == 0 || from->frames > p->figures->frames - used) return false;
        saved->place[i] = (mt_names_place){text(p, from->object, &good), from->in_file,
                                           (uint32_t)from->frames, saved->frame + used};
        used += from->frames;
    }
    for (uint64_t i = 0; i < p->figures->frames; i++) {
        const mt_saved_frame *f = &p->frame[i];
        saved->frame[i] = (mt_names_frame){text(p, f->function, &good), f->offset,
                                           text(p, f->file, &good), f->line, f->inlined != 0};
    }
    for (uint64_t i = 0; i < p->figures->stacks; i++)
        if (p->number[i] >= p->figures->places) good = false;
    return good && used == p->figures->frames;
}

static bool read_figures(mt_saved *saved, const parts *p) {
    const mt_saved_figures *f = p->figures;
    bool good = true;
    const char *command = text(p, f->command, &good);
    mt_census *c = &saved->census;
    c->pid = (uint32_t)f->pid, c->command = command ? command : "";
    c->sites = (uint32_t)f->sites, c->objects = (uint32_t)f->objects;
#define TAKE(figure) c->figure = f->figure;
    MT_SAVED_FIGURES(TAKE)
#undef TAKE
    return good;
}

static bool take_memory(mt_saved *saved, const mt_saved_figures *f) {
    saved->census.object = calloc(f->objects + 1, sizeof *saved->census.object);
    saved->census.site = calloc(f->sites + 1, sizeof *saved->census.site);
    saved->place = calloc(f->places + 1, sizeof *saved->place);
    saved->frame = calloc(f->frames + 1, sizeof *saved->frame);
    return saved->census.object && saved->census.site && saved->place && saved->frame;
}

mt_saved *mt_saved_read(const char *path) {
    source from = {.path = path};
    parts p = {0};
    mt_saved_header header;
    mt_saved *saved = calloc(1, sizeof *saved);
    int failed = saved ? read_file(&from) : refuse(path, "takes more memory than there is");
    if (saved) saved->file = from.data;
    if (!failed) failed = check_header(&from, &header);
    if (!failed && !find_parts(&from, &p))
        failed = refuse(path, "is damaged: it cannot be used");
    if (!failed && !take_memory(saved, p.figures))
        failed = refuse(path, "takes more memory than there is");
    if (!failed && !(read_objects(saved, &p) && read_sites(saved, &p) &&
                     read_places(saved, &p) && read_figures(saved, &p)))
        failed = refuse(path, "is damaged: it cannot be used");
    if (failed) {
        mt_saved_free(saved);
        return NULL;
    }
    saved->stacks = p.stack;
    saved->number = p.number;
    return saved;
}

void mt_saved_free(mt_saved *saved) {
    if (!saved) return;
    free(saved->census.object);
    free(saved->census.site);
    free(saved->place);
    free(saved->frame);
    free(saved->file);
    free(saved);
}

const mt_names_place *mt_saved_named(const mt_saved *saved, const mt_census_site *site,
                                     uint32_t i) {
    return &saved->place[saved->number[site->stack + i - saved->stacks]];
}
