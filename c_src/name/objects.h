/* objects: which file is mapped where in this process, and which was, as the dynamic linker
 * tells.
 *
 * The linker is asked now and then, and what it says is compared with what it said before:
 *
 *        picture        picture                picture       picture
 *   ───────┼───────────────┼──────────────────────┼─────────────┼────▶ time
 *          │ since         │ seen            last │       until │
 *          │  it may have  │  it was mapped       │  it may     │
 *          │  been loaded  │                      │  have gone  │
 *
 * An address belongs to an object together with a moment: that at which the chunk was allocated
 * whose stack it stands in. If two objects may have been there at that moment it belongs to
 * none. Whoever unloads asks for a picture before and one after, so that this is rare and an
 * object that came and went between two snapshots is known. Of those that are gone the last
 * 256 are remembered. (Objects that the C library itself loads and unloads, as for iconv, are
 * seen only if they are mapped when a picture is taken.)
 *
 * One thread at a time. Not for hooks of the malloc family: dl_iterate_phdr takes the loader's
 * lock. Allocates nothing through malloc; some KiB a hundred objects.
 */
#ifndef MT_NAME_OBJECTS_H
#define MT_NAME_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>

#include "memory.h"
#include "symbols.h"

enum { MT_OBJECT_EXTENTS = 4, MT_OBJECTS_GONE = 256 };

#define MT_OBJECT_THERE UINT64_MAX

typedef struct mt_object {
    struct mt_object *next;
    const char *path; /* as the loader has it; the program's own is resolved */
    uintptr_t base;   /* what is added to the addresses in the file */
    uint32_t number;  /* its own; again if it comes back to its place */
    uint32_t extents; /* of its executable segments, at most MT_OBJECT_EXTENTS are known */
    struct {
        uintptr_t lo, hi;
    } extent[MT_OBJECT_EXTENTS];
    uint64_t since_ns, seen_ns, last_ns, until_ns; /* see above; MT_OBJECT_THERE: not gone */
    mt_elf_identity identity;
} mt_object;

typedef struct mt_code {
    uint64_t lo, hi; /* lo first: mt_memory_search */
    const mt_object *object;
} mt_code;

/* Zero-initialised is empty. */
typedef struct mt_objects {
    mt_arena arena;
    mt_object *there, *gone; /* mapped at the last picture; the others, the latest first */
    mt_code *code;           /* of what is mapped, sorted by address */
    uint32_t codes, code_room, numbers;
    uint64_t adds, subs; /* the loader's counts of what came and went */
    uint64_t read_ns;    /* of the last picture */
    size_t kept_bytes;   /* of the arena, after the last time it was copied */
    bool read;
} mt_objects;

/* Takes a picture; if nothing has come or gone since the last one that costs a microsecond,
 * else some 2 us an object. `now_ns` of the clock that the chunks' times are of. 0, or -1
 * without memory: the objects are then what they were. */
int mt_objects_read(mt_objects *objects, uint64_t now_ns);

/* The object whose code held this address at that moment, or NULL if none or none for sure. It
 * is valid until the next picture. */
const mt_object *mt_objects_find(const mt_objects *objects, uintptr_t address, uint64_t at_ns);

/* Gives everything back. */
void mt_objects_empty(mt_objects *objects);

#endif
