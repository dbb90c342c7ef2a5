defmodule Mtrace.AttachedTest do
  # Attaching to a BEAM that was started without Mtrace, and detaching. What is the same as with the
  # preload is tried by preloaded_test, in a BEAM that was attached to.
  use ExUnit.Case
  @moduletag :plain

  import Mtrace.Test.Program, only: [run: 3, path: 1, object: 0, library: 1]
  alias Mtrace.Test.{Leaky, Library}

  @all %{"MTRACE_INTERVAL" => "0"}

  setup do
    on_exit(fn -> Mtrace.detach() end)
  end

  defp known?(address), do: List.keymember?(Mtrace.olds(4096), address, 2)

  # What is mapped from files, with its permissions. Code that is loaded meanwhile does not count.
  defp mapped(paths) do
    for line <- File.stream!("/proc/self/maps"),
        [path] <- [Regex.run(~r{/.*$}, String.trim_trailing(line))],
        paths == :all or path in paths,
        do: line
  end

  defp files(maps), do: maps |> Enum.map(&hd(Regex.run(~r{/.*$}, &1))) |> Enum.uniq()

  describe "attach/1" do
    test "traces from then on, and says so" do
      early = Leaky.leak(:malloc, 5151, 1)
      assert {:ok, %{active: :attached, message: message} = status} = Mtrace.attach()
      assert message =~ "Mtrace is active: attached"
      assert status.notes == []
      Mtrace.configure(interval: 0)
      late = Leaky.leak(:malloc, 5252, 1)
      assert known?(late)
      refute known?(early)

      assert [%Mtrace.Chunk{size: 5252}] =
               Enum.filter(Mtrace.snapshot().chunks, &(&1.address == late))

      Leaky.give_back(early)
      Leaky.give_back(late)
      refute known?(late)
      Mtrace.configure(interval: :adaptive)
    end

    test "changes nothing where it is attached already" do
      assert {:ok, _} = Mtrace.attach(only: [:malloc])
      address = Leaky.leak(:malloc, 5353, 1)
      assert {:ok, %{active: :attached}} = Mtrace.attach()
      assert known?(address)
      Leaky.give_back(address)
    end

    test "starts with an empty table" do
      {:ok, _} = Mtrace.attach()
      address = Leaky.leak(:malloc, 5454, 1)
      assert known?(address)
      Mtrace.detach()
      {:ok, _} = Mtrace.attach()
      refute known?(address)
      Leaky.give_back(address)
    end

    test "sees what a library does that is loaded later" do
      {:ok, _} = Mtrace.attach()
      library = Library.make("leak.c", "-O0 -g")
      Mtrace.reset()
      library.module.leak(6161)
      stacks = for {_, 6161, _, _, stack} <- Mtrace.olds(4096), do: stack
      assert [_ | _] = stacks
      assert Enum.any?(hd(stacks), &match?({_, "leak" <> _}, &1))
      Library.unload(library)
    end

    test "refuses parts that there are not, and options that it does not know" do
      assert Mtrace.attach(only: [:nonsense]) == {:error, {:unknown, [:nonsense]}}
      assert Mtrace.attach(only: [:malloc, 1, "x"]) == {:error, {:unknown, [1, "x"]}}

      for bad <- [[on: 1], :malloc, [only: :malloc], [{:only, [:malloc]}, {:x, 1}], %{}] do
        assert_raise ArgumentError, ~r/takes only: a list of \[:malloc, :beam\]/, fn ->
          Mtrace.attach(bad)
        end
      end

      for bad <- [-1, Bitwise.bsl(1, 70), :x, nil, "1", 1.0] do
        assert_raise ArgumentError, fn -> Mtrace.Native.attach(bad) end
      end

      refute Mtrace.status().active == :attached
    end
  end

  describe "detach/0" do
    test "does nothing where nothing is attached" do
      assert Mtrace.detach() == :ok
      assert Mtrace.detach() == :ok
    end

    test "leaves the table as it was, to be read" do
      {:ok, _} = Mtrace.attach()
      Mtrace.configure(interval: 0)
      Mtrace.reset()
      address = Leaky.leak(:malloc, 7171, 1)
      assert Mtrace.detach() == :ok
      assert %{active: :detached, message: message} = Mtrace.status()
      assert message =~ "can be read"
      stats = Mtrace.stats()
      Leaky.give_back(address)
      later = Leaky.leak(:malloc, 7171, 1)
      assert Mtrace.stats().malloc_cnt == stats.malloc_cnt
      assert known?(address)
      assert [%{size: 7171}] = Enum.filter(Mtrace.snapshot().chunks, &(&1.address == address))
      assert Enum.any?(Mtrace.sites(), &(&1.live_bytes >= 7171))
      Leaky.give_back(later)
      Mtrace.configure(interval: :adaptive)
    end
  end

  # The different words of the JIT's code and of these libraries' slots that lead into our code. Our own
  # NIFs are among them, once for each time that their module was loaded.
  defp words_that_lead_to_us do
    lines = File.read!("/proc/self/maps") |> String.split("\n", trim: true)
    ours = for line <- lines, line =~ "/mtrace.so" and line =~ "r-xp", do: range(line)
    {:ok, memory} = :file.open(~c"/proc/self/mem", [:read, :raw, :binary])

    words =
      for line <- lines,
          (line =~ "memfd:vmem" and line =~ "r-xs") or
            (line =~ ~r/leaky.so|jiffy.so/ and line =~ ~r/ r--p | rw-p /),
          {lo, hi} = range(line),
          {:ok, bytes} <- [:file.pread(memory, lo, hi - lo)],
          <<word::little-64 <- bytes>>,
          Enum.any?(ours, fn {lo, hi} -> word >= lo and word < hi end),
          into: MapSet.new(),
          do: word

    :file.close(memory)
    words
  end

  defp range(line) do
    [lo, hi] = line |> String.split() |> hd() |> String.split("-")
    {String.to_integer(lo, 16), String.to_integer(hi, 16)}
  end

  # Does this again and again until told to stop.
  defp repeat(f) do
    task = Task.async(fn -> again(f) end)

    fn ->
      send(task.pid, :stop)
      Task.await(task, 60_000)
    end
  end

  defp again(f) do
    f.()
    receive(do: (:stop -> :ok), after: (0 -> again(f)))
  end

  test "a detach in the middle of an attach left NIFs wrapped" do
    {:ok, _} = Mtrace.attach()
    Mtrace.detach()
    expected = words_that_lead_to_us()

    for _ <- 1..5 do
      stop = repeat(&Mtrace.detach/0)
      assert {:ok, _} = Mtrace.attach()
      stop.()
      Mtrace.detach()
      assert MapSet.subset?(words_that_lead_to_us(), expected)
    end
  end

  test "a load of our module in the middle of a detach left a slot behind" do
    {:ok, _} = Mtrace.attach()
    Mtrace.detach()
    expected = words_that_lead_to_us()

    for _ <- 1..10 do
      {:ok, _} = Mtrace.attach()
      stop = repeat(fn -> :code.soft_purge(Mtrace.Native) && :code.load_file(Mtrace.Native) end)
      for _ <- 1..5, do: {Mtrace.detach(), Mtrace.attach()}
      Mtrace.detach()
      stop.()
      assert MapSet.subset?(words_that_lead_to_us(), expected)
    end
  end

  # MTRACE_CYCLES=10000 for a run before a release: some 8 minutes.
  @cycles String.to_integer(System.get_env("MTRACE_CYCLES", "300"))
  @tag timeout: :infinity
  test "#{@cycles} times on and off under load: no crash, and everything mapped as before" do
    {:ok, _} = Mtrace.attach()
    Mtrace.detach()
    parent = self()

    workers =
      for way <- [:malloc, :calloc, :posix_memalign, :strdup] do
        spawn_link(fn ->
          Stream.repeatedly(fn -> Leaky.give_back(Leaky.leak(way, 100, 1)) end)
          |> Enum.find(fn _ -> receive(do: (:stop -> true), after: (0 -> false)) end)

          send(parent, {:stopped, self()})
        end)
      end

    before = mapped(:all)

    for i <- 1..@cycles do
      assert {:ok, _} = Mtrace.attach()
      if rem(i, 100) == 0, do: assert(is_list(Mtrace.olds(10)))
      assert Mtrace.detach() == :ok
    end

    assert mapped(files(before)) == before
    for worker <- workers, do: send(worker, :stop)
    for worker <- workers, do: assert_receive({:stopped, ^worker}, 5000)
  end

  test "attaches while modules are loaded and purged" do
    libraries = for _ <- 1..3, do: Library.make("leak.c", "-O1")
    parent = self()

    loaders =
      for library <- libraries do
        {_, binary, file} = object_code(library)

        spawn_link(fn ->
          for _ <- 1..100 do
            :code.purge(library.module)
            :code.delete(library.module)
            :code.purge(library.module)
            {:module, _} = :code.load_binary(library.module, file, binary)
            library.module.leak(64)
          end

          send(parent, {:done, self()})
        end)
      end

    cycle(loaders)
  end

  # Until all are done.
  defp cycle([]), do: :ok

  defp cycle(loaders) do
    assert {:ok, _} = Mtrace.attach()
    assert is_map(Mtrace.stats())
    assert :ok = Mtrace.detach()

    receive do
      {:done, loader} -> cycle(List.delete(loaders, loader))
    after
      0 -> cycle(loaders)
    end
  end

  defp object_code(library) do
    path = library.file |> Path.rootname() |> String.to_charlist()
    Library.unload(library)

    [{module, binary}] =
      Code.compile_quoted(
        quote do
          defmodule unquote(library.module) do
            @on_load :load
            def load, do: :erlang.load_nif(unquote(path), 0)
            def leak(_size), do: :erlang.nif_error(:not_loaded)
          end
        end
      )

    {module, binary, ~c"leak.ex"}
  end

  describe "a BEAM of its own" do
    defp beam(expression, preload, env) do
      ebin = Path.join(:code.lib_dir(:mtrace), "ebin")

      {output, status} =
        run("elixir", ["-pa", ebin, "-e", expression], preload: preload, env: env)

      assert status == 0, output
      output
    end

    test "that is preloaded is not attached to" do
      assert beam("IO.inspect({Mtrace.attach(), Mtrace.detach()})", [object()], []) ==
               "{{:error, :preloaded}, {:error, :preloaded}}\n"
    end

    test "that writes a log says so, and that its table is empty" do
      log =
        Path.join(System.tmp_dir!(), "mtrace-beam-log-#{System.unique_integer([:positive])}")

      expression =
        "IO.puts(inspect({Mtrace.status(), Mtrace.olds(), Mtrace.attach()}, limit: :infinity))"

      try do
        said = beam(expression, [object()], [{"MTRACE_LOG", log}])
        assert said =~ "preloaded, every event goes into the log, and none into the table"
        assert said =~ "the table is empty: Mtrace.olds/2"
        assert said =~ ", [], {:error, :preloaded}}"
        refute said =~ "slots taken"
        assert File.stat!(log).size > 100_000
      after
        File.rm(log)
      end
    end

    test "that was started with MTRACE=0 is not, preloaded or not" do
      for preload <- [[], [object()]] do
        assert beam("IO.inspect({Mtrace.attach(), Mtrace.status().active})", preload, [
                 {"MTRACE", "0"}
               ]) =~
                 "{{:error, :off}, :inactive}"
      end
    end

    test "where another allocator shadows the preload is not" do
      if jemalloc = library("libjemalloc.so.2") do
        assert beam("IO.inspect(Mtrace.attach())", [jemalloc, object()], []) ==
                 "{:error, :shadowed}\n"
      end
    end

    test "that another copy of the object is preloaded into is not" do
      copy = copy()

      assert beam("IO.inspect({Mtrace.attach(), Mtrace.detach()})", [copy], []) ==
               "{{:error, :preloaded}, {:error, :preloaded}}\n"
    end

    test "that a first copy was attached to is found attached by the second" do
      dir = Path.dirname(Path.dirname(copy()))
      File.cp_r!(Path.join(:code.lib_dir(:mtrace), "ebin"), Path.join(dir, "ebin"))

      expression = """
      {:ok, _} = Mtrace.attach()
      :code.purge(Mtrace.Native); :code.delete(Mtrace.Native); :code.purge(Mtrace.Native)
      :code.del_path(:mtrace)
      :code.add_patha(~c"#{dir}/ebin")
      IO.inspect({Mtrace.status().object, Mtrace.attach() |> elem(0), Mtrace.stats().malloc_cnt > 10})
      :ok = Mtrace.detach()
      IO.inspect(Mtrace.status().active)
      """

      assert beam(expression, [], []) == ~s({"#{dir}/priv/mtrace.so", :ok, true}\n:detached\n)
    end

    test "with another allocator goes on to that" do
      for name <- ["libjemalloc.so.2", "libtcmalloc_minimal.so.4"], library(name) do
        output =
          beam(
            "{:ok, s} = Mtrace.attach(); IO.inspect(s.allocator); IO.puts(s.notes); Mtrace.detach()",
            [name],
            []
          )

        assert output =~ name
        assert output =~ "operator new is not seen"
        refute output =~ "are not seen"
      end
    end

    defp copy do
      dir = Path.join(System.tmp_dir!(), "mtrace-second-#{System.unique_integer([:positive])}")
      on_exit(fn -> File.rm_rf!(dir) end)
      File.mkdir_p!(Path.join(dir, "priv"))
      File.cp!(object(), Path.join(dir, "priv/mtrace.so"))
      Path.join(dir, "priv/mtrace.so")
    end
  end

  # Each by a program that loads the object, is bound in this way, and checks its own slots.
  for program <- ["attached", "attached_now", "attached_not_pie"],
      name <- ["basics", "missed_frees", "plugins", "cycles", "forks"] do
    test "a program: #{program}, #{name}" do
      assert {"", 0} =
               program(unquote(program), [unquote(name), object(), path("loaded.so")], [])
    end
  end

  for allocator <- ["libjemalloc.so.2", "libtcmalloc_minimal.so.4"] do
    test "a program with #{allocator}, and a library in it that is bound deep" do
      if library(unquote(allocator)) do
        for program <- ["attached", "attached_now", "attached_not_pie"] do
          args = [object(), path("loaded.so")]
          assert {"", 0} = program(program, ["other_allocator" | args], [unquote(allocator)])
          assert {"", 0} = program(program, ["deep" | args], [unquote(allocator)])
        end
      end
    end
  end

  test "a program with an allocator of its own, which its libraries call" do
    assert {"", 0} = program("own_malloc", [object()], [])
  end

  defp program(name, args, preload),
    do: run(name, args, preload: preload, env: Enum.to_list(@all))
end
