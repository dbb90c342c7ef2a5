/* log_ids: numbers that a log gave to things, in the order of their coming: 32 bits of any
 * kind on one side, 0, 1, 2, … on the other. One thread. */
#ifndef MT_CTL_LOG_IDS_H
#define MT_CTL_LOG_IDS_H

#include <stdint.h>

typedef struct mt_logged_ids {
    struct mt_logged_id {
        uint32_t id, index; /* index + 1; 0: the cell is empty */
    } * cell;
    uint32_t count, cells; /* cells: a power of two, or 0 */
} mt_logged_ids;

enum { MT_LOG_NO_ID = UINT32_MAX };

uint32_t mt_logged_ids_find(const mt_logged_ids *ids, uint32_t id); /* MT_LOG_NO_ID: none */
uint32_t mt_logged_ids_add(mt_logged_ids *ids, uint32_t id);        /* or find */
void mt_logged_ids_close(mt_logged_ids *ids);

#endif
