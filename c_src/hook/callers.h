/* callers: the table of everything that can be running in native code on Erlang's behalf.
 *
 *   row  kind         module        function    arity
 *   0    none
 *   1    thread       ""            ""          0       a thread that is no scheduler's
 *   2    nif          crypto        hash_nif    2
 *   3    load         crypto        load        3       load, upgrade, unload: the callbacks
 *   4    destructor   my_database   connection  2       "connection" is the resource type
 *
 * Texts are "" where they are not known: the resource type, if it was opened before us.
 *
 * A row stands for the same thing for good, so that a record can hold its number; there are
 * 8192, and who comes later gets row 0. Rows are found by hash and never move. Any thread;
 * looking a row up takes no lock, adding one does.
 */
#ifndef MT_HOOK_CALLERS_H
#define MT_HOOK_CALLERS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum mt_caller_kind {
    MT_CALLER_NONE = 0,
    MT_CALLER_THREAD,
    MT_CALLER_NIF,
    MT_CALLER_LOAD,
    MT_CALLER_DESTRUCTOR
} mt_caller_kind;

enum { MT_CALLERS = 8192, MT_CALLERS_NOBODY = 0, MT_CALLERS_THREAD = 1 };

/* The texts live for ever; atoms as the library spells them, without quotes. */
typedef struct mt_caller {
    const char *module, *function;
    unsigned arity;
    mt_caller_kind kind;
} mt_caller;

/* The row of this, added if it is new; texts are copied. 0 if the table is full, or without
 * memory. Not for hooks of the malloc family. */
uint32_t mt_callers_row(mt_caller_kind kind, const char *module, const char *function,
                        unsigned arity);

/* The same without adding: 0 if it is not there. Takes no lock. */
uint32_t mt_callers_find(mt_caller_kind kind, const char *module, const char *function,
                         unsigned arity);

/* What stands in a row; NULL for row 0 and for one that does not exist. For hooks too. */
const mt_caller *mt_callers_get(uint32_t row);

/* True once somebody got no row. */
bool mt_callers_full(void);

#endif
