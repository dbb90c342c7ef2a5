/* unwind: the stack of the calling thread, as return addresses: by the core's own walk where it
 * exists, else by libunwind, else the return address alone.
 *
 * libunwind (unw_backtrace) is loaded with dlopen, once, by mt_unwind_start in a process that
 * is traced: linked in, it would also capture _Unwind_* from programs whose C++ runtime comes
 * as a plugin, and cost every process that inherits the preload. Asked for a place that it does
 * not know yet it takes the loader's lock; the walk never does.
 *
 * What libunwind would do behind a program's back is undone. To test whether an address can
 * be read it writes a byte to a pipe of its own; a program that closes all descriptors then
 * gets that byte into one of its files. Its pipe2 and write are therefore pointed at functions
 * of ours, which open nothing and ask the kernel in another way.
 */
#ifndef MT_RECORD_UNWIND_H
#define MT_RECORD_UNWIND_H

#include <stdbool.h>
#include <stdint.h>

#include "thread.h"
#include "walk.h"

typedef enum mt_unwinder {
    MT_UNWINDER_NONE = 0,    /* the return address alone: libunwind.so.8 is not installed */
    MT_UNWINDER_REFUSED = 1, /* the same: this libunwind's own pipe could not be avoided */
    MT_UNWINDER_LIBUNWIND = 2,
    MT_UNWINDER_WALK = 3, /* our own */
} mt_unwinder;

/* Prepares the walk or, without it, loads libunwind and runs it once, so that no hook meets its
 * start-up. From the constructor or an attach, never from a hook: it takes the loader's lock.
 * `walk` false: not the walk, `libunwind` false: not libunwind. */
void mt_unwind_start(bool walk, bool libunwind);

mt_unwinder mt_unwind_kind(void);

/* Captures the stack from the hook on: [0] lies in the hook, [1] is from.pc, the hook's own
 * return address. At most `max` and at least 2 entries, starting at *stack within the block's
 * buffer. `hook` is the hook's address. In a hook, with the thread's guard up. */
uint32_t mt_unwind_up(mt_thread *block, uint32_t max, void *hook, uintptr_t pc, uintptr_t sp,
                      uintptr_t fp, void ***stack);

static inline uint32_t mt_unwind(mt_thread *block, uint32_t max, void *hook, mt_walk_from from,
                                 void ***stack) {
    return mt_unwind_up(block, max, hook, from.pc, from.sp, from.fp, stack);
}

#endif
