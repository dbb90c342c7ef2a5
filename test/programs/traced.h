/* traced: what a test program that runs under the preload asks the core, through the interface
 * that the NIF uses, and how it says that something is wrong. */
#ifndef TRACED_H
#define TRACED_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "serve/core.h"

#define CHECK(condition)                                                                       \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);            \
            _Exit(1);                                                                          \
        }                                                                                      \
    } while (0)

static inline const mt_core *traced_core(void) {
    const mt_core *core = dlsym(RTLD_DEFAULT, "mtrace_core");
    CHECK(core && core->version == MT_CORE_VERSION);
    return core;
}

static inline uint64_t traced_count(mt_count which) {
    mt_stats stats;
    traced_core()->stats(&stats);
    return stats.count[which];
}

/* How many records there are of this address, and the last one's size. */
static inline int traced_find(const void *address, uint64_t *size) {
    static mt_record records[1 << 16];
    uint32_t n = traced_core()->snapshot(records, 1 << 16);
    int found = 0;
    for (uint32_t i = 0; i < n; i++)
        if (records[i].chunk.address == (uintptr_t)address) {
            found++;
            if (size) *size = records[i].chunk.size;
        }
    return found;
}

#endif
