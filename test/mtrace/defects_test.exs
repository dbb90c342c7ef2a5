defmodule Mtrace.DefectsTest do
  # One test for each defect that the first generation had, and for those that were met since; most
  # run a program of test/programs under the preload, which says what is wrong and ends with 1.
  use ExUnit.Case, async: true
  @moduletag :plain

  import Mtrace.Test.Program

  @large [env: [{"MTRACE_SLOTS", "65536"}]]

  defp well(name, args \\ [], options \\ @large) do
    {output, status} = trace(name, args, options)
    assert {status, output} == {0, "#{name}: well\n"}
  end

  defp behind(allocator), do: [{:preload, [object(), allocator]} | @large]

  test "a cell locked by another thread at fork hung the child" do
    well("fork")
  end

  test "a pipe was opened in every process, and a byte written into a user's file" do
    file = Path.join(System.tmp_dir!(), "mtrace-own-#{System.unique_integer([:positive])}")
    on_exit(fn -> File.rm(file) end)
    assert {_, 0} = trace("descriptors", [file])
    assert File.read!(file) == ""
  end

  test "every program was dead under LD_BIND_NOW=1 or when linked with -z now" do
    assert {"", 0} = run("true", [], env: [{"LD_BIND_NOW", "1"}])
    assert {"", 0} = trace("true", [], env: [{"LD_BIND_NOW", "1"}])
    assert {_, 0} = run("bound_now")
    assert {_, 0} = trace("bound_now")
  end

  for allocator <- ["libjemalloc.so.2", "libtcmalloc_minimal.so.4"] do
    test "programs aborted with #{allocator} behind" do
      if library(unquote(allocator)) do
        options = behind(unquote(allocator))
        well("family", ["other"], options)
        well("errors", ["other"], options)
        well("fork", [], options)
        well("realloc_race", [], options)
        well("exceptions", [path("plugin.so")], options)
      end
    end
  end

  test "memalign, aligned_alloc, valloc and pvalloc were not seen" do
    well("family")
  end

  test "a realloc raced with another thread's malloc and lost its record" do
    well("realloc_race")
  end

  test "a failed realloc forgot the block, an overflowing calloc was recorded, errno changed" do
    well("errors")
  end

  test "C++ exceptions and pthread_exit were slowed or crashed by what was loaded" do
    well("exceptions", [path("plugin.so")])
  end

  test "destructors that allocate after ours lost counts or blocks" do
    well("destructors", [], [])
  end

  test "threads, forks, loading, signals, snapshots and resets at once" do
    seconds = System.get_env("STRESS_SECONDS", "10")
    {output, status} = trace("stress", [seconds, path("loaded.so")], @large)
    assert {status, output} |> elem(0) == 0, output
    assert output =~ "stress: well"
  end

  test "a process that merely inherits the preload opens, starts and prints nothing" do
    without = run("passive", [], preload: [])
    assert run("passive") == without
    assert run("passive", [], env: [{"MTRACE", "0"}]) == without
    assert run("passive", [], env: [{"MTRACE_DEPTH", "nonsense"}]) == without
    assert {output, 0} = without
    assert output =~ "handlers 0 unwinders 0"
  end

  test "a traced process that is no BEAM opens, starts and handles nothing either" do
    {without, 0} = run("passive", [], preload: [])
    {traced, 0} = trace("passive")

    assert String.replace(traced, ~r/unwinders \d+/, "") ==
             String.replace(without, ~r/unwinders \d+/, "")
  end

  test "a program that is no BEAM keeps LD_PRELOAD as it is, for what it starts" do
    assert {output, 0} = run("passive", [], env: [{"PRINT_PRELOAD", "1"}])
    assert output =~ "LD_PRELOAD=#{object()}\n"
  end

  test "a BEAM takes only our own entry out of LD_PRELOAD" do
    beam = fn preload, env ->
      {output, 0} =
        run(
          "erl",
          ["-noshell", "-eval", ~s|io:put_chars(os:getenv("LD_PRELOAD", "none")), halt().|],
          preload: preload,
          env: env
        )

      output
    end

    other = path("loaded.so")
    assert beam.([object()], []) == "none"
    assert beam.([other, object()], []) == other
    assert beam.([object(), other], []) == other
    assert beam.([object()], [{"MTRACE", "0"}]) == "none"
    assert beam.([object()], [{"MTRACE_CHILDREN", "1"}]) == object()
    link = Path.join(System.tmp_dir!(), "mtrace-link-#{System.unique_integer([:positive])}.so")
    on_exit(fn -> File.rm(link) end)
    File.ln_s!(object(), link)
    assert beam.([link], []) == "none"
  end

  describe "the output with MTRACE=1 is the output without:" do
    for {command, args} <- [
          {"python3",
           [
             "-c",
             "import json, threading; print(json.dumps([str(i) for i in range(9999)])[:99])"
           ]},
          {"perl",
           [
             "-e",
             "my %h; $h{$_ % 100} .= $_ for 1..9999; print length(join ',', map {$h{$_}} sort keys %h), qq(\\n)"
           ]},
          {"node", ["-e", "console.log(JSON.stringify([...Array(9999).keys()]).length)"]},
          {"sh", ["-c", "for i in 1 2 3; do echo $i | sed s/2/x/; done"]},
          {"gcc", ["-x", "c", "-O2", "-S", "-o", "-", "test/programs/loaded.c"]},
          {"g++", ["-x", "c++", "-O1", "-S", "-o", "-", "test/programs/plugin.cc"]}
        ] do
      test command do
        if System.find_executable(unquote(command)) do
          without = run(unquote(command), unquote(args), preload: [])
          assert trace(unquote(command), unquote(args)) == without
          assert run(unquote(command), unquote(args)) == without
        end
      end
    end
  end
end
