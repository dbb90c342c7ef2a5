/* tables: a target's tables of chunks and sites, to be read by the core's own code. What does
 * not lie whole within the target's memory is left out. Valid as long as the target. */
#ifndef MT_CTL_TABLES_H
#define MT_CTL_TABLES_H

#include "record/chunks.h"
#include "record/sites.h"
#include "record/thread.h"
#include "target.h"

enum { MT_TABLES_LEVELS = 8, MT_TABLES_FRAMES = MT_KEY_MAX };

typedef struct mt_tables {
    mt_sites sites; /* rows 0: there is none */
    mt_chunks level[MT_TABLES_LEVELS];
    uint32_t levels;
} mt_tables;

void mt_tables_open(mt_tables *tables, const mt_target *target);

/* The native frames of a row that is held, at most MT_TABLES_FRAMES; returns how many. */
uint32_t mt_tables_stack(const mt_tables *tables, uint32_t row, uint64_t *stack);

/* Calls `f` with a copy of each chunk that is alive. The stack of one that is freed at that
 * very moment may be another's by the time it is read. */
typedef void mt_tables_visit(const mt_chunk *chunk, void *context);
void mt_tables_each(const mt_tables *tables, mt_tables_visit *f, void *context);

#endif
