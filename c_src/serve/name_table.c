/* name_table: see the header. */
#include "name_table.h"

enum { FIRST_SLOTS = 8192 };

static mt_name **slot_of(const mt_name_table *table, uintptr_t address, uint32_t object) {
    uint64_t h = (address ^ (uint64_t)object << 48) * 0x9e3779b97f4a7c15ull;
    for (uint32_t i = (uint32_t)(h >> 40);; i++) {
        mt_name **slot = &table->slot[i % table->slots];
        if (!*slot || ((*slot)->address == address && (*slot)->object == object)) return slot;
    }
}

void mt_name_table_unmap(mt_name_table *table) {
    mt_memory_unmap(table->slot, table->slots * sizeof *table->slot);
    *table = (mt_name_table){0};
}

/* Room for one more. */
static bool grow(mt_name_table *table) {
    if (table->n < table->slots / 2) return true;
    mt_name_table more = {.slots = table->slots ? 2 * table->slots : FIRST_SLOTS,
                          .n = table->n};
    more.slot = mt_memory_map(more.slots * sizeof *more.slot);
    if (!more.slot) return false;
    for (uint32_t i = 0; i < table->slots; i++)
        if (table->slot[i])
            *slot_of(&more, table->slot[i]->address, table->slot[i]->object) = table->slot[i];
    mt_name_table_unmap(table);
    *table = more;
    return true;
}

mt_name *mt_name_table_get(mt_name_table *table, mt_arena *arena, uintptr_t address,
                           const mt_object *object) {
    if (!grow(table)) return NULL;
    mt_name **slot = slot_of(table, address, object ? object->number : 0);
    mt_name *name = *slot;
    if (name) return name;
    name = mt_arena_take(arena, sizeof *name);
    mt_named_frame *frame = name ? mt_arena_take(arena, sizeof *frame) : NULL;
    if (!frame) return NULL;
    *name = (mt_name){.address = address, .frames = 1, .index = UINT32_MAX, .frame = frame};
    if (object) {
        name->object = object->number;
        name->library = object->path;
        name->base = object->base;
    }
    table->n++;
    return *slot = name;
}
