/* unwind: the stack of the calling thread, as return addresses.
 *
 * libunwind does it (unw_backtrace, whose cached rules cost some 5 ns a frame). It is loaded
 * with dlopen, once, by mt_unwind_start in a process that is traced: linked in, it would also
 * capture _Unwind_* from programs whose C++ runtime comes as a plugin, and cost every process
 * that inherits the preload. Without it a stack is the return address alone.
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

typedef enum mt_unwinder {
    MT_UNWINDER_NONE = 0,    /* the return address alone: libunwind.so.8 is not installed */
    MT_UNWINDER_REFUSED = 1, /* the same: this libunwind's own pipe could not be avoided */
    MT_UNWINDER_LIBUNWIND = 2,
} mt_unwinder;

/* Loads libunwind and runs it once, so that no hook meets its start-up. From the constructor
 * or an attach, never from a hook: it takes the loader's lock. */
void mt_unwind_start(void);

mt_unwinder mt_unwind_kind(void);

/* Captures the stack from the hook on: [0] lies in the hook, [1] is `from`, the hook's own
 * return address. `buffer` has room for max + MT_OWN_FRAMES entries; the result, at most
 * `max` and at least 2 entries, starts at *stack within it. `hook` is the hook's address, for
 * when the unwinder cannot see it. In a hook, with the thread's guard up. */
uint32_t mt_unwind(void **buffer, uint32_t max, void *hook, void *from, void ***stack);

#endif
