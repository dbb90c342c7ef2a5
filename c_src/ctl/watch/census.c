/* census: one pass over the table of chunks, adding up by row of the table of sites; then rows
 * of the same stack are joined. The program may run meanwhile: what changes under our eyes is
 * left out, as it is in a snapshot of its own. */
#include "ctl/show/census.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "journal.h"
#include "record/options.h"
#include "room.h"
#include "tables.h"

/* A site that is being added up. */
typedef struct {
    uint64_t stack[MT_TABLES_FRAMES]; /* the native part */
    uint32_t frames, row;
    uint64_t key; /* of the row, by which one that has changed hands is recognised */
    double count, bytes, count_variance, bytes_variance;
    uint64_t oldest_ns, youngest_ns;
} sum;

typedef struct {
    mt_census census;
    mt_tables tables;
    uint32_t *index; /* a row's sum, plus 1 */
    sum *sum;
    uint32_t sums, room;
    uint64_t born_from, born_to; /* what counts */
    mt_picture *picture;
    bool *holds; /* which of its mappings hold chunks */
    void *texts;
    uint64_t *stacks;
} builder;

static uint64_t key_of(const builder *b, uint32_t row) {
    return atomic_load_explicit(&mt_sites_row(&b->tables.sites, row)->key,
                                memory_order_relaxed) >>
           32;
}

static sum *new_sum(builder *b, uint32_t row) {
    if (b->sums == b->room) {
        uint32_t room = b->room ? b->room * 2 : 256;
        sum *larger = realloc(b->sum, room * sizeof *larger);
        if (!larger) return NULL;
        b->sum = larger;
        b->room = room;
    }
    sum *s = &b->sum[b->sums++];
    memset(s, 0, sizeof *s);
    b->index[row] = b->sums;
    s->row = row;
    s->key = key_of(b, row);
    s->frames = mt_tables_stack(&b->tables, row, s->stack);
    s->oldest_ns = UINT64_MAX;
    return s;
}

static sum *sum_of(builder *b, uint32_t row) {
    if (row >= b->tables.sites.rows) return NULL;
    sum *s = b->index[row] ? &b->sum[b->index[row] - 1] : NULL;
    return s && s->key == key_of(b, row) ? s : new_sum(b, row);
}

static void mark(builder *b, uint64_t address) {
    uint32_t lo = 0, hi = b->picture->mappings;
    while (lo < hi) {
        uint32_t i = lo + (hi - lo) / 2;
        const mt_mapping *m = &b->picture->mapping[i];
        if (address < m->lo) hi = i;
        else if (address >= m->hi) lo = i + 1;
        else {
            b->holds[i] = true;
            return;
        }
    }
}

static bool add_chunk(builder *b, const mt_chunks *table, int32_t cell) {
    mt_chunk chunk;
    uint64_t tag = mt_chunks_peek(table, cell, &chunk);
    if (tag == 0) return true;
    if (chunk.born_ns < b->born_from || chunk.born_ns > b->born_to) return true;
    uint32_t known = b->sums;
    sum *s = sum_of(b, chunk.site);
    if (!s) return chunk.site >= b->tables.sites.rows;
    if (!mt_chunks_unchanged(table, cell, tag)) {
        if (b->sums > known) { /* its stack may be another's */
            b->sums = known;
            b->index[chunk.site] = 0;
        }
        return true;
    }
    double w = (double)chunk.weight / MT_WEIGHT_ONE, x = (double)chunk.size;
    s->count += w;
    s->bytes += w * x;
    s->count_variance += w * (w - 1);
    s->bytes_variance += w * (w - 1) * x * x;
    if (chunk.born_ns < s->oldest_ns) s->oldest_ns = chunk.born_ns;
    if (chunk.born_ns > s->youngest_ns) s->youngest_ns = chunk.born_ns;
    b->census.recorded++;
    if (b->holds) mark(b, chunk.address);
    return true;
}

