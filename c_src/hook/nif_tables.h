/* nif_tables: redirects functions of the VM in NIF libraries and drivers, by slot and by table.
 *
 * Most libraries call the VM through slots, which redirect finds. Rustler's look each function
 * up (dlopen(NULL), dlsym) and keep the addresses in a table of their own. For libraries that
 * are yet to do so their dlsym gives our functions; in those that have, words of their writable
 * data that equal the VM's function are replaced, in libraries that export nif_init alone. A
 * 64-bit word that equals a function's address and is something else has not been seen, and
 * would have to be used for arithmetic to do harm.
 *
 * Tables on the heap are not found. Any thread, one at a time; not for hooks.
 */
#ifndef MT_HOOK_NIF_TABLES_H
#define MT_HOOK_NIF_TABLES_H

#include "redirect.h"

/* As mt_redirect_add, with dlsym; the list must stay valid. Slots first, tables only by
 * mt_nif_tables_look. 0, or -1 and nothing done if there is no room. */
int mt_nif_tables_add(const mt_redirection *list, size_t n);

/* Gives slots back what they held, and words of tables, where ours still stand. The list must
 * have been added. */
void mt_nif_tables_remove(const mt_redirection *list, size_t n);

/* Looks through the data of the libraries that are loaded now. */
void mt_nif_tables_look(void);

#endif
