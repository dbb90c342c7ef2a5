/* erlang_stack: see the header. */
#include "erlang_stack.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "aliases.h"
#include "record/peek.h"

enum {
    ENV_WORDS = 8,      /* of an environment that are looked at */
    PROCESS_WORDS = 64, /* of a process */
    RED_ZONE = 8,       /* words between free heap and stack, at most */
    AROUND = 16,        /* how far behind stop the heap's words may be */
    LOOK_AT = 512,      /* words of the stack */
    WORD = sizeof(uintptr_t)
};

/* Indices of words: of the process in env, of the others in the process. */
typedef struct layout {
    uint32_t process, htop, heap, size; /* stop follows htop, hend follows heap */
} layout;

typedef struct stack {
    uintptr_t heap, htop, stop, hend;
} stack;

enum { UNTRIED, TRYING, TRUSTED, REFUSED };

static _Atomic int state = UNTRIED;
static layout where; /* written before TRUSTED */
static uintptr_t last_return;
static uintptr_t depth_seen;
static uint32_t agreed, depths;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool is_return_address(uintptr_t word, const stack *s) {
    return (word & 3) == 0 && word >= 65536 && word <= INTPTR_MAX &&
           (word < s->heap || word >= s->hend);
}

static bool is_sound(const stack *s, uintptr_t words) {
    return (s->heap | s->htop | s->stop | s->hend) % WORD == 0 && s->heap &&
           s->heap <= s->htop && s->htop <= s->stop && s->stop <= s->hend &&
           (s->hend - s->heap) / WORD == words;
}

static stack stack_of(const uintptr_t *process, const layout *l) {
    return (stack){process[l->heap], process[l->htop], process[l->htop + 1],
                   process[l->heap + 1]};
}

/* The word of env that leads to the process with this pid, and a copy of that. */
static bool find_process(const mt_peek *peek, const uintptr_t *env, uintptr_t pid, layout *l,
                         uintptr_t *process) {
    uint32_t n = 0;
    uintptr_t copy[PROCESS_WORDS];
    for (uint32_t i = 0; i < ENV_WORDS; i++) {
        if (env[i] == 0 || env[i] % WORD || !mt_peek_copy(peek, env[i], copy, sizeof copy) ||
            copy[0] != pid)
            continue;
        memcpy(process, copy, sizeof copy);
        l->process = i;
        n++;
    }
    return n == 1;
}

/* htop is env's hp, and stop lies a little above the end of free heap, which follows hp. */
static bool is_htop(const uintptr_t *env, const uintptr_t *at) {
    for (uint32_t i = 0; i + 1 < ENV_WORDS; i++)
        if (env[i] && env[i] == at[0] && env[i + 1] >= env[i] && at[1] >= env[i + 1] &&
            at[1] - env[i + 1] <= RED_ZONE * WORD)
            return true;
    return false;
}

static bool find_stack(const uintptr_t *env, const uintptr_t *process, layout *l) {
    uint32_t n = 0;
    layout try = *l;
    for (try.htop = 1; try.htop + 2 < PROCESS_WORDS; try.htop++) {
        if (!is_htop(env, process + try.htop)) continue;
        for (try.heap = try.htop + 2; try.heap < try.htop + AROUND; try.heap++)
            for (try.size = try.heap + 2; try.size < try.heap + AROUND; try.size++) {
                if (try.size >= PROCESS_WORDS || process[try.size] == 0) continue;
                stack s = stack_of(process, &try);
                if (!is_sound(&s, process[try.size])) continue;
                *l = try;
                n++;
            }
    }
    return n == 1;
}

/* Where every process ends: the return address that lies outermost. */
static uintptr_t outermost(const mt_peek *peek, const stack *s) {
    uintptr_t words[32], n = (s->hend - s->stop) / WORD;
    if (n > 32) n = 32;
    if (!n || !mt_peek_copy(peek, s->hend - n * WORD, words, n * WORD)) return 0;
    while (n--)
        if (is_return_address(words[n], s)) return words[n];
    return 0;
}

