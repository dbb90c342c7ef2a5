/* loaded: see the header. */
#include "loaded.h"

#include <pthread.h>
#include <stdint.h>

#include "hook/nif_loaded.h"
#include "name/jit.h"
#include "name/mfa.h"
#include "record/tracer.h"

#define PAUSE_NS 1000000000u
enum { TRIES = 5 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    mt_nif_loaded last;
    uint64_t at_ns;
    int tries; /* that are left */
} runs;

static void see_all(const mt_jit *jit) {
    static mt_mfa mfa; /* under the lock; 2 KiB */
    for (uint32_t i = 0; i < jit->n; i++) {
        const mt_jit_range *r = &jit->range[i];
        if (!mt_mfa_split(r->name, &mfa)) continue;
        mt_nif_code code = {r->lo, r->hi, mfa.module, mfa.function, mfa.arity};
        mt_nif_loaded_see(&code);
    }
}

static void run(void) {
    mt_jit jit = {0};
    mt_tls_mine.quiet++;
    runs.last = (mt_nif_loaded){0};
    if (mt_jit_read(&jit) == 0 && mt_nif_loaded_begin() == 0) {
        see_all(&jit);
        mt_nif_loaded_end(&runs.last);
    } else {
        runs.last.left = 1; /* no descriptor, no memory: once more */
    }
    mt_jit_empty(&jit);
    runs.at_ns = mt_tracer_now();
    mt_tls_mine.quiet--;
}

/* Under the lock, which a detach takes before its own. */
static bool is_attached(void) {
    return mt_attach_parts() & MT_ATTACH_BEAM;
}

void mt_loaded_wrap(void) {
    if (pthread_mutex_trylock(&lock) != 0) return;
    runs.tries = TRIES;
    if (is_attached()) run();
    pthread_mutex_unlock(&lock);
}

mt_attach_result mt_loaded_detach(void) {
    pthread_mutex_lock(&lock);
    mt_attach_result result = mt_attach_end();
    pthread_mutex_unlock(&lock);
    return result;
}

bool mt_loaded_pending(void) {
    pthread_mutex_lock(&lock);
    bool pending = runs.last.left && runs.tries > 0;
    pthread_mutex_unlock(&lock);
    return pending;
}

void mt_loaded_wrap_left(void) {
    if (pthread_mutex_trylock(&lock) != 0) return;
    if (runs.last.left && runs.tries > 0 && is_attached() &&
        mt_tracer_now() - runs.at_ns > PAUSE_NS) {
        runs.tries--;
        run();
    }
    pthread_mutex_unlock(&lock);
}
