/* tables: see the header. Cells that were never used are not looked at: that would make them
 * take memory. */
#include "tables.h"

#include "record/context.h"

enum { SETS_MAX = 1 << 27, ROWS_MAX = 1 << 27 };

static void find_sites(mt_tables *t, const mt_target *target) {
    uint64_t bytes, rows, depth;
    void *memory = mt_target_part(target, MT_REGION_SITES, 0, &bytes, &rows, &depth);
    t->sites.rows = 0;
    if (!memory || rows == 0 || rows > ROWS_MAX || depth == 0 || depth > MT_TABLES_FRAMES)
        return;
    if (mt_sites_at(&t->sites, memory, (uint32_t)rows, (uint32_t)depth) != 0 ||
        t->sites.bytes > bytes)
        t->sites.rows = 0;
}

void mt_tables_open(mt_tables *t, const mt_target *target) {
    uint64_t bytes, sets, unused;
    void *memory;
    find_sites(t, target);
    t->levels = 0;
    for (uint32_t i = 0;
         t->levels < MT_TABLES_LEVELS &&
         (memory = mt_target_part(target, MT_REGION_CHUNKS, i, &bytes, &sets, &unused));
         i++) {
        if (sets == 0 || sets > SETS_MAX || (sets & (sets - 1)) ||
            mt_chunks_bytes((uint32_t)sets) > bytes)
            continue;
        mt_chunks_at(&t->level[t->levels++], memory, (uint32_t)sets);
    }
}

uint32_t mt_tables_stack(const mt_tables *t, uint32_t row, uint64_t *stack) {
    uintptr_t words[MT_TABLES_FRAMES];
    uint32_t n = mt_sites_copy(&t->sites, row, words, MT_TABLES_FRAMES);
    uint32_t frames = n ? mt_context_native(words[n - 1]) : 0;
    if (frames >= n) frames = n ? n - 1 : 0;
    for (uint32_t i = 0; i < frames; i++) stack[i] = words[i];
    return frames;
}

void mt_tables_each(const mt_tables *t, mt_tables_visit *f, void *context) {
    for (uint32_t l = 0; l < t->levels; l++)
        for (int32_t i = 0; (i = mt_chunks_next(&t->level[l], i)) >= 0; i++) {
            mt_chunk chunk;
            if (mt_chunks_peek(&t->level[l], i, &chunk)) f(&chunk, context);
        }
}