/* A VM without JIT has addresses of its own code there, which nobody can name. */
static bool is_machine_code(uintptr_t address) {
    mt_aliases aliases;
    return mt_aliases_read(&aliases) && mt_aliases_is_code(&aliases, address);
}

/* Compares one call with those before it; true if it agrees. */
static bool agrees(const layout *l, const stack *s, uintptr_t outer) {
    uintptr_t depth = s->hend - s->stop;
    if (!outer) return false;
    if (agreed == 0) {
        if (!is_machine_code(outer)) return false;
        where = *l;
        last_return = outer;
    } else if (memcmp(&where, l, sizeof where) != 0 || last_return != outer) {
        return false;
    }
    if (agreed == 0 || depth != depth_seen) depths++;
    depth_seen = depth;
    agreed++;
    return true;
}

static uint32_t failures;

static bool look(ErlNifEnv *env) {
    mt_peek peek;
    layout l = {0};
    ErlNifPid self;
    uintptr_t env_words[ENV_WORDS], process[PROCESS_WORDS];
    mt_peek_open(&peek);
    bool good = enif_self(env, &self) &&
                mt_peek_copy(&peek, (uintptr_t)env, env_words, sizeof env_words) &&
                find_process(&peek, env_words, self.pid, &l, process) &&
                find_stack(env_words, process, &l);
    if (good) {
        stack s = stack_of(process, &l);
        good = agrees(&l, &s, outermost(&peek, &s));
    }
    mt_peek_close(&peek);
    return good;
}

/* A process may have been in a state that says nothing; not all of them. */
static int start_again(void) {
    agreed = depths = 0;
    return ++failures < MT_ERLANG_STACK_FAILURES ? TRYING : REFUSED;
}

bool mt_erlang_stack_calibrate(ErlNifEnv *env) {
    if (!enif_self || !enif_thread_type || WORD != 8) return false;
    pthread_mutex_lock(&lock);
    int now = atomic_load(&state);
    if (now != TRUSTED && now != REFUSED) {
        if (enif_thread_type() != ERL_NIF_THR_NORMAL_SCHEDULER) now = REFUSED;
        else if (look(env))
            now = agreed >= MT_ERLANG_STACK_CALLS && depths > 1 ? TRUSTED : TRYING;
        else now = start_again();
        atomic_store(&state, now);
    }
    pthread_mutex_unlock(&lock);
    return now == TRUSTED;
}

/* Acquire: whoever finds it trusted finds the layout. */
uint32_t mt_erlang_stack(ErlNifEnv *env, uint64_t pid, uintptr_t *out, uint32_t max) {
    if (atomic_load_explicit(&state, memory_order_acquire) != TRUSTED ||
        enif_thread_type() != ERL_NIF_THR_NORMAL_SCHEDULER)
        return 0;
    const uintptr_t *process = ((const uintptr_t *const *)(uintptr_t)env)[where.process];
    if (process[0] != pid) return 0;
    stack s = stack_of(process, &where);
    if (!is_sound(&s, process[where.size])) return 0;
    uint32_t n = 0, looked = 0;
    for (uintptr_t at = s.stop; at < s.hend && n < max && looked < LOOK_AT;
         at += WORD, looked++) {
        uintptr_t word = *(const uintptr_t *)at;
        if (!is_return_address(word, &s) || (n && word == out[n - 1])) continue;
        if (word == last_return) break;
        out[n++] = word;
    }
    return n;
}

const char *mt_erlang_stack_lacks(void) {
    switch (atomic_load(&state)) {
    case TRUSTED:
        return NULL;
    case REFUSED:
        return "there are no Erlang frames: this VM has no JIT, or where it keeps the stack of a "
               "process could not be made out with certainty";
    default:
        return "there are no Erlang frames: where this VM keeps the stack of a process has not "
               "been looked for yet";
    }
}
