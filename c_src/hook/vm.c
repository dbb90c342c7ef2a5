/* vm: see the header. */
#include "vm.h"

#include <stddef.h>

#include "beam.h"
#include "erlang_stack.h"
#include "nif_calls.h"
#include "nif_loaded.h"
#include "nif_memory.h"
#include "nif_resources.h"
#include "nif_tables.h"

static bool started;
static bool late; /* attached: what was there before matters */

/* Callers first: a destructor is wrapped by them. Tables last: they are looked through once.
 * Where there are no thunks memory is recorded all the same. */
int mt_vm_start(bool scheduling_now) {
    if (!enif_alloc) return -1;
    if (!started && mt_redirect_add(&mt_redirect_dlsym, 1) != 0) return -1;
    mt_nif_calls_start(scheduling_now);
    if (started) return 0;
    if (mt_nif_memory_start() != 0) {
        mt_nif_calls_stop();
        mt_redirect_remove(&mt_redirect_dlsym, 1);
        return -1;
    }
    mt_nif_resources_calibrate();
    mt_nif_tables_look();
    started = true;
    late = scheduling_now;
    return 0;
}

void mt_vm_stop(void) {
    if (!started) return;
    mt_nif_loaded_undo();
    mt_nif_memory_stop();
    mt_nif_calls_stop();
    mt_redirect_remove(&mt_redirect_dlsym, 1);
    started = false;
}

void mt_vm_load(ErlNifEnv *env) {
    mt_nif_resources_probe(env);
    mt_nif_calls_scheduling();
}

void mt_vm_look(void) {
    if (started && late) mt_nif_resources_calibrate();
}

const char *mt_vm_lacks(unsigned i) {
    const char *const all[] = {mt_nif_calls_lacks(), mt_erlang_stack_lacks(),
                               late ? mt_nif_loaded_lacks() : NULL,
                               late ? mt_nif_resources_lacks() : NULL};
    for (unsigned k = 0; k < sizeof all / sizeof *all; k++)
        if (all[k] && i-- == 0) return all[k];
    return NULL;
}
