/* jit: makes one sorted array of what the VM says about its code. */
#include "jit.h"

#include "jit_list.h"
#include "jit_symfile.h"
#include "perf_map.h"

/* The ranges of all modules that are not overlapped by a newer one. */
static int gather(mt_jit *jit, const mt_jit_symfile *files, uint32_t n) {
    uint64_t room = 0;
    mt_jit_span *span = mt_arena_take(&jit->arena, n * sizeof *span);
    if (!span) return -1;
    for (uint32_t i = 0; i < n; i++)
        span[i] = (mt_jit_span){files[i].base, files[i].base + files[i].code_size, i, i};
    n = mt_jit_settle(span, n);
    for (uint32_t i = 0; i < n; i++) room += files[span[i].item].ranges;
    jit->range = mt_arena_take(&jit->arena, room * sizeof *jit->range);
    if (!jit->range) return -1;
    for (uint32_t i = 0; i < n; i++)
        jit->n += mt_jit_symfile_ranges(&files[span[i].item], jit->range + jit->n);
    return jit->n ? 0 : -1;
}

int mt_jit_read(mt_jit *jit) {
    mt_jit_symfile *files;
    uint32_t n;
    if (mt_jit_list_read(&jit->arena, &files, &n) == 0 && gather(jit, files, n) == 0) return 0;
    mt_jit_empty(jit);
    if (mt_perf_map_read_own(&jit->arena, &jit->range, &jit->n) == 0) return 0;
    mt_jit_empty(jit);
    return -1;
}

bool mt_jit_find(const mt_jit *jit, uintptr_t address, mt_erlang *found) {
    *found = (mt_erlang){0};
    const mt_jit_range *range = mt_jit_range_find(jit->range, jit->n, address);
    if (!range) return false;
    found->name = range->name;
    mt_jit_symfile_line(range, address, &found->file, &found->line);
    return true;
}

void mt_jit_empty(mt_jit *jit) {
    mt_arena_empty(&jit->arena);
    jit->range = NULL;
    jit->n = 0;
}
