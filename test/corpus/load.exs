# Compiles the modules of the corpus. They are no part of the package, and load a NIF that
# test/corpus/Makefile builds.
files = [__DIR__, "lib/*.ex"] |> Path.join() |> Path.wildcard()

{:ok, _modules, _warnings} = Kernel.ParallelCompiler.compile(files, return_diagnostics: true)
