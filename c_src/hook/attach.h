/* attach: tracing on and off in a process that was started without the preload, and into which
 * we came as a NIF, or by dlopen.
 *
 *        ┌──────────── attach ──────────┐
 *        │                              ▼
 *   [not attached]                 [attached] ◀── attach ── [detached]
 *                                       └────── detach ───────▶
 *
 * Attaching maps the tables the first time, empties them after that, points the slots of the
 * malloc family of all objects at our hooks (redirect), and lets each address that is handed
 * out be looked at (reused). Detaching puts the slots back; the tables stay as they are then,
 * and are read as before. The counters go on.
 *
 * What was allocated before is freed unnoticed; what is freed while we are detached, or by
 * pointers that were copied before we came, ends when its address is handed out again.
 *
 * Not for hooks: it loads and looks up. Any thread; one at a time, the others wait. Some
 * milliseconds the first time, half a one later.
 */
#ifndef MT_HOOK_ATTACH_H
#define MT_HOOK_ATTACH_H

typedef enum mt_attached {
    MT_ATTACHED_NEVER = 0,
    MT_ATTACHED_NOW = 1,
    MT_ATTACHED_BEFORE = 2 /* detached */
} mt_attached;

typedef enum mt_attach_result {
    MT_ATTACH_DONE = 0,      /* or nothing was to be done */
    MT_ATTACH_PRELOADED = 1, /* it is traced from its start */
    MT_ATTACH_OFF = 2,       /* MTRACE=0 */
    MT_ATTACH_SHADOWED = 3,  /* preloaded behind another allocator */
    MT_ATTACH_NO_MEMORY = 4,
    MT_ATTACH_NO_ALLOCATOR = 5, /* no object calls a malloc that could be stood in front of */
    MT_ATTACH_NO_LOG = 6        /* MTRACE_LOG names a file that cannot be written */
} mt_attach_result;

/* What can be attached to: bits. */
enum { MT_ATTACH_MALLOC = 1, MT_ATTACH_BEAM = 2 /* see vm.h */, MT_ATTACH_PARTS = 3 };

/* Attaches to `parts`, those that are not yet. Attached already: nothing is done. */
mt_attach_result mt_attach(unsigned parts);

/* Detaches from all. Not attached: nothing is done; PRELOADED: it stays. */
mt_attach_result mt_attach_end(void);

/* Any thread. The second: the parts that are attached to now. */
mt_attached mt_attach_state(void);
unsigned mt_attach_parts(void);

/* For whoever is asked about the process, and has a moment: has a look at objects that were
 * loaded since, if it is attached. */
void mt_attach_look(void);

#endif
