/* log_out: text on its way out: collected here, written in large pieces; and names of other
 * people's files made harmless.
 *
 * One thread. Where the reader has closed the pipe the program ends, silently, with status 0;
 * where nothing can be written (a full disk) it ends with a sentence and MT_EXIT_FAILED.
 */
#ifndef MT_CTL_LOG_OUT_H
#define MT_CTL_LOG_OUT_H

#include <stddef.h>
#include <stdint.h>

typedef struct mt_out {
    char *bytes;
    size_t used, room;
    int fd; /* -1: it stays here, and the room grows */
} mt_out;

/* Ends the program with a sentence where there is no memory, as everything below. */
void mt_out_open(mt_out *text, int fd);
void mt_out_flush(mt_out *text);
void mt_out_close(mt_out *text); /* flushes */

void mt_out_put(mt_out *text, const char *bytes, size_t n);
void mt_out_str(mt_out *text, const char *string);
void mt_out_print(mt_out *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void mt_out_number(mt_out *text, uint64_t number);
void mt_out_hex(mt_out *text, uint64_t number); /* 0x before it */

/* Bytes of any kind. What is no UTF-8 becomes U+FFFD. */
void mt_out_json(mt_out *text, const char *name);   /* the inside of a JSON string */
void mt_out_plain(mt_out *text, const char *name);  /* for a terminal: no control characters */
void mt_out_quoted(mt_out *text, const char *name); /* a field of RFC 4180, quotes included */

/* As sizes.h writes them. */
void mt_out_size(mt_out *text, uint64_t bytes);
void mt_out_age(mt_out *text, uint64_t ns);

/* malloc, calloc, realloc that end the program where there is no memory: a reader that cannot
 * hold what it must know has nothing to say. `bytes` overflowing counts as none. */
void *mt_out_need(void *pointer);
void *mt_out_grow(void *array, size_t n, size_t *room, size_t size);

#endif
