/* wanted: the list of what is redirected, and of what refused to be. State is one for the
 * process; all but mt_wanted_behind is for whoever holds redirect's lock.
 */
#ifndef MT_HOOK_WANTED_H
#define MT_HOOK_WANTED_H

#include <stdatomic.h>
#include <stdbool.h>

#include "linked.h"
#include "redirect.h"

typedef struct mt_wanted {
    mt_redirection what;
    void *_Atomic behind;   /* what everybody calls */
    void *stand_in;         /* a stub of the program's that all take for its address, or NULL */
    void *next;             /* of that name behind us, in the order of the linker */
    _Atomic uint32_t users; /* 0: not in force any more */
} mt_wanted;

/* Puts a redirection into force and looks its function up, by dlsym. False if there is no
 * room. */
bool mt_wanted_add(const mt_redirection *what);
void mt_wanted_remove(const mt_redirection *what);

/* The entry for this name in this object: that in force, else one that was, else NULL. */
mt_wanted *mt_wanted_for(const char *name, const mt_linked *object);

/* The entry of a name, and the i-th, wherever they are about; NULL: none, no more. */
mt_wanted *mt_wanted_named(const char *name);
mt_wanted *mt_wanted_at(uint32_t i);

/* Any thread. */
void *mt_wanted_behind(const char *name);

/* Lists an object as refused, if it is not yet. */
void mt_wanted_refuse(const mt_linked *object, const char *symbol, mt_refused why);
void mt_wanted_refuse_none(void);
uint32_t mt_wanted_refusals(mt_refusal *out, uint32_t max);

#endif