static bool add_chunks(builder *b) {
    for (uint32_t l = 0; l < b->tables.levels; l++) {
        const mt_chunks *table = &b->tables.level[l];
        for (int32_t i = 0; (i = mt_chunks_next(table, i)) >= 0; i++)
            if (!add_chunk(b, table, i)) return false;
        b->census.slots += (uint64_t)mt_chunks_slots(table);
    }
    return true;
}

static bool open_tables(builder *b, const mt_target *t) {
    mt_tables_open(&b->tables, t);
    b->index = calloc(b->tables.sites.rows + (size_t)1, sizeof *b->index);
    if (b->tables.sites.rows) b->census.evicted_sites = mt_sites_evicted(&b->tables.sites);
    return b->index != NULL;
}

static int by_stack(const void *left, const void *right) {
    const sum *a = left, *b = right;
    if (a->frames != b->frames) return a->frames < b->frames ? -1 : 1;
    return memcmp(a->stack, b->stack, a->frames * sizeof *a->stack);
}

static uint64_t whole(double x) {
    return x > 0 ? (uint64_t)(x + 0.5) : 0;
}

static void join(builder *b, mt_census_site *to, const sum *s) {
    mt_site_totals totals = mt_sites_totals(&b->tables.sites, s->row);
    to->count += whole(s->count);
    to->bytes += whole(s->bytes);
    to->count_variance += s->count_variance;
    to->bytes_variance += s->bytes_variance;
    if (s->key == key_of(b, s->row)) {
        to->allocated += whole(totals.allocated);
        to->allocated_bytes += whole(totals.allocated_bytes);
        to->peak_bytes += whole(totals.peak_bytes);
        to->peak_count += totals.peak_count;
    }
    if (to->peak_count < to->count) to->peak_count = to->count;
    if (to->peak_bytes < to->bytes) to->peak_bytes = to->bytes;
    if (to->allocated < to->count) to->allocated = to->count;
    if (s->oldest_ns < to->oldest_ns) to->oldest_ns = s->oldest_ns;
    if (s->youngest_ns > to->youngest_ns) to->youngest_ns = s->youngest_ns;
}

/* Of those with the same addresses, which are the last ones, that which led through the same
 * files; or NULL. */
static mt_census_site *site_of(const builder *b, const sum *s) {
    const mt_census *c = &b->census;
    for (uint32_t i = c->sites; i-- > 0;) {
        mt_census_site *site = &c->site[i];
        if (site->frames != s->frames ||
            memcmp(site->stack, s->stack, s->frames * sizeof *s->stack) != 0)
            break;
        if (mt_journal_alike(c->object, c->objects, s->stack, s->frames, site->youngest_ns,
                             s->youngest_ns))
            return site;
    }
    return NULL;
}

/* The same stack has several rows where threads met it at the same time, where something was
 * unloaded in between, and where it differs in what a program without Erlang does not know. */
static bool join_sums(builder *b) {
    size_t words = 0;
    for (uint32_t i = 0; i < b->sums; i++) words += b->sum[i].frames;
    mt_census *c = &b->census;
    c->site = calloc(b->sums + 1, sizeof *c->site);
    b->stacks = malloc((words + 1) * sizeof *b->stacks);
    if (!c->site || !b->stacks) return false;
    if (b->sums) qsort(b->sum, b->sums, sizeof *b->sum, by_stack);
    uint64_t *next = b->stacks;
    const sum *last = NULL;
    for (uint32_t i = 0; i < b->sums; i++) {
        const sum *s = &b->sum[i];
        if (s->count <= 0) continue;
        mt_census_site *site = last && by_stack(s, last) == 0 ? site_of(b, s) : NULL;
        if (!site) {
            memcpy(next, s->stack, s->frames * sizeof *next);
            site = &c->site[c->sites++];
            *site =
                (mt_census_site){.stack = next, .frames = s->frames, .oldest_ns = UINT64_MAX};
            next += s->frames;
        }
        last = s;
        join(b, site, s);
        c->count += whole(s->count);
        c->bytes += whole(s->bytes);
    }
    return true;
}

