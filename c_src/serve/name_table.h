/* name_table: names by address and object: open addressing, at most half full. One thread at a
 * time; not for hooks. */
#ifndef MT_SERVE_NAME_TABLE_H
#define MT_SERVE_NAME_TABLE_H

#include "name/objects.h"
#include "naming.h"

/* Zero-initialised is empty. */
typedef struct mt_name_table {
    mt_name **slot;
    uint32_t slots, n;
} mt_name_table;

/* The name of this address in this object, whose path it refers to, or in none (NULL). Where
 * there is none yet it is made in the arena, and nothing is known of it. NULL without memory.
 */
mt_name *mt_name_table_get(mt_name_table *table, mt_arena *arena, uintptr_t address,
                           const mt_object *object);

/* Gives back the table; the names are their arena's. */
void mt_name_table_unmap(mt_name_table *table);

#endif
