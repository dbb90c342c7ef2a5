defmodule Mtrace.DefectsTest do
  # One test for each defect that the first generation had, and for those that were met since; most
  # run a program of test/programs under the preload, which says what is wrong and ends with 1.
  use ExUnit.Case, async: true
  @moduletag :plain

  import Mtrace.Test.Program

  # Everything is recorded, so that a program can account for each of its blocks.
  @all [env: [{"MTRACE_INTERVAL", "0"}]]
  @large [env: [{"MTRACE_INTERVAL", "0"}, {"MTRACE_SLOTS", "65536"}]]

  defp well(name, args \\ [], options \\ @large) do
    {output, status} = trace(name, args, options)
    assert {status, output} == {0, "#{name}: well\n"}
  end

  defp behind(allocator), do: [{:preload, [object(), allocator]} | @large]

  test "what a busy node answered too late lay in the caller's mailbox" do
    busy = for _ <- 1..3, do: spawn_link(fn -> Stream.run(Stream.cycle([1])) end)
    pids = for _ <- 1..300, do: spawn_link(fn -> Process.sleep(:infinity) end)
    for _ <- 1..2000, do: Mtrace.Memory.Emulator.ask(Enum.random(0..5))
    for _ <- 1..20, do: Mtrace.Processes.describe(pids)
    Enum.each(busy ++ pids, &{Process.unlink(&1), Process.exit(&1, :kill)})
    refute_receive _, 200
  end

  test "a cell locked by another thread at fork hung the child" do
    well("fork")
  end

  test "a pipe was opened in every process, and a byte written into a user's file" do
    file = Path.join(System.tmp_dir!(), "mtrace-own-#{System.unique_integer([:positive])}")
    on_exit(fn -> File.rm(file) end)
    assert {_, 0} = trace("descriptors", [file], @all)
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
    well("destructors", [], @all)
  end

  # Each of these was met by somebody who tried to break it; test/programs/corner.c tells how.
  defp corner(name, args \\ [], options \\ @all) do
    assert {"", 0} = trace("corner", [name | args], options)
  end

  test "malloc in a signal handler on a small alternate stack overflowed it" do
    # libunwind needs a stack of 16 KiB
    if walks?(), do: for(name <- ["small_signal_stack", "small_coroutine"], do: corner(name))
  end

  test "a child's fork handler that ran before ours allocated while tracing was on, and hung" do
    corner("fork_handlers", [], [{:preload, [path("at_fork.so"), object()]} | @all])
    corner("fork_handlers")
  end

  test "a child that no handler ran in went on recording" do
    corner("raw_fork")
  end

  test "a lock held around malloc, wanted by a constructor in another thread's dlopen, deadlocked" do
    corner("first_calls_under_a_lock", [path("waits.so")])
    assert {"", 0} = run("corner", ["first_calls_under_a_lock", path("waits.so")])
  end

  test "a lock held around malloc, wanted by another thread's dl_iterate_phdr, deadlocked" do
    # libunwind takes the loader's lock
    if walks?(), do: corner("cold_stacks_under_a_lock")
  end

  test "a look-up of ours took the program's dlerror" do
    corner("errors_of_the_loader")
    assert {"", 0} = run("corner", ["errors_of_the_loader"])
  end

  test "an mmap of the program's own that allocates recursed without end" do
    corner("interposed_mmap")
  end

  test "a handler that jumped out of a hook left the thread deaf" do
    corner("jumped_out_of_a_hook")
  end

  test "a handler that jumped out of the allocator left the thread deaf at that place" do
    for options <- [@all, @large] do
      options = [{:preload, [object(), path("jumps.so")]} | options]
      corner("jumped_out_of_the_allocator", [], options)
    end
  end

  test "a library in the place of an unloaded one was walked with the other's rules" do
    if walks?() do
      for {a, b} <- [{"small", "large"}, {"large", "small"}], options <- [@all, @large] do
        libraries = [path("reuse_#{a}.so"), path("reuse_#{b}.so")]
        corner("other_library_in_the_same_place", libraries, options)
      end
    end
  end

  test "an allocator that calls its own malloc by name was recorded twice" do
    corner("allocator_that_calls_itself", [], [{:preload, [object(), path("wrap.so")]} | @all])
  end

  test "threads that first allocate in a late destructor each left a block behind" do
    corner("late_threads")
  end

  test "reallocarray crashed where nothing is traced" do
    assert {"", 0} = run("corner", ["reallocarray_without_a_table"])
    corner("reallocarray_without_a_table")
  end

  test "a hook's arithmetic is neither trapped nor seen by the program's" do
    well("floating", [], env: [{"MTRACE_INTERVAL", "4096"}])
  end

  test "the boundary of drawn chunks came back with every malloc of the same size" do
    corner("freed_chunks_do_not_come_back", [], [])
  end

  test "a program that takes malloc's address and is not position-independent was not traced" do
    well("not_pie")
  end

  test "a word about an option killed or stopped a program whose stderr nobody reads" do
    program = "MTRACE=1 MTRACE_DEPTH=x LD_PRELOAD=#{object()} timeout 20 true"
    gone = "(sleep 0.3; #{program} 2>&1) | : ; echo ${PIPESTATUS[0]}"
    assert System.cmd("bash", ["-c", gone]) == {"0\n", 0}

    full = """
    dir=$(mktemp -d); mkfifo $dir/f; exec 3<>$dir/f; rm -r $dir
    dd if=/dev/zero bs=4096 oflag=nonblock >&3 2>/dev/null; #{program} 2>&3; echo $?
    """

    assert System.cmd("bash", ["-c", full]) == {"0\n", 0}
  end

  test "a program of musl did not start, because it has no functions of glibc's" do
    if cc = System.find_executable("musl-gcc") do
      dir = Path.join(System.tmp_dir!(), "mtrace-musl-#{System.unique_integer([:positive])}")
      File.mkdir_p!(dir)
      on_exit(fn -> File.rm_rf!(dir) end)

      File.write!(Path.join(dir, "m.c"), """
      #include <stdio.h>
      #include <stdlib.h>
      int main(void) { char *p = malloc(10); free(realloc(p, 100)); return puts("well") < 0; }
      """)

      {_, 0} = System.cmd(cc, ["-O0", "-o", "m", "m.c"], cd: dir)
      assert run(Path.join(dir, "m"), []) == {"well\n", 0}
      assert trace(Path.join(dir, "m"), []) == {"well\n", 0}
    end
  end

  describe "the walk's stacks are glibc's backtrace's, frame by frame, in" do
    @expression """
    import json, re, threading
    def work(n):
        return json.loads(json.dumps([{'a': i, 'b': [str(i)] * 3, 'c': {'d': i / 3}} for i in range(n)]))
    ts = [threading.Thread(target=work, args=(3000,)) for _ in range(3)]
    [t.start() for t in ts]; [t.join() for t in ts]
    re.sub('a(b+)', lambda m: m.group(1) * 2, 'abb' * 20000)
    """

    for {name, command, args, least} <- [
          {"python3", "python3", ["-c", @expression], 80_000},
          {"the BEAM", "erl",
           [
             "-noshell",
             "-eval",
             "[code:load_file(M) || M <- [xmerl_scan, httpc, ssh, ssl, mnesia, dialyzer_cl]], halt()."
           ], 50_000},
          {"a C++ compiler", "g++",
           ["-x", "c++", "-O2", "-S", "-o", "/dev/null", "test/programs/plugin.cc"], 1000}
        ] do
      test name do
        if walks?() and System.find_executable(unquote(command)) do
          file =
            Path.join(System.tmp_dir!(), "mtrace-walk-#{System.unique_integer([:positive])}")

          on_exit(fn -> File.rm(file) end)
          # without its own allocator python3 calls malloc for every object
          env = [{"WALKCHECK_FILE", file}, {"WALKCHECK_EVERY", "5"}, {"PYTHONMALLOC", "malloc"}]
          env = if unquote(name) == "python3", do: env, else: [hd(env)]
          env = [env: env, preload: [path("walkcheck.so")]]
          {output, status} = run(unquote(command), unquote(args), env)
          assert {status, output} |> elem(0) == 0, output

          sums =
            Regex.scan(
              ~r/walkcheck: \d+ (\d+) compared, \d+ frames, (\d+) shorter, (\d+) differed/,
              File.read!(file),
              capture: :all_but_first
            )
            |> Enum.map(fn numbers -> Enum.map(numbers, &String.to_integer/1) end)
            |> Enum.zip_with(&Enum.sum/1)

          assert [compared, shorter, 0] = sums, File.read!(file)
          assert compared >= unquote(least)
          assert shorter <= compared / 1000, File.read!(file)
        end
      end
    end
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
