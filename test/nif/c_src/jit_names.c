/* The core's names for JIT code, asked of the live VM: a NIF of its own, for tests, made of the
 * core's files without its hooks.
 *
 *   names([Address]) -> {Nanoseconds, Ranges, Bytes,
 *                        [nil | {Name, File | nil, Line, nil | {Module, Function, Arity}}]}
 *   descriptor()     -> {ByShape, BySymbol}, 0 if not found; what the search took
 *   returns()        -> the return addresses of this call's own stack
 */
#include <dlfcn.h>
#include <execinfo.h>
#include <link.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <erl_nif.h>

#include "name/jit.h"
#include "name/jit_list.h"
#include "name/mfa.h"

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static ERL_NIF_TERM nil(ErlNifEnv *env) {
    return enif_make_atom(env, "nil");
}

static ERL_NIF_TERM text(ErlNifEnv *env, const char *string) {
    ERL_NIF_TERM term;
    if (!string) return nil(env);
    memcpy(enif_make_new_binary(env, strlen(string), &term), string, strlen(string));
    return term;
}

static ERL_NIF_TERM split(ErlNifEnv *env, const char *name) {
    mt_mfa mfa;
    if (!mt_mfa_split(name, &mfa)) return nil(env);
    return enif_make_tuple3(env, text(env, mfa.module), text(env, mfa.function),
                            enif_make_uint(env, mfa.arity));
}

static ERL_NIF_TERM name(ErlNifEnv *env, const mt_jit *jit, ERL_NIF_TERM term) {
    ErlNifUInt64 address = 0;
    mt_erlang found;
    if (!enif_get_uint64(env, term, &address) || !mt_jit_find(jit, address, &found))
        return nil(env);
    return enif_make_tuple4(env, text(env, found.name), text(env, found.file),
                            enif_make_uint(env, found.line), split(env, found.name));
}

static ERL_NIF_TERM names(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    mt_jit jit = {0};
    ERL_NIF_TERM list = argv[0], item, result = enif_make_list(env, 0);
    (void)argc;
    uint64_t begin = now();
    mt_jit_read(&jit);
    uint64_t end = now();
    while (enif_get_list_cell(env, list, &item, &list))
        result = enif_make_list_cell(env, name(env, &jit, item), result);
    enif_make_reverse_list(env, result, &result);
    ERL_NIF_TERM all =
        enif_make_tuple4(env, enif_make_uint64(env, end - begin), enif_make_uint(env, jit.n),
                         enif_make_uint64(env, jit.arena.bytes), result);
    mt_jit_empty(&jit);
    return all;
}

/* The program's writable segment, as the core's own search sees it. */
static int search(struct dl_phdr_info *info, size_t size, void *context) {
    mt_peek peek;
    mt_jit_image image = {info->dlpi_addr, info->dlpi_addr};
    (void)size;
    mt_peek_open(&peek);
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t lo = info->dlpi_addr + p->p_vaddr;
        if (p->p_type != PT_LOAD) continue;
        image.hi = lo + p->p_memsz;
        if (p->p_flags & PF_W)
            *(uintptr_t *)context = mt_jit_list_search(&peek, lo, lo + p->p_filesz, image);
    }
    mt_peek_close(&peek);
    return 1;
}

static ERL_NIF_TERM descriptor(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    uintptr_t found = 0;
    (void)argc, (void)argv;
    uint64_t begin = now();
    dl_iterate_phdr(search, &found);
    uint64_t end = now();
    void *symbol = dlsym(RTLD_DEFAULT, "__jit_debug_descriptor");
    return enif_make_tuple3(env, enif_make_uint64(env, found),
                            enif_make_uint64(env, (uintptr_t)symbol),
                            enif_make_uint64(env, end - begin));
}

static ERL_NIF_TERM returns(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    void *stack[64];
    ERL_NIF_TERM result = enif_make_list(env, 0);
    (void)argc, (void)argv;
    for (int n = backtrace(stack, 64); n-- > 0;)
        result = enif_make_list_cell(env, enif_make_uint64(env, (uintptr_t)stack[n]), result);
    return result;
}

static ErlNifFunc functions[] = {{"names", 1, names, ERL_NIF_DIRTY_JOB_CPU_BOUND},
                                 {"descriptor", 0, descriptor, ERL_NIF_DIRTY_JOB_CPU_BOUND},
                                 {"returns", 0, returns, 0}};

ERL_NIF_INIT(Elixir.Mtrace.Test.JitNames, functions, NULL, NULL, NULL, NULL)
