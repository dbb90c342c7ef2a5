defmodule Mtrace.AssertionsTest do
  # Preloaded, attached to, and in a BEAM where nothing is traced, which is attached to for each.
  use ExUnit.Case
  import Mtrace.Assertions

  alias ExUnit.AssertionError
  alias Mtrace.Test.{BeamAfter, BeamHooks, Leaky, Library}

  @compile {:no_warn_undefined, BeamAfter}

  setup_all do
    before = Code.compiler_options(ignore_module_conflict: true)
    BeamHooks.define(BeamAfter, "beam_after")
    Code.compiler_options(before)
    :ok
  end

  defp leaks(fun, options \\ []) do
    error = assert_raise AssertionError, fn -> assert_no_native_leak(fun, options) end
    error.message
  end

  # Calls `fun` in one of n calls, the first of them the n-th.
  defp each(n, fun) do
    calls = :counters.new(1, [])

    fn ->
      :counters.add(calls, 1, 1)
      if rem(:counters.get(calls, 1), n) == 0, do: fun.()
    end
  end

  defp healthy, do: Leaky.churn(100, 10)

  describe "a NIF that leaks" do
    test "fails with its line, its library and application, and what stayed in a call and in all" do
      library = Library.make("leak.c", "-O0 -g")
      message = leaks(fn -> library.module.leak(1000) end, repeat: 20)

      assert message =~
               "native memory leaks: 19.5 KiB in 20 chunks stayed of 20 calls, 1000 B a call"

      line = Library.line(library, "the innermost line")
      {app, version} = library.app
      assert message =~ "1000 B a call, 19.5 KiB in 20 chunks: "
      assert message =~ ~r/inlined_leak .*at leak.c:#{line} in leak.so \(#{app} #{version}\)/
      assert message =~ "source: #{library.source}:#{line}\n"
      assert message =~ "fixture_leak at leak.c:"
      Library.unload(library)
    end

    test "fails with the NIF and the process that called" do
      assert leaks(fn -> Leaky.leak(:malloc, 77, 1) end) =~
               "called as Mtrace.Test.Leaky.leak/3 by #{inspect(self())}, the calling process"
    end

    test "fails however it allocates" do
      for how <- Leaky.ways() -- [:new] do
        assert leaks(fn -> Leaky.leak(how, 500, 1) end) =~ "leak_by_", "#{how}"
      end
    end

    test "fails if one call of ten leaks" do
      message = leaks(each(10, fn -> Leaky.leak(:malloc, 100, 1) end))
      assert message =~ "500 B in 5 chunks stayed of 50 calls, 10 B a call"
    end

    test "fails if it leaks more than the table holds, with what is estimated" do
      message = leaks(fn -> Leaky.leak(:malloc, 64, 1000) end)
      [_, kib] = Regex.run(~r/leaks: ([\d.]+) (?:KiB|MiB)/, message)
      assert message =~ "MiB in" and message =~ "KiB a call"
      # 3.05 MiB; over 3000 sampled chunks the estimate is within some per cent
      assert_in_delta String.to_float(kib), 3.05, 0.6
    end

    test "fails if it is called in a process that the function starts, and that has ended" do
      message = leaks(fn -> Task.await(Task.async(fn -> Leaky.leak(:malloc, 333, 1) end)) end)
      assert message =~ "leak_by_malloc"
      assert message =~ "50 processes"
    end

    test "fails if it is called in a server that the test has started" do
      server = start_supervised!({Agent, fn -> nil end})
      leak = fn _ -> Leaky.leak(:malloc, 444, 1) end
      assert leaks(fn -> Agent.update(server, leak) end) =~ "by #{inspect(server)}"
      {:ok, server} = Agent.start_link(fn -> nil end)
      assert leaks(fn -> Agent.update(server, leak) end) =~ "by #{inspect(server)}"
    end

    test "fails on a thread of its own, and on dirty schedulers" do
      assert leaks(fn -> Leaky.leak(:thread, 200, 1) end) =~ "for no process"
      assert leaks(fn -> Leaky.leak_dirty(:malloc, 200, 1) end) =~ "leak_dirty/3"
      assert leaks(fn -> Leaky.leak_dirty_io(:malloc, 200, 1) end) =~ "leak_dirty_io/3"
    end

    test "fails with a single chunk that grows in each call" do
      state = :counters.new(2, [])
      :counters.put(state, 1, Leaky.leak(:malloc, 100, 1))

      message =
        leaks(fn ->
          :counters.add(state, 2, 100)
          address = Leaky.resize(:counters.get(state, 1), :counters.get(state, 2))
          :counters.put(state, 1, address)
        end)

      assert message =~ "in 1 chunk stayed of 40 calls, 100 B a call"
      Leaky.give_back(:counters.get(state, 1))
    end

    test "fails with a resource that is kept, and with memory of the emulator that is" do
      {:ok, keeper} = Agent.start_link(fn -> [] end)

      keep = fn ->
        {_, resource} = BeamAfter.resource(:with, 300)
        Agent.update(keeper, &[resource | &1])
      end

      assert leaks(keep) =~ "allocated as resource"
      assert leaks(fn -> BeamAfter.alloc(300) end) =~ "allocated as enif"
    end

    test "fails in several places, the largest first" do
      message =
        leaks(fn ->
          Leaky.leak(:malloc, 100, 1)
          Leaky.leak(:calloc, 300, 1)
        end)

      assert message =~ "400 B a call"
      assert message =~ ~r/300 B a call.*leak_by_calloc.*100 B a call.*leak_by_malloc/s
    end
  end

  describe "passes" do
    test "a NIF that gives back what it takes" do
      assert assert_no_native_leak(&healthy/0) == :ok

      assert assert_no_native_leak(fn -> Leaky.give_back(Leaky.leak(:malloc, 100, 1)) end) ==
               :ok
    end

    test "what is made once, in the warm-up or later" do
      for nth <- [1, 20, 54], do: assert(assert_no_native_leak(once(nth)) == :ok)
    end

    defp once(nth) do
      calls = :counters.new(1, [])

      fn ->
        :counters.add(calls, 1, 1)
        if :counters.get(calls, 1) == nth, do: Leaky.leak(:malloc, 5000, 3)
      end
    end

    test "what is kept of the last call" do
      last = :counters.new(1, [])

      keep = fn size ->
        address = :counters.get(last, 1)
        if address != 0, do: Leaky.give_back(address)
        :counters.put(last, 1, Leaky.leak(:malloc, size, 1))
      end

      assert assert_no_native_leak(fn -> keep.(100) end) == :ok
      :rand.seed(:exsss, {1, 2, 3})
      assert assert_no_native_leak(fn -> keep.(:rand.uniform(10_000)) end) == :ok
      Leaky.give_back(:counters.get(last, 1))
    end

    test "resources that become garbage, also a server's" do
      assert assert_no_native_leak(fn -> BeamAfter.resource(:with, 300) end) == :ok
      {:ok, server} = Agent.start_link(fn -> nil end)
      hold = fn _ -> BeamAfter.resource(:with, 300) end
      assert assert_no_native_leak(fn -> Agent.update(server, hold) end) == :ok
    end

    test "code that is loaded, ETS, processes and binaries" do
      table = :ets.new(:kept, [:public])

      assert_no_native_leak(
        fn ->
          n = System.unique_integer([:positive])
          name = Module.concat(Mtrace.Test, "Made#{n}")
          Module.create(name, quote(do: def(f(x), do: [x | x])), Macro.Env.location(__ENV__))
          :ets.insert(table, {n, :binary.copy("x", 1000)})
          spawn_link(fn -> Process.sleep(:infinity) end)
        end,
        repeat: 20
      )
    end

    test "a leak of other processes, which async tests may be, unless all are to count" do
      server = another()
      on_exit(fn -> Agent.stop(server) end)
      leak = fn -> Agent.update(server, fn _ -> Leaky.leak(:malloc, 600, 1) end) end
      assert assert_no_native_leak(leak) == :ok
      assert leaks(leak, processes: :all) =~ "600 B a call"
      assert leaks(leak, processes: [server]) =~ "600 B a call"
      Process.register(server, :mtrace_assertions_test)
      assert leaks(leak, processes: [:mtrace_assertions_test]) =~ "600 B a call"
    end

    # A server that this test has not started.
    defp another do
      test = self()
      spawn(fn -> send(test, Agent.start(fn -> nil end)) end)
      assert_receive {:ok, server}
      server
    end

    test "what is allowed, and what is to be ignored" do
      leak = fn -> Leaky.leak(:malloc, 100, 1) end
      assert assert_no_native_leak(leak, repeat: 10, allowed_bytes: 1000) == :ok
      assert leaks(leak, repeat: 10, allowed_bytes: 999) =~ "1000 B in 10 chunks"

      for pattern <- ["leak_by_malloc", "leaky.so", "leaky.c", ~r/leak_by_m/, "^leak*malloc$"] do
        assert assert_no_native_leak(leak, ignore: ["nothing", pattern]) == :ok
      end

      assert leaks(leak, ignore: ["^by_malloc", ~r/leak_by_calloc/]) =~ "leak_by_malloc"
      file = Path.join(System.tmp_dir!(), "mtrace-ignore-#{System.pid()}")
      on_exit(fn -> File.rm(file) end)
      File.write!(file, "# known\nleak:leak_by_malloc\n")
      assert assert_no_native_leak(leak, ignore: {:file, file}) == :ok
    end
  end

  test "resources that became garbage stay with gc: false" do
    # in a process whose heap is so large that it does not collect by itself
    {:ok, server} = Agent.start_link(fn -> nil end, spawn_opt: [min_heap_size: 1_000_000])
    hold = fn _ -> BeamAfter.resource(:with, 300) end
    assert leaks(fn -> Agent.update(server, hold) end, gc: false) =~ "allocated as resource"
  end

  defp settings, do: Map.take(Mtrace.status(), [:active, :options])

  describe "the node is left as it was" do
    setup do
      if Mtrace.status().active in [:preloaded, :attached] do
        Mtrace.configure(interval: 4096, budget: 2)
        on_exit(fn -> Mtrace.configure(interval: :adaptive, budget: 1) end)
      end

      # as it is after the first time: detached
      assert_no_native_leak(&healthy/0)
      {:ok, settings: settings()}
    end

    test "when it passes and when it fails", %{settings: settings} do
      assert_no_native_leak(&healthy/0)
      assert settings() == settings
      leaks(fn -> Leaky.leak(:malloc, 64, 500) end)
      assert settings() == settings
    end

    test "when the function raises, throws or exits, which is passed on", %{settings: settings} do
      assert_raise RuntimeError, "a reason", fn ->
        assert_no_native_leak(each(20, fn -> raise "a reason" end))
      end

      assert settings() == settings
      assert catch_throw(assert_no_native_leak(fn -> throw(:ball) end)) == :ball
      assert catch_exit(assert_no_native_leak(fn -> exit(:out) end)) == :out
      assert settings() == settings
    end

    test "when the test is killed", %{settings: settings} do
      {pid, monitor} =
        spawn_monitor(fn ->
          assert_no_native_leak(fn -> Process.exit(self(), :kill) end)
        end)

      assert_receive {:DOWN, ^monitor, :process, ^pid, :killed}
      # the next one waits for what the killed one had to be put back
      assert_no_native_leak(&healthy/0)
      assert settings() == settings
    end

    test "with nothing in the mailbox, and nobody traced" do
      server = start_supervised!({Agent, fn -> nil end})
      assert_no_native_leak(fn -> Task.await(Task.async(&healthy/0)) end)
      refute_received _

      for pid <- [self(), server],
          do: assert(:erlang.trace_info(pid, :tracer) == {:tracer, []})
    end
  end

  test "several at once wait for one another" do
    test = self()

    results =
      for leaky <- [true, false, true, false] do
        Task.async(fn ->
          inside = fn ->
            send(test, {:in, self()})
            if leaky, do: Leaky.leak(:malloc, 200, 1), else: healthy()
          end

          try do
            assert_no_native_leak(inside, repeat: 10)
          rescue
            error in AssertionError -> error.message
          end
        end)
      end
      |> Task.await_many(60_000)

    assert ["native memory leaks" <> _, :ok, "native memory leaks" <> _, :ok] = results
    # one after the other: each process's calls come in one piece
    assert received([]) |> Enum.dedup() |> length() == 4
  end

  defp received(list) do
    receive do
      {:in, pid} -> received([pid | list])
    after
      0 -> list
    end
  end

  test "a table that another process empties meanwhile is no proof, and fails" do
    message = leaks(each(30, fn -> Task.await(Task.async(&Mtrace.reset/0)) end))
    assert message =~ "was not found out, because the table of recorded chunks was emptied"
  end

  test "it waited forever where the process that keeps things in order was killed" do
    kill = fn -> Mtrace.Assertions.Keeper |> Process.whereis() |> Process.exit(:kill) end
    assert catch_exit(assert_no_native_leak(kill, warmup: 0)) == :killed
    refute_received {:DOWN, _, _, _, _}
  end

  test "the node stayed attached to where the process that keeps things in order was killed" do
    before = settings()
    kill = fn -> Mtrace.Assertions.Keeper |> Process.whereis() |> Process.exit(:kill) end
    catch_exit(assert_no_native_leak(kill, warmup: 0))
    assert settings() == before
  end

  test "one inside of another is refused, not waited for" do
    assert_raise ArgumentError, ~r/one after the other/, fn ->
      assert_no_native_leak(fn -> assert_no_native_leak(&healthy/0) end)
    end

    assert assert_no_native_leak(&healthy/0) == :ok
  end

  test "wrong arguments are named in one sentence" do
    for {options, sentence} <- [
          {[warmup: -1], "as :warmup a number of calls"},
          {[repeat: 2], "as :repeat a number of calls of at least 3"},
          {[allowed_bytes: 1.5], "as :allowed_bytes a number of bytes"},
          {[gc: nil], "as :gc true or false"},
          {[processes: :mine], "as :processes :own, :all, or a list of this node's"},
          {[processes: [:nobody_of_that_name]], "there is none of that name"},
          {[ignore: :leaky], "as :ignore patterns or {:file, path}"},
          {[ignore: [:leaky]], "a pattern is a string or a Regex"},
          {[ignore: {:file, "/none"}], "cannot be read: no such file"},
          {[nonsense: 1], "the options :warmup, :repeat"},
          {:nonsense, "a keyword list of options"}
        ] do
      error =
        assert_raise ArgumentError, fn -> assert_no_native_leak(fn -> flunk() end, options) end

      assert error.message =~ sentence
    end

    assert_raise ArgumentError, ~r/a function without arguments/, fn ->
      assert_no_native_leak(Process.get(:none, fn _ -> nil end))
    end
  end

  describe "of what was seen after each batch" do
    alias Mtrace.Assertions.Survivors

    # Each look: a list of {address, thread}, of one site.
    defp verdict(looks, options \\ []) do
      exact = Keyword.get(options, :exact, true)

      case Survivors.suspects(
             looks(looks),
             runs(looks),
             fn _ -> true end,
             exact,
             options[:before]
           ) do
        [] -> :passes
        [suspect] -> {suspect.bytes, suspect.count, suspect.runs}
      end
    end

    defp runs(looks), do: List.duplicate(10, length(looks))

    defp looks(looks),
      do:
        for(
          look <- looks,
          do: Map.new(look, fn {address, thread} -> entry(address, thread) end)
        )

    defp entry(address, thread) do
      frame = %Mtrace.Frame{address: 1, library: "/app/priv/shop.so", symbol: "f"}
      chunk = %Mtrace.Chunk{address: address, size: 8, age_ms: 1, stack: [frame]}
      {address, %{site: 1, bytes: 8.0, weight: 1.0, thread: thread, chunk: chunk}}
    end

    # One chunk more after each of the batches but the last, on these threads.
    defp on(threads) do
      looks = for n <- 1..length(threads), do: threads |> Enum.with_index() |> Enum.take(n)
      looks = for look <- looks, do: for({thread, i} <- look, do: {i, thread})
      looks ++ [List.last(looks)]
    end

    test "what is made once for each scheduler's thread is none, what comes again on one is" do
      before = Survivors.suspects(looks(on([7, 8])), [10, 10, 10], fn _ -> true end, true)
      assert [%{site: 1}] = before
      assert verdict(on([9, 10, 11]), before: before) == :passes
      assert verdict(on([9, 10, 9]), before: before) == {24, 3, 40}
      assert verdict(on([9, 8]), before: before) == {16, 2, 30}
      # threads that a library makes may be new ones each time
      assert verdict(on([:other, :other]), before: before) == {16, 2, 30}
      assert verdict(on([7]), before: before) == :passes
    end

    test "what was no suspect before is none" do
      assert verdict(on([7, 7, 7])) == {24, 3, 40}
      assert verdict(on([7, 7, 7]), before: []) == :passes
    end

    test "what is kept of the last call counts as little beside what is made once" do
      looks = [[{1, 7}], [{1, 7}, {2, 7}], [{1, 7}, {3, 7}], [{1, 7}, {4, 7}]]
      assert verdict(looks) == :passes
    end

    test "an address that was given back in between begins anew" do
      assert verdict([[{1, 7}], [{2, 7}], [{1, 7}], [{2, 7}], [{1, 7}]]) == :passes
      assert verdict([[{1, 7}], [{1, 7}], [{3, 7}], [{1, 7}], [{1, 7}]]) == :passes
    end

    test "what has more bytes after each batch grows, unless that is an estimate" do
      rising = for n <- 1..4, do: for(i <- 1..n, do: {10 * n + i, 7})
      assert verdict(rising) == {24, 4, 30}
      assert verdict(rising, exact: false) == :passes
      assert verdict([[{1, 7}], [{2, 7}, {3, 7}], [{4, 7}], [{5, 7}, {6, 7}]]) == :passes
    end
  end

  describe "where nothing is traced" do
    @describetag :plain

    test "it is attached to, and detached from" do
      refute Mtrace.status().active in [:attached, :preloaded]
      assert_no_native_leak(fn -> assert Mtrace.status().active == :attached end)
      refute Mtrace.status().active in [:attached, :preloaded]
    end

    test "and there is no ExUnit, as in a release, it fails all the same" do
      # a plain Erlang, with Elixir's own application alone
      program = """
      Leak = fun() -> 'Elixir.Mtrace.Test.Leaky':leak(malloc, 9, 1) end,
      try 'Elixir.Mtrace.Assertions':assert_no_native_leak(Leak)
      catch error:\#{'__struct__' := Name, message := Text} -> io:format("~s: ~s", [Name, Text])
      end,
      halt().
      """

      paths = for app <- [:elixir, :mtrace], do: Path.join(:code.lib_dir(app), "ebin")
      args = ["-noshell", "-pa"] ++ paths ++ ["-eval", program]
      {output, 0} = System.cmd("erl", args, env: [{"LD_PRELOAD", nil}, {"ERL_LIBS", nil}])
      assert output =~ ~r/^Elixir.RuntimeError: native memory leaks: 450 B in 50 chunks/
    end

    test "and it cannot be attached to, one sentence says why" do
      program = """
      try do Mtrace.Assertions.assert_no_native_leak(fn -> :ok end)
      rescue error -> IO.puts(inspect(error.__struct__) <> ": " <> error.message) end
      """

      ebin = Path.join(:code.lib_dir(:mtrace), "ebin")
      env = [{"MTRACE", "0"}, {"LD_PRELOAD", "#{Mtrace.Native.path()}.so"}]
      {output, 0} = System.cmd("elixir", ["-pa", ebin, "-e", program], env: env)
      assert output =~ ~r/^Mtrace.InactiveError: .*started with MTRACE=0/
    end
  end
end
