/* objects: which file is mapped where in this process, as the dynamic linker knows it.
 *
 * A list belongs to one thread at a time and is a moment's picture: an object that was
 * unloaded since is still in it. Not for hooks: dl_iterate_phdr takes the loader's lock.
 */
#ifndef MT_NAME_OBJECTS_H
#define MT_NAME_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>

#include "memory.h"
#include "symbols.h"

typedef struct mt_object {
    const char *path; /* as the loader has it; the program's own is resolved */
    uintptr_t base;   /* what is added to the addresses in the file */
    mt_elf_identity identity;
    mt_symbols symbols; /* loaded when first asked for */
    bool asked;
} mt_object;

typedef struct mt_code {
    uintptr_t lo, hi; /* one executable segment */
    mt_object *object;
} mt_code;

/* Zero-initialised is empty. */
typedef struct mt_objects {
    mt_arena arena;
    mt_code *code; /* sorted by address */
    uint32_t n;
} mt_objects;

/* Takes the picture. 0, or -1 without memory: the list is then empty. */
int mt_objects_read(mt_objects *objects);

/* Gives everything back, symbols too. */
void mt_objects_empty(mt_objects *objects);

/* The object whose code holds this address, or NULL. */
mt_object *mt_objects_find(const mt_objects *objects, uintptr_t address);

/* The function that holds this address, as its symbol tables spell it, or NULL. The string
 * lives as long as the list. The first question about an object reads its file. */
const char *mt_objects_symbol(mt_object *object, uintptr_t address);

#endif
