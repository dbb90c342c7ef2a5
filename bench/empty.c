/* An object without anything, to be preloaded: what the preload itself costs. */
int mtrace_bench_empty;
