/* place_map: a number for each different place, from 0 in the order of meeting. */
#ifndef MT_CTL_PLACE_MAP_H
#define MT_CTL_PLACE_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "names.h"

/* Zero-initialised is empty. */
typedef struct mt_place_map {
    const mt_names_place **place; /* by number */
    uint32_t n;
    uint32_t *slot; /* open addressing, at most half full: number + 1 */
    uint32_t slots;
} mt_place_map;

/* Its number, or -1 without memory. `*added`: it is new. */
int64_t mt_place_map_number(mt_place_map *map, const mt_names_place *place, bool *added);

void mt_place_map_free(mt_place_map *map);

#endif
