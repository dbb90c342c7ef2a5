# What bin/corpus runs.
Code.require_file("load.exs", __DIR__)
System.halt(Mtrace.Corpus.Command.main(System.argv(), &apply(Mtrace, :leaks, [&1])))
