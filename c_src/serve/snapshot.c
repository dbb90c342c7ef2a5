/* snapshot: copies out of the tables; writes nothing into them. */
#include "snapshot.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "hook/thunks.h"
#include "name/memory.h"

/* What is no context word, or not of this stack, was torn: the tag will say so. */
static void read_key(const mt_sites *sites, mt_record *r) {
    uintptr_t key[MT_FRAMES_MAX + 1];
    uint32_t n = mt_sites_copy(sites, r->chunk.site, key, MT_FRAMES_MAX + 1);
    uint64_t word = n ? key[n - 1] : 0;
    r->frames = r->native = 0;
    if (n == 0 || mt_context_native(word) + mt_context_erlang(word) != n - 1) return;
    r->allocator = mt_context_allocator(word);
    r->caller = mt_context_caller(word);
    for (uint32_t i = 0; i < n - 1; i++) {
        bool native = i < mt_context_native(word);
        if (native && mt_thunks_is_frame(key[i])) continue; /* ours, between the VM and a NIF */
        r->stack[r->frames++] = key[i];
        r->native += native;
    }
}

/* Copies one record; false if there is none, or it changed meanwhile. */
static bool copy(const mt_levels *chunks, const mt_sites *sites, int32_t cell, mt_record *r) {
    uint64_t tag = mt_levels_peek(chunks, cell, &r->chunk);
    if (!tag) return false;
    read_key(sites, r);
    r->totals = mt_sites_totals(sites, r->chunk.site);
    return mt_levels_unchanged(chunks, cell, tag);
}

uint32_t mt_snapshot_take(const mt_levels *chunks, const mt_sites *sites, mt_record *records,
                          uint32_t max) {
    uint32_t n = 0;
    for (int32_t i = 0; n < max && (i = mt_levels_next(chunks, i)) >= 0; i++)
        n += copy(chunks, sites, i, &records[n]);
    return n;
}

typedef struct {
    uint64_t born_ns, address;
    int32_t cell;
} candidate;

static int by_birth(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    if (x->born_ns != y->born_ns) return x->born_ns < y->born_ns ? -1 : 1;
    return x->address < y->address ? -1 : x->address > y->address;
}

/* A heap of the oldest so far, the youngest of them on top. */
static void offer(candidate *heap, uint32_t *n, uint32_t max, candidate c) {
    uint32_t at;
    if (*n < max) {
        for (at = (*n)++; at > 0 && by_birth(&heap[(at - 1) / 2], &c) < 0; at = (at - 1) / 2)
            heap[at] = heap[(at - 1) / 2];
        heap[at] = c;
        return;
    }
    if (by_birth(&c, &heap[0]) >= 0) return;
    for (at = 0;;) {
        uint32_t child = 2 * at + 1;
        if (child >= *n) break;
        if (child + 1 < *n && by_birth(&heap[child], &heap[child + 1]) < 0) child++;
        if (by_birth(&c, &heap[child]) >= 0) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = c;
}

uint32_t mt_snapshot_oldest(const mt_levels *chunks, const mt_sites *sites, mt_record *records,
                            uint32_t max) {
    uint32_t chosen = 0, n = 0;
    candidate *heap = max ? mt_memory_map(max * sizeof *heap) : NULL;
    if (!heap) return 0;
    for (int32_t i = 0; (i = mt_levels_next(chunks, i)) >= 0; i++) {
        mt_chunk c;
        if (mt_levels_peek(chunks, i, &c))
            offer(heap, &chosen, max, (candidate){c.born_ns, c.address, i});
    }
    mt_memory_sort(heap, chosen, sizeof *heap, by_birth);
    for (uint32_t i = 0; i < chosen; i++) {
        mt_record *r = &records[n];
        if (!copy(chunks, sites, heap[i].cell, r)) continue;
        n += r->chunk.born_ns == heap[i].born_ns && r->chunk.address == heap[i].address;
    }
    mt_memory_unmap(heap, max * sizeof *heap);
    return n;
}
