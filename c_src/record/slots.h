/* slots: the words of one loaded object through which it calls functions of others, as the
 * dynamic linker filled them in (DT_JMPREL, DT_RELA, DT_REL: System V gABI, chapter 5).
 *
 * For a way out of an object's own habits: unwind points libunwind's calls of write and pipe2
 * somewhere harmless; and for redirect, which points everybody's at us. What is read is what
 * the dynamic linker has checked and works with itself; the object must stay loaded meanwhile.
 * Never called by a hook.
 */
#ifndef MT_RECORD_SLOTS_H
#define MT_RECORD_SLOTS_H

#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where an object's relocations, symbols and names lie: a plain copy of addresses. */
typedef struct mt_slots {
    const ElfW(Sym) * symbols;
    const char *strings;
    const uint32_t *gnu_hash;
    uintptr_t table[3]; /* of relocations: PLT, RELA, REL */
    size_t bytes[3];
    size_t entry[3];
    uintptr_t base;
} mt_slots;

typedef enum mt_slot_kind {
    MT_SLOT_OTHER = 0,
    MT_SLOT_CALL,    /* JUMP_SLOT: filled at the first call, unless all are when it is loaded */
    MT_SLOT_ADDRESS, /* GLOB_DAT */
    MT_SLOT_WORD     /* a word of data, which the program may have changed since */
} mt_slot_kind;

typedef struct mt_slot {
    void **at;
    const char *name;
    const ElfW(Sym) * symbol; /* of this object; undefined in it, or its own definition */
    mt_slot_kind kind;
} mt_slot;

/* The slots of the object that is loaded at `base` with this dynamic section. */
mt_slots mt_slots_of(uintptr_t base, const ElfW(Dyn) * dynamic);

/* Calls `visit` for each slot that has a name, until it returns other than 0; returns that. */
typedef int mt_slots_visit(const mt_slot *slot, void *context);
int mt_slots_each(const mt_slots *of, mt_slots_visit *visit, void *context);

/* True if the object defines a symbol of this name for others. Looked up by GNU's hash, which
 * all objects of glibc's systems have. */
bool mt_slots_defines(const mt_slots *in, const char *name);

/* Points every slot of `object` that stands for the function `name` at `target`, unprotecting
 * read-only pages for that moment. The object must stay loaded meanwhile. Returns how many
 * slots were set, 0 if the object does not import the name, -1 if a page could not be made
 * writable. Not for an object that another thread is still loading. */
int mt_slots_point(const struct link_map *object, const char *name, void *target);

#endif
