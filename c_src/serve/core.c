/* core: this object's side of the interface. */
#include "core.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "hook/erlang_stack.h"
#include "hook/loader.h"
#include "hook/next.h"
#include "hook/nif_loaded.h"
#include "hook/vm.h"
#include "loaded.h"
#include "record/control.h"
#include "record/log.h"
#include "record/region.h"
#include "record/tracer.h"

/* Something is there to be asked about: it traces, or has traced. */
static bool has_tables(void) {
    return mt_preload_state() == MT_PRELOAD_TRACING || mt_attach_state() != MT_ATTACHED_NEVER;
}

static void look(void) {
    mt_attach_look();
    if (!(mt_attach_parts() & MT_ATTACH_BEAM)) return;
    mt_vm_look();
    mt_loaded_wrap_left();
}

static void stats(mt_stats *out) {
    mt_attach_look();
    uint64_t ignored = atomic_load(&mt_tracer_state.ignored_before);
    uint64_t thinned = atomic_load(&mt_tracer_state.thinned_before);
    mt_thread_sum(out->count); /* after what is subtracted, which never goes down */
    out->count[MT_COUNT_ignored] -= ignored;
    out->count[MT_COUNT_thinned] += atomic_load(&mt_tracer_state.watch_thinned) - thinned;
    out->interval = atomic_load(&mt_tracer_state.sampler.interval);
    out->resets = atomic_load(&mt_tracer_state.epoch);
    out->recorded_now = mt_levels_taken(&mt_tracer_state.chunks);
    out->slots = mt_levels_slots(&mt_tracer_state.chunks);
}

static void state(mt_preload *preload, mt_attached *attached) {
    *preload = mt_preload_state();
    *attached = mt_attach_state();
}

static void status(mt_status *out) {
    memset(out, 0, sizeof *out);
    out->preload = mt_preload_state();
    out->unwinder = mt_unwind_kind();
    out->attached = mt_attach_state();
    out->parts = mt_attach_parts();
    out->options = mt_tracer_state.options;
    out->logs = mt_log_on();
    const mt_region_header *shared = mt_region_shared();
    out->watched = shared && atomic_load(&shared->observer) != 0;
    if (!has_tables()) return;
    look();
    out->refusals = mt_redirect_refusals(out->refusal, MT_STATUS_REFUSALS);
    out->sites = mt_sites_held(&mt_tracer_state.sites);
    out->own_bytes = mt_thread_bytes() + mt_tracer_state.sites.bytes +
                     mt_levels_bytes(&mt_tracer_state.chunks);
    out->naming_bytes = mt_naming_bytes();
    out->lacks = mt_naming_lacks();
    Dl_info info;
    void *attached = mt_redirect_behind("malloc");
    if (dladdr(attached ? attached : (void *)mt_next_get(malloc), &info) && info.dli_fname)
        strncpy(out->allocator, info.dli_fname, sizeof out->allocator - 1);
}

static uint32_t snapshot(mt_record *records, uint32_t max) {
    look();
    return mt_snapshot_take(&mt_tracer_state.chunks, &mt_tracer_state.sites, records, max);
}

static uint32_t oldest(mt_record *records, uint32_t max) {
    mt_attach_look();
    return mt_snapshot_oldest(&mt_tracer_state.chunks, &mt_tracer_state.sites, records, max);
}

/* What the VM has loaded already is wrapped here: its names are known in this room. */
static mt_attach_result attach(unsigned parts) {
    bool beam = parts & ~mt_attach_parts() & MT_ATTACH_BEAM;
    mt_attach_result result = mt_attach(parts);
    if (beam && result == MT_ATTACH_DONE && mt_tracer_state.options.beam) mt_loaded_wrap();
    return result;
}

/* Without what is not the last word yet. */
static const char *lacks(unsigned i) {
    const char *passing = mt_loaded_pending() ? mt_nif_loaded_lacks() : NULL, *why;
    for (unsigned k = 0; (why = mt_vm_lacks(k)) != NULL; k++)
        if (why != passing && i-- == 0) return why;
    return NULL;
}

/* Before anything is traced, or so early that nothing has been unloaded. */
__attribute__((constructor)) static void listen(void) {
    mt_loader_unloading = mt_naming_unloading;
}

const mt_core mtrace_core = {
    .magic = MT_CORE_MAGIC,
    .version = MT_CORE_VERSION,
    .bytes = sizeof(mt_core),
    .state = state,
    .stats = stats,
    .status = status,
    .reset = mt_tracer_reset,
    .sharpen = mt_tracer_sharpen,
    .watch = mt_tracer_watch,
    .configure = mt_tracer_configure,
    .snapshot = snapshot,
    .oldest = oldest,
    .caller = mt_callers_get,
    .load = mt_vm_load,
    .calibrate = mt_erlang_stack_calibrate,
    .lacks = lacks,
    .names_begin = mt_naming_begin,
    .names_end = mt_naming_end,
    .attach = attach,
    .detach = mt_loaded_detach,
};

const mt_core *mt_core_active(void) {
    const mt_core *found = dlsym(RTLD_DEFAULT, "mtrace_core");
    if (!found) dlerror(); /* not the program's */
    return found && found->magic == MT_CORE_MAGIC ? found : NULL;
}
