/* startup: the code that came with the program and stays as long as it does: the program's own,
 * that of the libraries that it needs (DT_NEEDED) and that these need, and ours. What a
 * constructor has opened since is not among it: that may be closed again.
 */
#ifndef MT_RECORD_STARTUP_H
#define MT_RECORD_STARTUP_H

#include <stdint.h>

typedef struct mt_startup_code {
    uintptr_t lo, hi; /* an executable segment */
} mt_startup_code;

/* Writes at most `max` segments and returns how many. At most 256 objects are looked at; what
 * is beyond is left out. Not for hooks: takes the loader's lock. */
int mt_startup_list(mt_startup_code *code, int max);

#endif
