/* linked: one object as the dynamic linker has it mapped, seen from a callback of
 * dl_iterate_phdr, while which nothing is unmapped. An object may be seen before the linker has
 * relocated it: then its slots still hold addresses of the file.
 *
 * Reads what the linker itself works with; allocates nothing. Not for hooks.
 */
#ifndef MT_HOOK_LINKED_H
#define MT_HOOK_LINKED_H

#include <link.h>
#include <stdbool.h>
#include <stdint.h>

#include "record/slots.h"

enum { MT_LINKED_SEGMENTS = 8 };

typedef struct mt_linked {
    const char *path; /* "" for the program */
    mt_slots slots;
    uintptr_t lo, hi; /* of all segments */
    uint32_t codes;   /* executable segments */
    struct {
        uintptr_t lo, hi;
    } code[MT_LINKED_SEGMENTS], relro; /* relro: whole pages, made read-only after relocation */
    bool program;
} mt_linked;

/* The first object of an iteration is the program. */
mt_linked mt_linked_of(const struct dl_phdr_info *info, bool program);

/* True for this object and for a copy of its file: both export mtrace_core. */
bool mt_linked_is_ours(const mt_linked *object);

/* True for what must keep its slots: the dynamic linker, the kernel's page, ours, and libdw and
 * libelf, whose slots belong to name/libdw. */
bool mt_linked_is_left_alone(const mt_linked *object);

static inline bool mt_linked_holds(const mt_linked *object, const void *address) {
    return (uintptr_t)address - object->lo < object->hi - object->lo;
}

bool mt_linked_is_code(const mt_linked *object, const void *address);

#endif
