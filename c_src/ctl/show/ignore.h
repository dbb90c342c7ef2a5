/* ignore: patterns for names, a file of them as LeakSanitizer's suppressions are written, which
 * heaptrack reads too. (heaptrace's are plain text that is found anywhere in a stack; those of
 * valgrind, in which a name is a whole one, are refused.)
 *
 * One pattern a line; `leak:` before it is passed over; empty lines and those that begin with #
 * are none. A pattern is found anywhere in a name; `*` stands for any text, `^` at its
 * beginning and `$` at its end for the name's own: `main` is found in __libc_start_main too,
 * `^main$` is main alone.
 */
#ifndef MT_CTL_IGNORE_H
#define MT_CTL_IGNORE_H

#include <stdbool.h>

#include "names.h"

typedef struct mt_ignore mt_ignore;

/* NULL if the file cannot be read or is one of valgrind's, which has been said. */
mt_ignore *mt_ignore_read(const char *path);

/* Is any of them found in this name? NULL is no name. */
bool mt_ignore_match(const mt_ignore *ignore, const char *name);

/* Is any found in a function, source file or the object of this place? What is found is kept
 * by place. */
bool mt_ignore_place(mt_ignore *ignore, const mt_names_place *place);

/* NULL is fine. */
void mt_ignore_free(mt_ignore *ignore);

#endif
