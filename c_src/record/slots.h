/* slots: the words of one loaded object through which it calls functions of others, as the
 * dynamic linker filled them in (DT_JMPREL, DT_RELA, DT_REL: System V gABI, chapter 5).
 *
 * For a way out of an object's own habits: unwind points libunwind's calls of write and pipe2
 * somewhere harmless. Never called by a hook.
 */
#ifndef MT_RECORD_SLOTS_H
#define MT_RECORD_SLOTS_H

#include <link.h>

/* Points every slot of `object` that stands for the function `name` at `target`, unprotecting
 * read-only pages for that moment. The object must stay loaded meanwhile. Returns how many
 * slots were set, 0 if the object does not import the name, -1 if a page could not be made
 * writable. Not for an object that another thread is still loading. */
int mt_slots_point(const struct link_map *object, const char *name, void *target);

#endif
