/* reused: what stands behind our hooks in a process that was attached to: the allocator, and a
 * look at each address that it hands out.
 *
 * There frees can be missed: by pointers to free that were copied before we came, by objects
 * whose slots cannot be redirected. An address that is handed out again, and is in the table
 * still, was freed without our knowledge: its record ends, and is counted (missed_frees).
 * Without this a chunk that is not drawn would live on as the old one.
 *
 * A look costs what it costs in free: two loads and a compare for most. For hooks.
 */
#ifndef MT_HOOK_REUSED_H
#define MT_HOOK_REUSED_H

/* Puts the looks in front of the functions that `behind` tells, and all of it behind our hooks
 * (see next). The tables are mapped, or will be before a hook is called. Not for hooks. */
void mt_reused_start(void *(*behind)(const char *symbol));

/* Takes the looks away again; a call may still be in one. */
void mt_reused_stop(void);

#endif
