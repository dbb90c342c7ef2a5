# Compiles the modules of the corpus. They are no part of the package, and load a NIF that
# test/corpus/Makefile builds.
{:ok, _modules, _warnings} =
  [__DIR__, "lib/*.ex"] |> Path.join() |> Path.wildcard() |> Kernel.ParallelCompiler.compile()
