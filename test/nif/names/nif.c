/* A NIF library for any module (-DNIF_MODULE=...): leak(Size) allocates by fixture_leak, which
 * each variant brings in its own language, and returns the address. */
#include <erl_nif.h>

void *fixture_leak(unsigned long size);

static ERL_NIF_TERM leak_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    unsigned long size;
    (void)argc;
    if (!enif_get_ulong(env, argv[0], &size)) return enif_make_badarg(env);
    return enif_make_ulong(env, (unsigned long)fixture_leak(size));
}

static ErlNifFunc functions[] = {{"leak", 1, leak_nif, 0}};

#define INIT(module) ERL_NIF_INIT(module, functions, NULL, NULL, NULL, NULL)
INIT(NIF_MODULE)
