/* log_ids: numbers that a log gave to things, in the order of their coming: 32 bits of any
 * kind on one side, 0, 1, 2, … on the other. One thread. */
#ifndef MT_CTL_LOG_IDS_H
#define MT_CTL_LOG_IDS_H

#include <stdint.h>

typedef struct mt_log_ids {
    struct mt_log_id {
        uint32_t id, index; /* index + 1; 0: the cell is empty */
    } * cell;
    uint32_t count, cells; /* cells: a power of two, or 0 */
} mt_log_ids;

enum { MT_LOG_NO_ID = UINT32_MAX };

uint32_t mt_log_ids_find(const mt_log_ids *ids, uint32_t id); /* MT_LOG_NO_ID: none */
uint32_t mt_log_ids_add(mt_log_ids *ids, uint32_t id);        /* or find */
void mt_log_ids_close(mt_log_ids *ids);

#endif
