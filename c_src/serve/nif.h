/* nif: this object as a NIF library of Elixir's Mtrace.Native. Exports nif_init. Nothing here
 * is called by a hook. Each function returns {ok, Value} or {error, Reason}:
 *
 *   stats/0     {ok, #{atom => non_neg_integer}}
 *   reset/0     {ok, Nanoseconds}
 *   sharpen/1   (begin | on) {ok, ok}: see control.h, mt_tracer_watch, mt_tracer_sharpen
 *   olds/2      {ok, [Old]}, and
 *   snapshot/0  {ok, Snapshot}: see terms.h
 *   status/0    {ok, #{atom => term}}
 *   memory/1    {ok, Answer}: see rss.h; whatever traces or does not
 *   configure/4 (Interval | adaptive, Budget in ppm, Depth, ErlangDepth) ok; nil stays as it is
 *   calibrate/1 (whatever) a boolean: whether Erlang's stack can be read; to be called from
 *               several depths of Erlang's stack
 *   attach/1    (Parts, bits of attach.h) ok
 *   detach/0    ok
 *
 *   Reason      inactive | off | shadowed | late | no_memory | {version, Active, Loaded}
 *               of attach and detach also preloaded | no_allocator
 */
#ifndef MT_SERVE_NIF_H
#define MT_SERVE_NIF_H
#endif
