/* log_live: the chunks that are live at one moment of a log, by address.
 *
 * Open addressing with linear probes, at most 5/8 full; what is taken out leaves no mark, the
 * chunks behind it move up (Knuth, 6.4, algorithm R). Two chunks lie in a line of the cache,
 * which is fetched some events ahead.
 *
 * It never shrinks: memory is that of the most chunks that were live at once. One thread.
 */
#ifndef MT_CTL_LOG_LIVE_H
#define MT_CTL_LOG_LIVE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct mt_logged_chunk {
    uint64_t address; /* 0: an empty cell */
    uint64_t size, time;
    uint32_t stack, thread; /* numbers */
} mt_logged_chunk;

typedef struct mt_logged_live {
    mt_logged_chunk *cell;
    uint64_t cells, count; /* cells: a power of two */
    unsigned shift;
} mt_logged_live;

void mt_logged_live_open(mt_logged_live *live);
void mt_logged_live_close(mt_logged_live *live);

/* Puts a chunk in, its address not 0. True: there was one at that address, it is in *before. */
bool mt_logged_live_put(mt_logged_live *live, const mt_logged_chunk *chunk,
                        mt_logged_chunk *before);

/* Takes the one at this address out, into *chunk. False: there is none. */
bool mt_logged_live_take(mt_logged_live *live, uint64_t address, mt_logged_chunk *chunk);

static inline uint64_t mt_logged_live_home(const mt_logged_live *live, uint64_t address) {
    return (address >> 3) * 0x9e3779b97f4a7c15ull >> live->shift;
}

static inline void mt_logged_live_fetch(const mt_logged_live *live, uint64_t address) {
    __builtin_prefetch(&live->cell[mt_logged_live_home(live, address)], 1);
}

#endif
