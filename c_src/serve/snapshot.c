/* snapshot: copies out of the tables; writes nothing into them. */
#include "snapshot.h"

#include "name/memory.h"

uint32_t mt_snapshot_take(const mt_chunks *chunks, const mt_sites *sites, mt_record *records,
                          uint32_t max) {
    uint32_t n = 0;
    for (int32_t i = 0; i < mt_chunks_slots(chunks) && n < max; i++) {
        mt_record *r = &records[n];
        uint64_t tag = mt_chunks_peek(chunks, i, &r->chunk);
        if (!tag) continue;
        r->frames = mt_sites_copy(sites, r->chunk.site, r->stack, MT_DEPTH_MAX);
        if (mt_chunks_unchanged(chunks, i, tag)) n++;
    }
    return n;
}

static int by_birth(const void *a, const void *b) {
    const mt_chunk *x = &(*(mt_record *const *)a)->chunk, *y = &(*(mt_record *const *)b)->chunk;
    if (x->born_ns != y->born_ns) return x->born_ns < y->born_ns ? -1 : 1;
    return x->address < y->address ? -1 : x->address > y->address;
}

void mt_snapshot_sort(mt_record **order, uint32_t n) {
    mt_memory_sort(order, n, sizeof *order, by_birth);
}
