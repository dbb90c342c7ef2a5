/* jit_list: the list of what the VM's JIT tells debuggers (GDB's JIT interface, "Debugging
 * Information in Custom-Generated Code" in its manual), copied out of the live VM:
 *
 *     descriptor ──first──▶ entry ⇄ entry ⇄ ... ⇄ entry      newest first
 *                            │symfile
 *                            ▼ size bytes (jit_symfile.h)
 *
 * The descriptor is found by shape, in the initialised data of the program itself: OTP 29 hides
 * its symbol, and where the name is seen it may be that of another JIT in the process (LLVM's).
 * It must be the only thing of its kind: {1, an action, a pointer, first}, where first lies
 * outside of the program and leads to a symfile of BEAM's that is right to the byte.
 *
 * The VM's lock on the list is not ours to take. Modules come and go meanwhile, entries may be
 * freed: everything is copied by the kernel (peek.h) and believed only if it hangs together. A
 * symfile is copied, its entry found to be in the list still, and the symfile compared with the
 * copy: while an entry is in the list its symfile is whole, and a copy that is not, since both
 * were freed and used anew meanwhile, would have to be torn twice in the same way.
 */
#ifndef MT_NAME_JIT_LIST_H
#define MT_NAME_JIT_LIST_H

#include "jit_symfile.h"
#include "memory.h"
#include "record/peek.h"

/* Copies the symfiles of all modules into the arena, newest first. 0, or -1 if there is no such
 * list or no memory. A module that came or went meanwhile may be missing. Not for hooks (system
 * calls, the loader's lock); any thread. Some five system calls a module. */
int mt_jit_list_read(mt_arena *arena, mt_jit_symfile **files, uint32_t *n);

/* Parts of it. The address of the only descriptor in [lo, hi), or 0; `program` is the image
 * that no entry lies in. */
typedef struct mt_jit_image {
    uintptr_t lo, hi;
} mt_jit_image;

uintptr_t mt_jit_list_search(const mt_peek *peek, uintptr_t lo, uintptr_t hi,
                             mt_jit_image program);

#endif
