/* plain: text out of other people's files, made fit for a terminal. It may be any bytes and of
 * any length.
 */
#ifndef MT_CTL_PLAIN_H
#define MT_CTL_PLAIN_H

#include <stddef.h>

/* Writes `text` to `out`, ending in 0, and returns the length. Valid UTF-8 stays; control
 * characters (C0, C1, DEL), what turns the direction of writing, and bytes that are no UTF-8
 * become \xNN. Where it does not fit `room`, which is at least 16, its middle becomes "...".
 * Cost: that of `room`, and of strlen. */
size_t mt_plain(char *out, size_t room, const char *text);

#endif
