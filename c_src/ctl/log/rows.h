/* log_rows: events as lines of CSV: function;thread;address;size;ms;stack, as the tool
 * malloc-trace writes them, quoted by RFC 4180.
 *
 *   "malloc";4711;94342534611616;100;1732091968123;"[{""f"":""malloc"",""s"":"""",""l"":0}]"
 *
 * A realloc is a freerealloc of the old chunk and a realloc. ms: since 1970; since the log's
 * begin where its start was lost. What a stack looks like is kept: memory is that of the
 * distinct stacks' texts. One thread. */
#ifndef MT_CTL_LOG_ROWS_H
#define MT_CTL_LOG_ROWS_H

#include "log.h"

typedef struct mt_logged_rows {
    mt_logged *log;
    struct mt_logged_row_text {
        char *text; /* the field, quoted */
        uint32_t bytes;
        const char *called[2]; /* of allocations, of frees */
    } * stack;                 /* by its number */
} mt_logged_rows;

void mt_logged_rows_open(mt_logged_rows *rows, mt_logged *log);
void mt_logged_row(mt_logged_rows *rows, const mt_logged_event *event);
void mt_logged_rows_close(mt_logged_rows *rows);

#endif
