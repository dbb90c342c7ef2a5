/* lookup: what one address is called: by the symbols and the debug information of the object
 * that it lies in, or by the JIT's lists if it lies in none. Files
 * are read when something is first looked for in them.
 *
 * One thread at a time, with a large stack (demangle.h, debug.h) unless `what` is 0, and our
 * guard up. Not for hooks.
 */
#ifndef MT_SERVE_LOOKUP_H
#define MT_SERVE_LOOKUP_H

#include "name/jit.h"
#include "name/objects.h"
#include "naming.h"

/* Begins with the first three, and zeroes. */
typedef struct mt_lookup {
    unsigned what;                    /* MT_NAMES_* */
    mt_arena *found;                  /* texts and frames; they may outlive the lookup */
    mt_arena *meanwhile;              /* all else */
    struct mt_lookup_object **object; /* by the order of meeting */
    uint32_t objects, object_room;
    mt_jit jit;
    bool asked_jit;
} mt_lookup;

/* A copy of the object, for the list of objects may change meanwhile, with its path among what
 * is found; NULL without memory. */
const mt_object *mt_lookup_meet(mt_lookup *lookup, const mt_object *object);

/* Looks for what is wanted and not known yet of the name, whose object has been met, or was not
 * found some time ago: there may have been no descriptor to open its file with, or its debug
 * file may have been installed since. */
void mt_lookup_name(mt_lookup *lookup, mt_name *name);

/* Gives back what has been read, but not the arenas. */
void mt_lookup_close(mt_lookup *lookup);

#endif
