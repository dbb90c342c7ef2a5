/* core: the interface between the object that traces and the object that was loaded as a NIF.
 * (An attached one has itself been loaded as a NIF, once.)
 *
 * Mostly they are one and the same. They are two where the NIF comes from a copy of the file,
 * or from a newer release beside a core that has been preloaded since the node started. Each
 * object exports one table of this type, `mtrace_core`; the NIF looks for it with dlsym and
 * uses the one that traces, if its version is its own. The first three fields never change.
 *
 * A new version number is due whenever a type here, or the meaning of a field, changes.
 */
#ifndef MT_SERVE_CORE_H
#define MT_SERVE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hook/attach.h"
#include "enif.h"
#include "hook/callers.h"
#include "hook/preload.h"
#include "hook/redirect.h"
#include "record/thread.h"
#include "record/unwind.h"
#include "naming.h"
#include "snapshot.h"

#define MT_CORE_MAGIC 0x6563617274aa6d01ull
#ifndef MT_CORE_VERSION
#define MT_CORE_VERSION 6
#endif

typedef struct mt_stats {
    uint64_t
        count[MT_COUNT_N]; /* since tracing began; ignored, thinned: since the last reset */
    uint64_t recorded_now; /* cells of the table that are taken */
    uint64_t slots;
    uint64_t interval; /* of the sampler, now */
    uint64_t resets;   /* how often the table was emptied */
} mt_stats;

enum { MT_STATUS_REFUSALS = 8 };

typedef struct mt_status {
    mt_preload preload;
    mt_attached attached;
    mt_unwinder unwinder;
    uint32_t parts; /* attached to: bits of attach.h */
    bool logs;      /* events go into a log, and the table stays empty */
    bool watched;   /* by mtracectl, to its end */
    mt_options options;
    uint64_t sites, own_bytes; /* rows in use; bytes mapped by the core for itself */
    uint64_t naming_bytes;     /* kept by naming between its runs */
    const char *lacks;         /* NULL, or a sentence: why there are no source lines */
    char allocator[512];       /* path of the object whose malloc stands behind ours */
    uint32_t refusals;         /* objects whose slots could not be redirected, and the first */
    mt_refusal refusal[MT_STATUS_REFUSALS];
} mt_status;

typedef struct mt_core {
    uint64_t magic;
    uint32_t version;
    uint32_t bytes;                                            /* of this table */
    void (*state)(mt_preload *preload, mt_attached *attached); /* costs nothing */
    void (*stats)(mt_stats *stats);
    void (*status)(mt_status *status);
    void (*reset)(void);
    void (*sharpen)(void);
    void (*watch)(void);
    /* See mt_tracer_configure; the values must be within the bounds of options.h. */
    void (*configure)(uint64_t interval, uint32_t budget_ppm, uint32_t depth,
                      uint32_t erlang_depth);
    /* See snapshot.h. */
    uint32_t (*snapshot)(mt_record *records, uint32_t max);
    uint32_t (*oldest)(mt_record *records, uint32_t max);
    /* See callers.h and vm.h. */
    const mt_caller *(*caller)(uint32_t row);
    void (*load)(ErlNifEnv *env);
    bool (*calibrate)(ErlNifEnv *env);
    const char *(*lacks)(unsigned i);
    /* See naming.h. */
    int (*names_begin)(const mt_record *records, uint32_t n, unsigned what, mt_named *named,
                       const mt_name *const **names, uint32_t *count);
    void (*names_end)(void);
    /* See attach.h. */
    mt_attach_result (*attach)(unsigned parts);
    mt_attach_result (*detach)(void);
} mt_core;

extern const mt_core mtrace_core __attribute__((visibility("default")));

/* The table of the object that was preloaded or has been attached; NULL if there is none, or
 * one that is no core. Check its version before using anything below `bytes`. */
const mt_core *mt_core_active(void);

#endif
