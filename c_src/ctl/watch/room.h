/* room: what there was no room for where chunks were ignored, as the tables show it.
 *
 * The counter of ignored chunks does not say why. But a chunk finds no slot only where a whole
 * set of the last level is taken, and no row only where a whole window of rows is, which takes
 * a table that is full but for a small rest: a cell or a row that was used once shows that for
 * good. So what is not lacking is known for sure, and what may have been is said.
 */
#ifndef MT_CTL_ROOM_H
#define MT_CTL_ROOM_H

#include "tables.h"

typedef struct mt_room {
    bool no_slots; /* a chunk's last choice was taken at some time */
    bool no_rows;  /* so many stacks that a new one may have found no row */
} mt_room;

/* Cost: that of reading a byte for each row and the tags of the last level. */
mt_room mt_room_lacked(const mt_tables *tables);

#endif
