/* log_text: text on its way out: collected here, written in large pieces; and names of other
 * people's files made harmless.
 *
 * One thread. Where the reader has closed the pipe the program ends, silently, with status 0;
 * where nothing can be written (a full disk) it ends with a sentence and MT_EXIT_FAILED.
 */
#ifndef MT_CTL_LOG_TEXT_H
#define MT_CTL_LOG_TEXT_H

#include <stddef.h>
#include <stdint.h>

typedef struct mt_text {
    char *bytes;
    size_t used, room;
    int fd; /* -1: it stays here, and the room grows */
} mt_text;

/* Ends the program with a sentence where there is no memory, as everything below. */
void mt_text_open(mt_text *text, int fd);
void mt_text_flush(mt_text *text);
void mt_text_close(mt_text *text); /* flushes */

void mt_text_put(mt_text *text, const char *bytes, size_t n);
void mt_text_str(mt_text *text, const char *string);
void mt_text_print(mt_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void mt_text_number(mt_text *text, uint64_t number);
void mt_text_hex(mt_text *text, uint64_t number); /* 0x before it */

/* Bytes of any kind. What is no UTF-8 becomes U+FFFD. */
void mt_text_json(mt_text *text, const char *name);  /* the inside of a JSON string */
void mt_text_plain(mt_text *text, const char *name); /* for a terminal: no control characters */
void mt_text_quoted(mt_text *text, const char *name); /* a field of RFC 4180, quotes included */

/* 1536 as 1.536 KB, as heaptrace counts. */
void mt_text_size(mt_text *text, uint64_t bytes);
/* 6.236 ms, 12.000 s, 3 h 20 min. */
void mt_text_age(mt_text *text, uint64_t ns);

/* malloc, calloc, realloc that end the program where there is no memory: a reader that cannot
 * hold what it must know has nothing to say. `bytes` overflowing counts as none. */
void *mt_text_need(void *pointer);
void *mt_text_grow(void *array, size_t n, size_t *room, size_t size);

#endif
