defmodule Mtrace.PreloadedTest do
  # In a BEAM that Mtrace is preloaded into, or attached to. Everything is recorded, unless a test is about
  # what is not.
  use ExUnit.Case
  @moduletag :preloaded

  import Bitwise
  alias Mtrace.Test.Leaky

  # Empties the table, leaks, and returns what is recorded of the leaks by this way, oldest first.
  defp leak(how, size, times, function \\ :leak) do
    Mtrace.reset()
    address = apply(Leaky, function, [how, size, times])
    {address, Enum.filter(Mtrace.olds(4096), fn {_, s, _, _, _} -> s == size end)}
  end

  defp symbols({_age, _size, _address, _ns, stack}) do
    for {_library, symbol} <- stack, do: symbol
  end

  setup do
    Mtrace.configure(interval: 0)
    on_exit(fn -> Mtrace.configure(interval: :adaptive) end)
  end

  test "of two who configured at once, one was not heard" do
    on_exit(fn -> Mtrace.configure(depth: 32) end)

    for _ <- 1..2000 do
      Mtrace.configure(interval: 1024, depth: 20)

      [[depth: 10], [interval: 4096]]
      |> Enum.map(&Task.async(fn -> Mtrace.configure(&1) end))
      |> Enum.each(&Task.await/1)

      assert {:ok, %{depth: 10, fixed_interval: 4096, interval: 4096}} = Mtrace.Native.status()
    end
  end

  describe "olds/2" do
    for how <- Leaky.ways() do
      test "shows a leak by #{how} with the static function that made it" do
        {address, olds} = leak(unquote(how), 4242, 3)
        assert [_, _, last] = olds
        assert {0, 4242, ^address, ns, [{object, hook} | _]} = last
        assert is_integer(ns) and ns > 0
        assert Path.basename(object) == "mtrace.so"
        assert hook =~ ~r/alloc|memalign/

        function =
          case unquote(how) do
            :thread -> "leak_by_malloc"
            :aligned_new -> "leaky_new_aligned"
            other -> "leak_by_#{other}"
          end

        assert function in symbols(last)
      end
    end

    test "shows aligned operator new, which calls aligned_alloc" do
      Mtrace.reset()
      address = Leaky.leak(:aligned_new, 100, 1)
      # an array of one, with alignment 256
      assert {_, 256, ^address, _, stack} = List.keyfind(Mtrace.olds(4096), address, 2)
      assert Enum.any?(stack, &match?({_, "_ZnwmSt11align_val_t"}, &1))
    end

    test "shows a copy by strdup, made by malloc on behalf of libc" do
      Mtrace.reset()
      address = Leaky.leak(:strdup, 0, 1)
      old = List.keyfind(Mtrace.olds(4096), address, 2)
      assert {_, size, _, _, _} = old
      assert size == byte_size("a string that is never given back") + 1
      assert "leak_by_strdup" in symbols(old)
    end

    test "shows leaks of dirty NIFs on both kinds of dirty schedulers" do
      for function <- [:leak_dirty, :leak_dirty_io] do
        {address, olds} = leak(:malloc, 5353, 1, function)
        assert [{_, _, ^address, _, _} = old] = olds
        assert "leak_by_malloc" in symbols(old)
      end
    end

    test "forgets what was freed" do
      {address, [_]} = leak(:malloc, 6464, 1)
      Leaky.give_back(address)
      refute List.keyfind(Mtrace.olds(4096), address, 2)
    end

    test "follows a chunk through realloc, and keeps it when realloc fails" do
      {address, [_]} = leak(:malloc, 7575, 1)
      assert Leaky.resize(address, 0x3FFFFFFFFFFFFFFF) == 0
      assert {_, 7575, _, _, _} = List.keyfind(Mtrace.olds(4096), address, 2)
      moved = Leaky.resize(address, 757_575)
      assert {_, 757_575, _, _, _} = List.keyfind(Mtrace.olds(4096), moved, 2)
      if moved != address, do: refute(List.keyfind(Mtrace.olds(4096), address, 2))
    end

    test "returns the oldest first, in whole seconds, and no more than asked for" do
      Mtrace.reset()
      first = Leaky.leak(:malloc, 1111, 1)
      Process.sleep(1100)
      second = Leaky.leak(:malloc, 2222, 1)
      olds = Mtrace.olds(4096)
      assert {age, 1111, _, _, _} = List.keyfind(olds, first, 2)
      assert age in 1..60
      assert {0, 2222, _, _, _} = List.keyfind(olds, second, 2)
      addresses = Enum.map(olds, &elem(&1, 2))

      assert Enum.find_index(addresses, &(&1 == first)) <
               Enum.find_index(addresses, &(&1 == second))

      assert Enum.map(olds, &elem(&1, 0)) == Enum.sort(Enum.map(olds, &elem(&1, 0)), :desc)
      assert [{_, 1111, ^first, _, _}] = Mtrace.olds(1)
      assert Mtrace.olds(0) == []
      assert length(Mtrace.olds()) <= 10
    end

    test "never answers a reused address with the stack of its former chunk" do
      Mtrace.reset()

      same =
        for i <- 1..200 do
          ways = [:malloc, :reallocarray]
          [first, second] = if rem(i, 2) == 0, do: ways, else: Enum.reverse(ways)
          {former, address} = Leaky.leak_again(first, second, 100)
          old = List.keyfind(Mtrace.olds(4096), address, 2)
          assert "leak_by_#{second}" in symbols(old)
          refute "leak_by_#{first}" in symbols(old)
          Leaky.give_back(address)
          refute List.keyfind(Mtrace.olds(4096), former, 2)
          address == former
        end

      assert Enum.any?(same)
    end

    test "demangles without a shell or any other program" do
      {address, _} = leak(:new, 8787, 1)
      path = System.get_env("PATH")
      System.put_env("PATH", "/nonexistent")
      old = List.keyfind(Mtrace.olds(4096, true), address, 2)
      System.put_env("PATH", path)
      assert "leaky::make(unsigned long)" in symbols(old)
    end

    test "demangles names on request only" do
      {address, _} = leak(:new, 8686, 1)
      plain = List.keyfind(Mtrace.olds(4096, false), address, 2)
      nice = List.keyfind(Mtrace.olds(4096, true), address, 2)
      assert "_ZN5leaky4makeEm" in symbols(plain)
      assert "leaky::make(unsigned long)" in symbols(nice)
      assert "operator new(unsigned long)" in symbols(nice)
    end

    test "names libraries by their whole path and unknown code by nil" do
      {_, [{_, _, _, _, stack}]} = leak(:malloc, 9797, 1)
      libraries = for {library, _} <- stack, do: library
      assert Enum.all?(libraries, &(Path.type(&1) == :absolute and File.exists?(&1)))
      assert Enum.any?(libraries, &(Path.basename(&1) == "leaky.so"))

      # The NIF was called by code of the JIT, which lies in no object; not each VM lets the stack
      # go on to there.
      last = List.last(stack)

      assert last == nil or Path.basename(elem(last, 0)) =~ ~r/^beam/ or
               :erlang.system_info(:emu_flavor) != :jit
    end

    test "takes any count, and refuses what is none with a sentence" do
      assert is_list(Mtrace.olds(1_000_000_000_000_000_000_000_000))

      for bad <- [-1, 1.0, :ten, nil, "10", [], {1}, self(), make_ref()] do
        assert_raise ArgumentError, ~r/non-negative integer/, fn -> Mtrace.olds(bad) end
        assert_raise ArgumentError, ~r/true or false/, fn -> Mtrace.olds(1, {:x, bad}) end
      end
    end
  end

  test "no argument from Elixir crashes the VM" do
    terms = [
      -1,
      0,
      1 <<< 70,
      1.5,
      :a,
      "b",
      ~c"c",
      [1 | 2],
      {},
      %{a: 1},
      self(),
      make_ref(),
      fn -> 1 end
    ]

    for a <- terms, b <- terms ++ [true, false] do
      try do
        Mtrace.Native.olds(a, b)
      rescue
        ArgumentError -> :refused
      end
    end

    assert is_map(Mtrace.stats())
  end

  describe "stats/0" do
    @first_generation ~w(malloc_cnt calloc_cnt realloc_cnt free_cnt posix_memalign_cnt strdup_cnt
      strndup_cnt allocated_bytes used_bytes free_bytes mmap_bytes mmap_chunks)a
    @family ~w(reallocarray_cnt free_sized_cnt free_aligned_sized_cnt aligned_alloc_cnt memalign_cnt
      valloc_cnt pvalloc_cnt malloc_usable_size_cnt)a
    @emulator ~w(enif_alloc_cnt enif_realloc_cnt enif_free_cnt enif_alloc_binary_cnt
      enif_realloc_binary_cnt enif_release_binary_cnt enif_make_binary_cnt enif_term_to_binary_cnt
      enif_alloc_resource_cnt enif_alloc_env_cnt enif_free_env_cnt driver_alloc_cnt
      driver_realloc_cnt driver_free_cnt driver_alloc_binary_cnt driver_realloc_binary_cnt
      driver_free_binary_cnt)a
    @coverage ~w(recorded slots interval ignored thinned resets)a

    test "has the keys of the first generation, the rest of the families and coverage" do
      stats = Mtrace.stats()
      keys = @first_generation ++ @family ++ @emulator ++ @coverage
      assert Enum.sort(Map.keys(stats)) == Enum.sort(keys)
      assert Enum.all?(stats, fn {_, value} -> is_integer(value) and value >= 0 end)
    end

    for {how, counter} <- [
          malloc: :malloc_cnt,
          calloc: :calloc_cnt,
          realloc: :realloc_cnt,
          reallocarray: :reallocarray_cnt,
          posix_memalign: :posix_memalign_cnt,
          aligned_alloc: :aligned_alloc_cnt,
          memalign: :memalign_cnt,
          valloc: :valloc_cnt,
          pvalloc: :pvalloc_cnt,
          strdup: :strdup_cnt
        ] do
      test "counts #{how}" do
        before = Mtrace.stats()[unquote(counter)]
        Leaky.leak(unquote(how), 16, 1000)
        assert (Mtrace.stats()[unquote(counter)] - before) in 1000..1400
      end
    end

    test "reports more than 2 GiB, where mallinfo's 32 bits overflow" do
      before = Mtrace.stats()
      chunks = for _ <- 1..5, do: Leaky.leak(:malloc, 1_000_000_000, 1)
      grown = Mtrace.stats().mmap_bytes - before.mmap_bytes
      Enum.each(chunks, &Leaky.give_back/1)
      assert grown in 5_000_000_000..5_001_000_000
    end

    test "counts what the table has no room for" do
      Mtrace.configure(interval: 0)
      Mtrace.reset()
      assert Mtrace.stats().ignored < 100
      Leaky.leak(:malloc, 3, 20_000)
      stats = Mtrace.stats()
      assert stats.recorded > 4000
      assert stats.ignored > 15_000
      assert stats.slots == 4096
      Mtrace.reset()
    end
  end

  test "reset/0 empties the table and returns nanoseconds" do
    {address, [_]} = leak(:malloc, 1234, 1)
    ns = Mtrace.reset()
    assert is_integer(ns) and ns > 0
    refute List.keyfind(Mtrace.olds(4096), address, 2)
    # what was allocated before is freed without harm
    Leaky.give_back(address)
  end

  test "status/0 says how it is active and what it stands on" do
    Mtrace.reset()
    status = Mtrace.status()
    assert status.active in [:preloaded, :attached]

    assert status.message =~
             ~r/^Mtrace is active: #{status.active}, \d+ of 4096 slots taken, everything is recorded$/

    assert status.unwinder == if(Mtrace.Test.Program.walks?(), do: :cfi, else: :libunwind)
    assert status.allocator =~ "libc"

    assert status.options == %{
             interval: 0,
             budget: 1.0,
             depth: 32,
             erlang_depth: 8,
             slots: 4096
           }

    assert %{recorded: _, ignored: _, thinned: _, slots: 4096} = status.coverage
    assert %{interval: 0, sites: _, missed_frees: 0} = status.coverage
    assert status.own_bytes < 4 * 1024 * 1024
    assert status.notes == []
    assert status.version == "0.1.0"
  end

  test "the core's own memory stays within its bounds with 200 more threads" do
    before = Mtrace.status().own_bytes
    Leaky.leak(:thread, 1, 200)
    assert Mtrace.status().own_bytes - before <= 200 * 8192
  end

  test "a full table at a fixed interval is noted: its live figures are too low" do
    Mtrace.reset()
    addresses = for _ <- 1..6000, do: Leaky.leak(:malloc, 64, 1)
    assert [note] = Mtrace.status().notes
    assert note =~ ~r/^\d+ chunks found no place in the table/
    Enum.each(addresses, &Leaky.give_back/1)
    Mtrace.reset()
    assert Mtrace.status().notes == []
  end

  describe "configure/1" do
    test "changes what it names and keeps the rest" do
      assert Mtrace.configure(interval: 123_456) == :ok
      assert Mtrace.configure(budget: 0.1) == :ok
      assert Mtrace.configure(depth: 7, erlang_depth: 5) == :ok
      assert Mtrace.configure([]) == :ok

      assert Mtrace.status().options == %{
               interval: 123_456,
               budget: 0.1,
               depth: 7,
               erlang_depth: 5,
               slots: 4096
             }

      assert Mtrace.stats().interval == 123_456
      Mtrace.configure(interval: 0, budget: 1, depth: 3)
      {_, [{_, _, _, _, stack}]} = leak(:malloc, 4321, 1)
      assert length(stack) == 3
      Mtrace.configure(depth: 32, erlang_depth: 8)
    end

    test "refuses what it does not know, and then changes nothing" do
      before = Mtrace.status().options

      for {bad, sentence} <- [
            {[interval: -1],
             ~r/either :adaptive or a number of bytes from 0 to 17592186044416/},
            {[interval: 1.5], ~r/:interval/},
            {[interval: 17_592_186_044_417], ~r/:interval/},
            {[budget: 0], ~r/:budget a percentage from 0.01 to 100/},
            {[budget: 100.1], ~r/:budget/},
            {[budget: "1"], ~r/:budget/},
            {[depth: 1], ~r/:depth a number of frames from 2 to 64/},
            {[depth: 65], ~r/:depth/},
            {[slots: 100], ~r/set MTRACE_SLOTS/},
            {[colour: 1], ~r/takes the keys :interval, :budget, :depth and :erlang_depth/},
            {[depth: 10, budget: -1], ~r/:budget/},
            {%{depth: 10}, ~r/keyword list/},
            {:depth, ~r/keyword list/}
          ] do
        assert_raise ArgumentError, sentence, fn -> Mtrace.configure(bad) end
        assert Mtrace.status().options == before
      end

      for bad <- [
            [-1, nil, nil, nil],
            [nil, 0, nil, nil],
            [nil, nil, 65, nil],
            [nil, nil, nil, 17],
            [:x, nil, nil, nil],
            [nil, 1.5, nil, nil]
          ] do
        assert_raise ArgumentError, fn -> apply(Mtrace.Native, :configure, bad) end
      end

      assert Mtrace.status().options == before
    end
  end

  describe "the sampler" do
    setup do
      # The budget depends on what else the machine does.
      Mtrace.configure(interval: :adaptive, budget: 100)
      on_exit(fn -> Mtrace.configure(budget: 1) end)
      Mtrace.reset()
      :ok
    end

    test "records everything after a reset, as long as there is room" do
      first = Leaky.leak(:malloc, 5151, 1)
      Leaky.leak(:malloc, 5252, 500)
      olds = Mtrace.olds(4096)
      assert List.keyfind(olds, first, 2)
      assert Enum.count(olds, &(elem(&1, 1) == 5252)) == 500
    end

    test "never goes blind: the table is thinned, not full, and holds the latest leaks too" do
      Leaky.leak(:malloc, 64, 100_000)
      stats = Mtrace.stats()
      assert stats.recorded in 1000..3900
      # the interval may stay 0: a site that has too much is thinned by itself
      assert stats.thinned + stats.ignored > 0
      Leaky.leak(:calloc, 48, 30_000)
      stacks = for {_, _, _, _, stack} <- Mtrace.olds(4096), do: stack
      named = Enum.frequencies(for stack <- stacks, {_, "leak_by_" <> way} <- stack, do: way)
      assert %{"malloc" => m, "calloc" => c} = named
      assert m > 0 and c > 0
    end

    test "a leak of one small chunk in 1000 that begins late is found without a reset" do
      Leaky.leak(:malloc, 64, 100_000)

      found? = fn ->
        for({_, 100, _, _, stack} <- Mtrace.olds(4096), {_, "leak_by_malloc"} <- stack, do: 1) !=
          []
      end

      # A NIF that does nothing else makes a million allocations in some ten milliseconds: a hundred
      # times that is the "within seconds" of a busy node.
      assert Enum.any?(1..100, fn _ ->
               for _ <- 1..1000 do
                 Leaky.leak(:malloc, 100, 1)
                 Leaky.churn(200, 1000)
               end

               found?.()
             end)
    end
  end

  @tag :from_start
  test "ports and shells do not inherit the preload" do
    assert System.get_env("LD_PRELOAD") == nil
    {output, 0} = System.cmd("sh", ["-c", "echo \"[$LD_PRELOAD]\"; cat /proc/$$/maps"])
    assert output =~ "[]\n"
    refute output =~ "mtrace.so"
  end

  test "reload and hot upgrade of the module work" do
    Code.put_compiler_option(:ignore_module_conflict, true)

    for _ <- 1..5 do
      [{_, binary}] = Code.compile_file("lib/mtrace/native.ex")
      file = to_charlist(Path.expand("lib/mtrace/native.ex"))
      :code.purge(Mtrace.Native)
      assert {:module, Mtrace.Native} = :code.load_binary(Mtrace.Native, file, binary)
      assert Mtrace.stats().malloc_cnt > 0
    end
  end

  test "many processes may ask at once while others allocate" do
    tasks =
      for i <- 1..16 do
        Task.async(fn ->
          for k <- 1..30 do
            case rem(i + k, 4) do
              0 -> Mtrace.olds(100, rem(k, 2) == 0)
              1 -> Mtrace.stats()
              2 -> Mtrace.reset()
              3 -> Leaky.leak_dirty(:malloc, 100, 100)
            end
          end
        end)
      end

    assert Enum.all?(Task.await_many(tasks, 60_000), &is_list/1)
  end

  test "no term is created for a stack that changed under the reader" do
    parent = self()
    stop = make_ref()

    churn =
      spawn_link(fn ->
        Stream.repeatedly(fn -> Leaky.give_back(Leaky.leak(:malloc, 777, 1)) end)
        |> Enum.find(fn _ ->
          receive do
            ^stop -> true
          after
            0 -> false
          end
        end)

        send(parent, :stopped)
      end)

    for _ <- 1..200, {_, 777, _, _, stack} <- Mtrace.olds(4096) do
      assert {_, "leak_by_malloc"} = Enum.find(stack, &match?({_, "leak_" <> _}, &1))
    end

    send(churn, stop)
    assert_receive :stopped, 5000
  end
end
