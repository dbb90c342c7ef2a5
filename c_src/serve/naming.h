/* naming: gives a snapshot's addresses their names. Reads files and may take a second the
 * first time; it allocates nothing through the malloc family and keeps nothing afterwards.
 */
#ifndef MT_SERVE_NAMING_H
#define MT_SERVE_NAMING_H

#include <stdbool.h>
#include <stdint.h>

#include "core.h"
#include "name/objects.h"
#include "snapshot.h"

typedef struct mt_named_frame {
    const char *library; /* NULL: the address lies in no object */
    const char *symbol;  /* NULL: unknown */
} mt_named_frame;

typedef struct mt_named {
    uint64_t ns; /* what the names of this stack took to find */
    mt_named_frame frame[MT_DEPTH_MAX];
} mt_named;

/* Owns all strings in its results. Zero-initialised is empty. */
typedef struct mt_naming {
    mt_objects objects;
    mt_arena arena;
} mt_naming;

/* Names the stacks of n records into `named`. With `demangle` on a thread of its own, whose
 * stack is large enough for libiberty; where none can be had names stay as they are. `guard`
 * keeps what the C library allocates for that thread out of the records. 0, or -1 without
 * memory. Not for hooks; any thread. */
int mt_naming_run(mt_naming *naming, const mt_record *records, uint32_t n, bool demangle,
                  void (*guard)(int step), mt_named *named);

void mt_naming_empty(mt_naming *naming);

#endif
