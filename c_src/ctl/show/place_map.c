/* place_map: see the header. */
#include "place_map.h"

#include <stdlib.h>
#include <string.h>

static uint32_t *slot_of(mt_place_map *map, const mt_names_place *place) {
    uint64_t h = (uintptr_t)place * 0x9e3779b97f4a7c15ull;
    for (uint32_t i = (uint32_t)(h >> 32);; i++) {
        uint32_t *slot = &map->slot[i & (map->slots - 1)];
        if (!*slot || map->place[*slot - 1] == place) return slot;
    }
}

static bool grow(mt_place_map *map) {
    if (map->n < map->slots / 2) return true;
    uint32_t slots = map->slots ? 2 * map->slots : 1024;
    uint32_t *more = slots ? calloc(slots, sizeof *more) : NULL;
    const mt_names_place **place = more ? realloc(map->place, slots / 2 * sizeof *place) : NULL;
    if (!place) return free(more), false;
    free(map->slot);
    map->slot = more;
    map->slots = slots;
    map->place = place;
    for (uint32_t i = 0; i < map->n; i++) *slot_of(map, place[i]) = i + 1;
    return true;
}

int64_t mt_place_map_number(mt_place_map *map, const mt_names_place *place, bool *added) {
    if (!grow(map)) return -1;
    uint32_t *slot = slot_of(map, place);
    *added = !*slot;
    if (*added) {
        map->place[map->n] = place;
        *slot = ++map->n;
    }
    return *slot - 1;
}

void mt_place_map_free(mt_place_map *map) {
    free(map->place);
    free(map->slot);
    memset(map, 0, sizeof *map);
}
