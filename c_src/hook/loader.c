/* loader: see the header. */
#include "loader.h"

#include <stdint.h>
#if defined __aarch64__ && defined __GLIBC__
#include <sys/auxv.h>
#endif

#include "next.h"
#include "own.h"
#include "record/seen.h"
#include "record/thread.h"
#include "record/tracer.h"
#include "record/unwind.h"
#include "record/walk.h"

#define EXPORT __attribute__((visibility("default")))

/* A callback that allocates while another thread unwinds would wait for libunwind's lock with
 * the loader's in its hand, and the other the reverse. */
EXPORT int dl_iterate_phdr(mt_phdr_callback *f, void *context) {
    uintptr_t outer = mt_tls_mine.callback_sp;
    if (mt_unwind_kind() == MT_UNWINDER_LIBUNWIND)
        mt_tls_mine.callback_sp = (uintptr_t)__builtin_frame_address(0);
    int result = mt_next_get(dl_iterate_phdr)(f, context);
    mt_tls_mine.callback_sp = outer;
    return result;
}

MT_OWN(dl_iterate_phdr);
MT_OWN(dlclose);

void (*mt_loader_unloading)(void);

/* Afterwards: what is looked up from now on is looked up in what is there from now on. */
int dlclose(void *handle);
EXPORT int dlclose(void *handle) {
    bool told = mt_loader_unloading && mt_tracer_on();
    if (told) mt_loader_unloading();
    int result = mt_next_get(dlclose)(handle);
    mt_walk_forget_unloaded();
    if (mt_log_on()) mt_log_unloaded();
    else if (mt_tracer_on()) mt_seen_unloaded();
    if (told) mt_loader_unloading();
    return result;
}

/* Two names of glibc's that what is linked into us wants on arm64: gcc's atomics ask the first
 * for what the processor has, libiberty's stack protector takes its word from the second, which
 * is ld-linux's. Hidden ones of our own, so that we need libc and nothing else, whichever. */
#if defined __aarch64__ && defined __GLIBC__
unsigned long __getauxval(unsigned long type);
unsigned long __getauxval(unsigned long type) {
    return getauxval(type);
}
extern uintptr_t __stack_chk_guard;
uintptr_t __stack_chk_guard =
    0x00ff0a0d5c3ab1e7; /* bytes that end a string's copy among them */
#endif
