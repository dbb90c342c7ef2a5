/* sizes: how bytes and times are written everywhere, and read in options.
 *
 * KB, MB, GB and TB are powers of 1000, with three digits behind the point, cut off and not
 * rounded: 22.704 KB are 22704 bytes. Times: ns, us, ms and secs alike; "2 mins 3 secs", "1
 * hours 5 mins".
 */
#ifndef MT_CTL_SIZES_H
#define MT_CTL_SIZES_H

#include <stdbool.h>
#include <stdint.h>

typedef struct mt_text {
    char text[48];
} mt_text;

mt_text mt_size_text(uint64_t bytes);

/* With a sign, always: by how much something grew or shrank. */
mt_text mt_change_text(uint64_t before, uint64_t after);

/* "1 chunk", "44 chunks". `what` is short. */
mt_text mt_count_text(uint64_t n, const char *what);

mt_text mt_time_text(uint64_t ns);

/* "500ms", "10s", "5m", "2h", "1d", "0.5s"; "us" and "ns" too. A number alone is seconds. False
 * if it is none of these. */
bool mt_time_parse(const char *text, uint64_t *ns);

#endif
