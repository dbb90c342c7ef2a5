/* bytes: a file that grows in memory and is then written at once, and a table of its texts.
 *
 * Without memory they remember that, and the writing fails. One thread.
 */
#ifndef MT_CTL_BYTES_H
#define MT_CTL_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialised is empty. */
typedef struct mt_bytes {
    uint8_t *data;
    size_t n, room;
    bool failed;
} mt_bytes;

void mt_bytes_add(mt_bytes *bytes, const void *data, size_t n);
/* Zeroes up to a multiple of 8. */
void mt_bytes_fill(mt_bytes *bytes);
void mt_bytes_free(mt_bytes *bytes);

/* Replaces the file at `path` by these bytes, mode 0600: whole or not at all, unless it is a
 * pipe or a device. 0, or -1 and it has been said. */
int mt_bytes_write(const mt_bytes *bytes, const char *path);

/* Different texts, one behind the other, each ending in 0. The first is empty. */
typedef struct mt_texts {
    mt_bytes bytes;
    size_t *offset; /* by number */
    uint32_t n;
    uint32_t *slot; /* open addressing, at most half full: number + 1 */
    uint32_t slots;
} mt_texts;

/* The number of this text, from 0; of NULL and without memory 0. Texts are cut at 4095 bytes.
 */
uint32_t mt_texts_number(mt_texts *texts, const char *text);
void mt_texts_free(mt_texts *texts);

#endif
