/* loaded: has NIFs wrapped that were loaded before us (hook/nif_loaded), by the names that the
 * JIT has for its code.
 */
#ifndef MT_SERVE_LOADED_H
#define MT_SERVE_LOADED_H

#include <stdbool.h>

#include "hook/attach.h"

/* After an attach; some 10 ms. Code that was not final then is looked at again. Any thread, one
 * at a time, the others do without; not for hooks. */
void mt_loaded_wrap(void);

/* Detaches while nothing is being wrapped: what was wrapped is given back by that. */
mt_attach_result mt_loaded_detach(void);

/* Whether what was left will be looked at again. */
bool mt_loaded_pending(void);

/* Again, if something was left a second ago or more. */
void mt_loaded_wrap_left(void);

#endif