static void add_counters(mt_census *c, const mt_target *t) {
    static const mt_count allocates[] = {
        MT_COUNT_malloc,       MT_COUNT_calloc,         MT_COUNT_realloc,
        MT_COUNT_reallocarray, MT_COUNT_posix_memalign, MT_COUNT_aligned_alloc,
        MT_COUNT_memalign,     MT_COUNT_valloc,         MT_COUNT_pvalloc};
    uint64_t bytes, blocks, size, total[MT_COUNT_N] = {0};
    char *slab;
    for (uint32_t i = 0;
         (slab = mt_target_part(t, MT_REGION_THREADS, i, &bytes, &blocks, &size)); i++) {
        if (size != sizeof(mt_thread) || blocks > bytes / size) continue;
        const mt_thread *block = (const mt_thread *)(slab + (bytes - blocks * size));
        for (uint64_t k = 0; k < blocks; k++)
            for (int n = 0; n < MT_COUNT_N; n++)
                total[n] += atomic_load_explicit(&block[k].count[n], memory_order_relaxed);
    }
    for (size_t i = 0; i < sizeof allocates / sizeof *allocates; i++)
        c->allocations += total[allocates[i]];
    c->frees =
        total[MT_COUNT_free] + total[MT_COUNT_free_sized] + total[MT_COUNT_free_aligned_sized];
    c->ignored = total[MT_COUNT_ignored];
    c->thinned = total[MT_COUNT_thinned];
}

static void add_room(mt_census *c, const mt_target *t, const mt_tables *tables) {
    c->rows = tables->sites.rows;
    if (t->header->slots < t->header->slots_asked) c->slots_asked = t->header->slots_asked;
    if (!c->exact || !c->ignored) return;
    mt_room room = mt_room_lacked(tables);
    c->no_slots = room.no_slots;
    c->no_rows = room.no_rows;
}

static uint64_t now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void describe(builder *b, const mt_target *t) {
    mt_census *c = &b->census;
    const mt_region_header *h = t->header;
    c->pid = (uint32_t)t->pid;
    c->command = t->command ? t->command : "";
    c->start_ns = h->start_ns;
    c->now_ns = now(CLOCK_MONOTONIC);
    c->wall_ns = now(CLOCK_REALTIME);
    c->exact = h->fixed_interval == 0;
    c->interval =
        h->fixed_interval != MT_ADAPTIVE ? h->fixed_interval : atomic_load(&h->interval);
    c->ended = t->ended || t->final;
    if (t->ended && !t->final) return; /* an earlier picture would mislead */
    c->vss = t->last.vss;
    c->rss = t->last.rss;
    c->shared = t->last.shared;
    for (uint32_t i = 0; b->holds && i < t->last.mappings; i++) {
        const mt_mapping *m = &t->last.mapping[i];
        if (!b->holds[i]) continue;
        c->allocator_virtual += m->hi - m->lo;
        c->allocator_resident += m->resident;
    }
}

mt_census *mt_target_census(mt_target *t, uint64_t older_than_ns) {
    builder *b = calloc(1, sizeof *b);
    if (!b) return NULL;
    b->picture = &t->last;
    b->holds = t->last.mappings ? calloc(t->last.mappings, sizeof *b->holds) : NULL;
    b->born_from = atomic_load(&t->header->reset_ns);
    b->born_to = now(CLOCK_MONOTONIC) - older_than_ns;
    bool well = open_tables(b, t) && add_chunks(b);
    b->census.object = mt_journal_read(t, &b->census.objects, &b->texts);
    b->census.unnoted = mt_journal_left_out(t);
    well = well && join_sums(b);
    describe(b, t);
    add_counters(&b->census, t);
    add_room(&b->census, t, &b->tables);
    b->census.memory = b;
    free(b->index);
    free(b->sum);
    free(b->holds);
    if (well) return &b->census;
    mt_census_free(&b->census);
    return NULL;
}

void mt_census_free(mt_census *census) {
    builder *b = census ? census->memory : NULL;
    if (!b) return;
    free(b->census.site);
    free(b->census.object);
    free(b->stacks);
    free(b->texts);
    free(b);
}
