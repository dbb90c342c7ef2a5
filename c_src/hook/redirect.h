/* redirect: points other objects' slots at functions of ours, and back, in a running process.
 *
 * A slot is a word through which an object calls a function of another, filled in by the
 * dynamic linker (see record/slots). For a function that is to be redirected, each slot of that
 * name in each object is looked at:
 *
 *   what it holds                                           what is done
 *   the function that everybody calls ("behind")            ours is stored, and remembered
 *   the object's own stub: not called yet                   the same; the stub comes back
 *   ours                                                    nothing
 *   another function                                        nothing; none of the object's slots
 *                                                           is touched, and it is listed
 *   an address in the file: the linker is still at work     nothing; looked at again later
 *
 * A word of data counts only while it holds the function itself. A word that is not aligned is
 * no slot. Stores are atomic (compare and exchange): threads may call through the slot, and the
 * linker may fill it in. Pages that are read-only are writable for that moment and get exactly
 * the protection that they had; a page that will be read-only when the linker is done with its
 * object is left to it. Nothing of a slot is kept but what stubs held: each time, the slots of
 * what is mapped are found anew, by the linker's list and under its lock, so that an object
 * that is gone is never written to and another in its place is not taken for it.
 *
 * Any thread, but no hook of the malloc family: it takes the loader's lock. It never runs two
 * at once. Some 0.3 ms for 40 objects; allocates nothing through malloc.
 */
#ifndef MT_HOOK_REDIRECT_H
#define MT_HOOK_REDIRECT_H

#include <stddef.h>
#include <stdint.h>

typedef enum mt_redirect_where {
    MT_REDIRECT_ALL,
    MT_REDIRECT_LIBRARIES, /* not the program itself */
    MT_REDIRECT_PROGRAM    /* only the program (beam.smp) */
} mt_redirect_where;

typedef struct mt_redirection {
    const char *symbol; /* kept: must stay valid */
    void *to;
    mt_redirect_where where;
} mt_redirection;

/* From now on, in what is loaded and, after a rescan, in what will be: slots of these symbols
 * point at `to`. Added twice, it is to be removed twice. No two for the same symbol may be
 * about the same object. 0, or -1 and nothing done if there is no room. Waits for others here.
 */
int mt_redirect_add(const mt_redirection *list, size_t n);

/* Looks up what everybody calls by these names, so that mt_redirect_behind tells it, and
 * redirects nothing. As add. */
int mt_redirect_find(const mt_redirection *list, size_t n);

/* Every slot gets back what it held, where ours still stands. Waits likewise. Calls that are
 * under way, and copies of our pointers that the program made, may come to us later still. */
void mt_redirect_remove(const mt_redirection *list, size_t n);

/* Looks at objects that were loaded since, and at slots that the linker has filled in since.
 * Where another thread is at it, that one looks once more, and this returns at once: it may be
 * called under any lock. */
void mt_redirect_rescan(void);

/* The same if the loader says that something came since the last look, which takes a
 * microsecond to ask. */
void mt_redirect_rescan_if_loaded(void);

/* The function that everybody calls by this name, the one to go on to: NULL if the symbol was
 * never added, or nobody has it. Lock-free; look it up once. */
void *mt_redirect_behind(const char *symbol);

/* The slots of dlsym in the program: what it loads asks for "nif_init" or "driver_init", and
 * is rescanned at that moment. To be added by whoever wants rescans. */
extern const mt_redirection mt_redirect_dlsym;

/* What the program gets for "nif_init" instead of `found`, if this is set: never NULL for a
 * `found` that is not. Called after the rescan, on the thread that loads. */
extern void *(*_Atomic mt_redirect_on_dlsym)(void *handle, const char *name, void *found);

typedef enum mt_refused {
    MT_REFUSED_ELSEWHERE = 1, /* calls another function of that name */
    MT_REFUSED_OWN = 2,       /* the program: it brings the function, and calls it directly */
    MT_REFUSED_UNBOUND = 3,   /* not called yet, and nobody can tell which it will call */
    MT_REFUSED_PROTECTED = 4  /* the page could not be made writable */
} mt_refused;

typedef struct mt_refusal {
    mt_refused why;
    char symbol[32];
    char object[220]; /* path; "" is the program */
} mt_refusal;

/* Copies at most `max` objects whose slots could not be redirected, each once, as of the last
 * look. Returns how many there are, which may be more. Waits as add. */
uint32_t mt_redirect_refusals(mt_refusal *out, uint32_t max);

#endif
