/* libdw: elfutils' reader of DWARF, loaded when first asked for and never linked.
 *
 * It works in a pool of ours: its own slots for the malloc family, and libelf's, lead there as
 * long as its thread is inside mt_libdw_run, and where they always led on other threads: the
 * program may use libdw too. So naming neither appears among the chunks of the program nor
 * grows its heap, but for 32 bytes a unit that libc keeps for libdw (tsearch) and what zlib
 * takes while it unpacks. Where libdw would abort (without memory, or when a file surprises
 * it) mt_libdw_run returns instead.
 */
#ifndef MT_NAME_LIBDW_H
#define MT_NAME_LIBDW_H

#include <elfutils/libdw.h>

#include "pool.h"

#define MT_LIBDW(X)                                                                            \
    X(elf_version)                                                                             \
    X(elf_begin)                                                                               \
    X(elf_cntl)                                                                                \
    X(elf_end)                                                                                 \
    X(dwarf_begin_elf)                                                                         \
    X(dwarf_end)                                                                               \
    X(dwarf_new_oom_handler)                                                                   \
    X(dwarf_setalt)                                                                            \
    X(dwarf_nextcu)                                                                            \
    X(dwarf_offdie)                                                                            \
    X(dwarf_ranges)                                                                            \
    X(dwarf_haspc)                                                                             \
    X(dwarf_tag)                                                                               \
    X(dwarf_child)                                                                             \
    X(dwarf_siblingof)                                                                         \
    X(dwarf_attr)                                                                              \
    X(dwarf_formref_die)                                                                       \
    X(dwarf_formstring)                                                                        \
    X(dwarf_formudata)                                                                         \
    X(dwarf_getsrc_die)                                                                        \
    X(dwarf_lineno)                                                                            \
    X(dwarf_linesrc)                                                                           \
    X(dwarf_getsrcfiles)                                                                       \
    X(dwarf_filesrc)

typedef struct mt_libdw {
#define X(name) __typeof__(name) *name;
    MT_LIBDW(X)
#undef X
} mt_libdw;

/* The library, or NULL and in *why_not (which may be NULL) a sentence with the remedy. Any
 * thread, not a hook: the first call takes the loader's lock. */
const mt_libdw *mt_libdw_get(const char **why_not);

typedef enum mt_libdw_end {
    MT_LIBDW_DONE,
    MT_LIBDW_OUT_OF_MEMORY, /* what it was working on may still be ended */
    MT_LIBDW_GAVE_UP        /* nothing of it may be touched again but the pool */
} mt_libdw_end;

/* Runs `work`, in which libdw may be called; it must not be nested. Uses up to 200 KiB of
 * stack: not for a dirty scheduler, whose stack is not much larger. */
mt_libdw_end mt_libdw_run(mt_pool *pool, void (*work)(void *context), void *context);

/* Ends the run; for dwarf_new_oom_handler. */
void mt_libdw_out_of_memory(void) __attribute__((noreturn));

#endif
