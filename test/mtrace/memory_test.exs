defmodule Mtrace.MemoryFiguresTest do
  # What is made of figures and of the kernel's texts, whatever they are.
  use ExUnit.Case, async: true

  alias Mtrace.{Chunk, Frame, Site, Snapshot}

  alias Mtrace.Memory.{
    Balance,
    ByApplication,
    Emulator,
    Line,
    Mappings,
    Measure,
    Notes,
    Proc,
    Table,
    Verdict
  }

  @mib 1_048_576

  @maps """
  55f9b49f2000-55f9b4a08000 rw-p 003e6000 fe:00 1056975                    /usr/lib/my beam.smp
  55f9b4a08000-55f9b4a46000 rw-p 00000000 00:00 0\x20
  55f9e282f000-55f9e2aea000 rw-p 00000000 00:00 0                          [heap]
  7f29d25d8000-7f29d35d8000 r-xs 00000000 00:01 30222                      /memfd:vmem (deleted)
  7f29d35d8000-7f29d45d8000 rw-s 00000000 00:01 30222                      /memfd:vmem (deleted)
  7f29d5000000-7f29d5001000 rw-s 00000000 00:01 9                          /memfd:mine (deleted)
  7f2a1277b000-7f2a1277c000 ---p 00000000 00:00 0\x20
  7f2a1277c000-7f2a12f7c000 rw-p 00000000 00:00 0\x20
  7f2a137f8000-7f2a53400000 ---p 00000000 00:00 0\x20
  7f2a53413000-7f2a5373e000 rw-p 00000000 00:00 0\x20
  7ffe90015000-7ffe90036000 rw-p 00000000 00:00 0                          [stack]
  ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
  """

  defp figures(changes) do
    Map.merge(
      %{
        status: %{
          rss: 1000 * @mib,
          anonymous: 900 * @mib,
          file: 80 * @mib,
          shared: 20 * @mib,
          swap: 0
        },
        sums: sums([]),
        emulator: emulator([]),
        heap: heap([]),
        allocator: "/lib/libc.so.6",
        jit_size: 16 * @mib,
        own: 0,
        applications: nil,
        absent: 0
      },
      Map.new(changes)
    )
  end

  defp sums(changes) do
    Map.merge(
      %{
        heaps: 0,
        stacks: 0,
        jit: 0,
        jit_shared: 0,
        copies: 0,
        other: 0,
        files: %{},
        shared: %{}
      },
      Map.new(changes, fn {key, n} -> {key, if(is_map(n), do: n, else: n * @mib)} end)
    )
  end

  defp emulator(changes) do
    Map.merge(
      %{memory: nil, blocks: 0, carriers: 0, from_malloc: 0, mapped: 0, disabled: []},
      Map.new(changes, fn {key, n} -> {key, if(is_list(n), do: n, else: n * @mib)} end)
    )
  end

  defp heap(changes) do
    for key <- [:allocated_bytes, :used_bytes, :free_bytes, :mmap_bytes, :mmap_chunks],
        into: %{},
        do: {key, Keyword.get(changes, key, 0) * @mib}
  end

  # Mebibytes by kind, those that are not 0.
  defp balance(changes) do
    figures = figures(changes)
    lines = Balance.lines(figures)
    assert_adds_up(lines, figures.status.rss)
    for line <- lines, line.bytes != 0, into: %{}, do: {line.kind, line.bytes / @mib}
  end

  def assert_adds_up(lines, sum) do
    assert lines |> Enum.map(& &1.bytes) |> Enum.sum() == sum

    for line <- lines do
      assert %Line{kind: kind, name: name, source: source} = line
      assert is_atom(kind) and is_binary(name) and is_binary(source) and is_integer(line.bytes)
      if line.lines != [], do: assert_adds_up(line.lines, line.bytes)
    end
  end

  # A folder of its own, which goes away with the test.
  def folder do
    name = "mtrace-memory-#{System.pid()}-#{System.unique_integer([:positive])}"
    dir = Path.join(System.tmp_dir!(), name)
    File.mkdir_p!(dir)
    on_exit(fn -> File.rm_rf!(dir) end)
    dir
  end

  describe "the mappings of /proc/self/maps" do
    test "are told apart by what they are used for" do
      mappings = Proc.mappings(@maps)
      assert length(mappings) == 12
      assert hd(mappings).path == "/usr/lib/my beam.smp"
      used = Mappings.used(mappings)
      assert length(used) == 9
      # every mapping: 3 pages of its own, 1 of a file
      resident = Map.new(used, &{&1.start, {3, if(Mappings.file?(&1), do: 1, else: 0), 0}})

      assert Mappings.sums(mappings, resident) == %{
               heaps: 3,
               stacks: 6,
               jit: 0,
               jit_shared: 8,
               copies: 9,
               other: 3,
               files: %{"/usr/lib/my beam.smp" => 1},
               shared: %{"/memfd:mine (deleted)" => 1}
             }

      assert Mappings.jit_size(mappings) == 32 * @mib
    end

    test "lend what lies in malloc's arenas to the heaps, wherever it is" do
      mappings = Proc.mappings(@maps)
      stack = Enum.find(mappings, &(&1.start == 0x7F2A1277C000))
      assert %{heaps: 4, stacks: 1} = Mappings.sums(mappings, %{stack.start => {5, 0, 4}})
    end

    test "that join a stack from above are not taken for one" do
      mappings = Proc.mappings(@maps)
      stack = 0x7F2A1277C000

      assert %{stacks: stacks, other: other} =
               Mappings.sums(mappings, %{stack => {10 * @mib, 0, 0}})

      assert {stacks, other} == {8 * @mib, 2 * @mib}
    end

    test "of smaps carry what is resident" do
      smaps = """
      7f2a53413000-7f2a5373e000 rw-p 00000000 00:00 0\x20
      Size:               3244 kB
      Rss:                  12 kB
      Anonymous:             8 kB
      VmFlags: rd wr mr mw me ac
      """

      assert [%{resident: 12_288, anonymous: 8192}] = Proc.mappings(smaps)
    end

    test "may be any bytes" do
      seed = :erlang.unique_integer([:positive]) |> rem(1_000_000)
      IO.puts("\n   seed: #{seed}")
      :rand.seed(:exsss, seed)
      assert Proc.mappings(<<255, 10, 0, 10>>) == []

      assert Proc.mappings(
               "-1-5 rw-p 0 0:0 0\n9-5 rw-p 0 0:0 0\nz-5 rw-p 0 0:0 0\n1-2 rw 0 0 0"
             ) == []

      for text <- [@maps, "VmRSS: 12 kB\nVmRSS:  kB\nVmRSS: -5 kB\nRssAnon:\t-\n"],
          _ <- 1..500 do
        text = damage(text, :rand.uniform(40))
        mappings = Proc.mappings(text)
        resident = for m <- Mappings.used(mappings), into: %{}, do: {m.start, {3, 2, 1}}
        Mappings.sums(mappings, resident)
        Mappings.jit_size(mappings)
        status = Proc.status(text)
        assert status == nil or is_integer(status.rss)
      end
    end
  end

  defp damage(text, 0), do: text

  defp damage(text, n) do
    at = :rand.uniform(byte_size(text)) - 1
    head = binary_part(text, 0, at)
    tail = binary_part(text, at + 1, byte_size(text) - at - 1)
    junk = Enum.random(["", <<:rand.uniform(256) - 1>>, "\n", "-", " ", "18446744073709551616"])
    damage(head <> junk <> tail <> "x", n - 1)
  end

  describe "the balance" do
    test "leaves what nobody accounts for to libraries that map by themselves" do
      assert balance(
               sums: sums(heaps: 100, other: 790, stacks: 4, jit_shared: 15, copies: 6),
               emulator: emulator(blocks: 300, carriers: 400, mapped: 420, from_malloc: 10),
               heap: heap(used_bytes: 70, free_bytes: 40, mmap_bytes: 60)
             ) == %{
               erlang: 300.0,
               carriers: 130.0,
               # 10 MiB of malloc's large chunks are carriers
               native: 120.0,
               fragmentation: 30.0,
               mapped: 310.0,
               stacks: 4.0,
               files: 86.0,
               jit: 15.0,
               shared: 5.0
             }
    end

    test "takes what is not resident off unused room, then off large chunks, then off data" do
      emulator = emulator(blocks: 300, carriers: 400, mapped: 400)
      heap = heap(mmap_bytes: 100)

      for {other, erlang, carriers, native} <- [
            {500, 300, 100, 100},
            {450, 300, 50, 100},
            {350, 300, 0, 50},
            {250, 250, 0, 0}
          ] do
        lines = balance(sums: sums(other: other), emulator: emulator, heap: heap)
        got = for kind <- [:erlang, :carriers, :native], do: round(lines[kind] || 0)
        assert got == [erlang, carriers, native]
      end
    end

    test "takes executed shared memory for the JIT's where pagemap cannot be read" do
      assert %{jit: 16.0, shared: 4.0} = balance(sums: sums(other: 900))
    end

    test "believes what Mtrace knows of large chunks that were not touched" do
      assert %{carriers: 100.0, native: 20.0} =
               balance(
                 sums: sums(other: 420),
                 emulator: emulator(blocks: 300, carriers: 400, mapped: 400),
                 heap: heap(mmap_bytes: 100),
                 absent: 80 * @mib
               )
    end

    test "counts what is not malloc's and not Erlang's as native where malloc is not glibc's" do
      assert %{native: 500.0} =
               lines =
               balance(
                 heap: nil,
                 allocator: "/lib/libjemalloc.so.2",
                 sums: sums(other: 900),
                 emulator: emulator(blocks: 300, carriers: 400, mapped: 400)
               )

      refute lines[:mapped]
    end

    test "adds up without mappings, without the emulator, without anything" do
      assert %{
               erlang: 300.0,
               carriers: 100.0,
               native: 500.0,
               jit: 16.0,
               shared: 4.0,
               files: 80.0
             } = balance(sums: nil, emulator: emulator(blocks: 300, carriers: 400))

      assert %{erlang: 900.0} = balance(emulator: nil, sums: sums(other: 900))
      assert %{unexplained: _} = balance(emulator: nil, sums: sums([]), heap: nil)
      no = %{rss: 1000 * @mib, anonymous: nil, file: nil, shared: nil, swap: nil}
      assert balance(status: no, sums: nil, emulator: nil) == %{native: 1000.0}
    end

    test "adds up for any figures" do
      seed = :erlang.unique_integer([:positive]) |> rem(1_000_000)
      IO.puts("\n   seed: #{seed}")
      :rand.seed(:exsss, seed)
      n = fn -> Enum.random([0, 1, 17, 400, 3000]) end

      for _ <- 1..500 do
        e = emulator(blocks: n.(), carriers: n.(), from_malloc: n.(), mapped: n.())

        memory =
          for k <- [:total, :processes, :binary, :ets, :atom, :code], do: {k, n.() * @mib}

        balance(
          sums:
            sums(
              heaps: n.(),
              other: n.(),
              stacks: n.(),
              jit: n.(),
              jit_shared: n.(),
              copies: n.(),
              files: %{"a" => n.()},
              shared: %{"b" => n.()}
            ),
          heap: Enum.random([nil, heap(used_bytes: n.(), free_bytes: n.(), mmap_bytes: n.())]),
          emulator: Enum.random([nil, e, %{e | memory: memory}]),
          applications: Enum.random([nil, [{"shop 1.2.3", n.() * @mib}]]),
          absent: n.() * @mib,
          own: n.() * @mib
        )
      end
    end

    test "shows malloc's memory by application, and what Mtrace has not seen" do
      figures =
        figures(
          sums: sums(heaps: 100, other: 800),
          heap: heap(used_bytes: 100),
          applications: [{"shop 1.2.3", 70 * @mib}, {"\e[31mred", 10 * @mib}]
        )

      native = figures |> Balance.lines() |> Enum.find(&(&1.kind == :native))

      assert [{:app, "shop 1.2.3", 70}, {:app, "?[31mred", 10}, {:unseen, _, 20}] =
               for(l <- native.lines, do: {l.kind, l.name, div(l.bytes, @mib)})
    end
  end

  describe "the allocators' sums" do
    test "are of all instances, whatever their shape, and name those that are switched off" do
      instance = [
        versions: {},
        mbcs: [
          {:blocks,
           [binary_alloc: [{:count, 1, 2, 3}, {:size, 5, 6, 7}], ets_alloc: [{:size, 1}]]},
          {:carriers_size, 10, 20, 30},
          {:sys_alloc_carriers_size, 4}
        ],
        # as OTP 23 had it
        sbcs: [{:blocks_size, 100, 1, 1}, {:carriers_size, 100, 1, 1}]
      ]

      mmap = [
        default_mmap: [options: [scs: 0], os: [sizes: [used: 1000]]],
        literal_mmap: [supercarrier: [sizes: [total: 9, used: 7], free_segs: [used: 3]]]
      ]

      infos = [a: [{:instance, 0, instance}, {:instance, 1, instance}], b: false]

      assert Emulator.sums(infos, mmap) ==
               %{blocks: 212, carriers: 220, from_malloc: 8, mapped: 1007, disabled: [:b]}

      assert %{mapped: nil} = Emulator.sums(infos, false)
    end

    test "hold the blocks of this node" do
      assert {:ok, e} = Emulator.ask()
      assert e.blocks > 0 and e.carriers >= e.blocks
      assert e.blocks <= e.memory[:total]
    end
  end

  describe "malloc's memory by application" do
    defp site(frames, bytes) do
      stack = [
        %Frame{symbol: "posix_memalign", library: "/p/mtrace.so", app: {:mtrace, "1"}} | frames
      ]

      %Site{stack: stack, culprit: Mtrace.Culprit.find(stack), live_bytes: bytes}
    end

    defp beam(symbol), do: %Frame{symbol: symbol, library: "/usr/lib/erts/bin/beam.smp"}
    defp shop, do: %Frame{symbol: "buy", library: "/shop/priv/shop.so", app: {:shop, nil}}

    test "leaves out what the emulator takes carriers of, whether its symbols are known or not" do
      sites = [
        site([beam("erts_sys_aligned_alloc"), beam("mbc_alloc")], 1000),
        site([beam(nil), beam(nil)], 100),
        site([beam("beamasm_metadata_update")], 10),
        site([shop(), beam(nil)], 1),
        %{site([shop()], 500) | allocator: :enif}
      ]

      assert ByApplication.of(%Snapshot{sites: sites}, %{}) ==
               [{"the emulator and C's libraries", 10}, {"shop", 1}]
    end

    test "sums up what comes after the largest, and takes off what is absent" do
      sites = for n <- 1..20, do: site([%{shop() | app: {:"app#{n}", "1"}}], n)
      found = ByApplication.of(%Snapshot{sites: sites}, %{"app20 1" => 15, "app1 1" => 9})
      assert length(found) == 9
      assert hd(found) == {"app19 1", 19}
      assert List.last(found) == {"12 others", Enum.sum(2..11) + 5}
    end

    test "looks for large chunks where they lie" do
      chunk = %Chunk{address: 4096, size: 200_000, weight: 2.0, stack: site([shop()], 1).stack}
      carrier = %{chunk | stack: site([beam("erts_sys_alloc")], 1).stack}
      chunks = [chunk, carrier, %{chunk | size: 1000}, %{chunk | allocator: :binary}]
      assert ByApplication.large(%Snapshot{chunks: chunks}) == [{4096, 204_096, 2.0, "shop"}]
    end
  end

  describe "the verdict" do
    defp verdict(bytes, rss \\ 100) do
      lines = for {kind, n} <- bytes, do: %Line{kind: kind, bytes: n}
      verdict = Verdict.of(lines, rss)
      assert Verdict.sentence(verdict, lines, rss) =~ ~r/^[A-Z].* resident/
      assert Verdict.advice(verdict, lines, true) =~ ~r/^[A-Z]/
      assert Verdict.advice(verdict, lines, false) =~ ~r/^[A-Z]/
      verdict
    end

    test "is the kind that half of the memory is" do
      assert verdict(native: 50, erlang: 49) == :native
      assert verdict(native: 30, mapped: 20, erlang: 49) == :native
      assert verdict(fragmentation: 60, native: 40) == :fragmentation
      assert verdict(carriers: 60, erlang: 30) == :carriers
      assert verdict(erlang: 40, jit: 15, files: 30) == :erlang
      assert verdict(files: 40, shared: 15, native: 30) == :files
    end

    test "is the kind that a third is, if no other has half of that" do
      assert verdict(native: 34, erlang: 17) == :native
      assert verdict(native: 34, erlang: 18) == :mixed
      assert verdict(native: 32, erlang: 1, stacks: 67) == :mixed
    end

    test "is mixed where there is nothing" do
      assert verdict([], 0) == :mixed
      assert verdict([unexplained: 100], 100) == :mixed
      assert verdict([native: -5, unexplained: 105], 100) == :mixed
    end

    test "says the share, the size and what the most of it is" do
      parts = [%Line{kind: :binary, name: "binaries", bytes: 30 * @mib}]
      lines = [%Line{kind: :erlang, bytes: 40 * @mib, lines: parts}]

      assert Verdict.sentence(:erlang, lines, 50 * @mib) ==
               "Erlang's data and code have 40.0 MiB (80 %) of the 50.0 MiB that are resident, " <>
                 "most of it: binaries, 30.0 MiB"
    end

    test "is followed by what to do about it" do
      assert Verdict.advice(:native, [], true) =~ "Mtrace.leaks()"
      assert Verdict.advice(:native, [], false) =~ "Mtrace.attach()"
      assert Verdict.advice(:fragmentation, [], true) =~ "MALLOC_ARENA_MAX"

      for {kind, call} <- [processes: "proc_count", binary: "bin_leak", ets: ":ets.info"] do
        parts = [%Line{kind: :other, bytes: 1}, %Line{kind: kind, bytes: 2}]
        lines = [%Line{kind: :erlang, bytes: 3, lines: parts}]
        assert Verdict.advice(:erlang, lines, true) =~ call
      end
    end
  end

  describe "where the kernel does not answer" do
    test "without a status the emulator's own sum is shown, and a sentence" do
      dir = folder()
      memory = Measure.run([snapshot: false], dir)
      assert_adds_up(memory.lines, memory.rss_bytes)
      assert [%Line{kind: :erlang, lines: [_ | _]}] = memory.lines
      assert hd(memory.notes) =~ "is not known"
      assert {memory.pss_bytes, memory.swap_bytes} == {nil, nil}
      assert inspect(memory) =~ "Erlang data"
    end

    test "without maps native memory is one sum, and a sentence says so" do
      dir = folder()

      File.write!(
        Path.join(dir, "status"),
        "VmRSS: 900000 kB\nVmSwap: 2048 kB\nRssAnon: 800000 kB\n"
      )

      memory = Measure.run([snapshot: false, full: true], dir)
      assert memory.rss_bytes == 900_000 * 1024
      assert_adds_up(memory.lines, memory.rss_bytes)
      assert memory.verdict == :native
      assert Enum.any?(memory.notes, &(&1 =~ "/proc/self/maps cannot be read"))
      assert Enum.any?(memory.notes, &(&1 =~ "2.0 MiB more are in swap"))
      assert memory.swap_bytes == 2 * @mib
    end

    test "garbage adds up, too" do
      dir = folder()
      File.write!(Path.join(dir, "status"), "VmRSS: 100 kB\n" <> <<255, 0, 10>>)

      File.write!(
        Path.join(dir, "maps"),
        "1000-2000 rw-p 0 0:0 0 \n" <> <<200, 10, 32, 32, 45>>
      )

      File.write!(Path.join(dir, "smaps"), <<0, 255>>)
      File.write!(Path.join(dir, "smaps_rollup"), "Pss: x kB\nSwap: 8 kB\n")
      memory = Measure.run([full: true], dir)
      assert memory.rss_bytes == 102_400
      assert_adds_up(memory.lines, memory.rss_bytes)
      assert memory.swap_bytes == 8192
    end

    test "a sentence says what is missing" do
      traced = %{active: :inactive, message: "Nobody is here"}
      notes = &Notes.of(figures(&1), &2, %{}, traced)
      assert [_] = notes.([], nil)
      assert ["Which application" <> _] = notes.([], nil)
      assert ["A scheduler did not answer" <> _, _] = notes.([emulator: nil], nil)

      assert ["malloc is libx.so.1's" <> _, _] =
               notes.([heap: nil, allocator: "/libx.so.1"], nil)

      assert ["/proc/self/smaps" <> _, _] = notes.([], :smaps)
      assert ["What is resident" <> _] = notes.([], {:library, {:not_loaded, :unknown}})
      assert ["malloc's own account" <> _] = notes.([], {:heap, {:not_loaded, :unknown}})
      off = emulator(disabled: [:binary_alloc])

      assert ["Erlang's allocators binary_alloc are switched off" <> _, _] =
               notes.([emulator: off], nil)
    end
  end

  test "a table fits 80 columns, whatever the names" do
    names = [
      "a",
      String.duplicate("ü", 200),
      "/a/very/long/" <> String.duplicate("path/", 40) <> "end.so"
    ]

    nested =
      for {name, i} <- Enum.with_index(names),
          do: %Line{kind: :file, name: name, bytes: 1_023_999_999_999 * i + 1, source: ""}

    memory = %Mtrace.Memory{
      rss_bytes: 4_000_000_000_000,
      lines: [%Line{kind: :files, name: "mapped files", bytes: -5, source: "", lines: nested}],
      verdict: :files,
      sentence: String.duplicate("word ", 50),
      advice: "x",
      taken_at: DateTime.utc_now()
    }

    lines = Table.format(memory)
    for line <- lines, do: assert(String.length(line) <= 80, line)
    assert Enum.any?(lines, &(&1 =~ "…"))
    assert Enum.any?(lines, &(&1 =~ "end.so"))
    text = inspect(memory)
    assert text =~ ~r/\A#Mtrace.Memory<.*\n  mapped files +-5 B +0 %\n/ or text =~ "<1 %"
    assert for(l <- String.split(text, "\n"), do: String.length(l)) |> Enum.max() <= 80
  end

  test "other options are refused" do
    for options <- [[full: 1], [foo: 1], [snapshot: true], :full, [{"full", true}]] do
      assert_raise ArgumentError, ~r/^Mtrace.memory\/1 takes full: /, fn ->
        Mtrace.memory(options)
      end
    end
  end
end

defmodule Mtrace.MemoryTest do
  # The memory of a node that is traced.
  use ExUnit.Case
  @moduletag :preloaded

  import Mtrace.MemoryFiguresTest, only: [assert_adds_up: 2]
  alias Mtrace.Memory.{Mappings, Proc}
  alias Mtrace.Test.Leaky

  @mib 1_048_576

  defp bytes(memory, kind), do: Enum.find(memory.lines, &(&1.kind == kind)).bytes

  # What each kind has more after the function, in MiB. What other tests have left goes before.
  defp growth(function) do
    before = settled()
    kept = function.()
    now = Mtrace.memory()
    growth = Map.new(now.lines, &{&1.kind, div(&1.bytes - bytes(before, &1.kind), @mib)})
    {growth, now, kept}
  end

  defp settled(tries \\ 40) do
    for pid <- Process.list(), do: :erlang.garbage_collect(pid)
    before = Mtrace.memory()
    Process.sleep(50)
    now = Mtrace.memory()
    same = Enum.all?(now.lines, &(abs(&1.bytes - bytes(before, &1.kind)) < @mib))
    if same or tries == 0, do: now, else: settled(tries - 1)
  end

  test "the lines add up to what the kernel says, and little is unexplained" do
    memory = settled()
    {:ok, status} = File.read("/proc/self/status")
    assert_adds_up(memory.lines, memory.rss_bytes)
    assert_in_delta memory.rss_bytes, Proc.status(status).rss, 16 * @mib
    assert_in_delta bytes(memory, :unexplained), 0, max(div(memory.rss_bytes, 20), 4 * @mib)

    assert for(l <- memory.lines, do: l.kind) ==
             ~w(erlang carriers native fragmentation mapped stacks files jit shared mtrace unexplained)a

    assert memory.pss_bytes in 1..(memory.rss_bytes + 16 * @mib)
    assert memory.notes == []
  end

  # What other tests have left, a large heap, may go at any moment: asked in between two looks that
  # agree.
  defp resident_between(tries \\ 20) do
    before = smaps()

    {:ok, {_, _, resident}} =
      Mtrace.Native.memory(for m <- before, do: {m.start, m.end, Mappings.file?(m)})

    assert length(resident) == length(before)
    {smaps, again} = {figures(before), figures(smaps())}
    same = Enum.zip(smaps, again) |> Enum.all?(fn {a, b} -> abs(a - b) < 4 * @mib end)
    if same or tries == 0, do: {smaps, resident}, else: resident_between(tries - 1)
  end

  defp smaps, do: Proc.mappings(File.read!("/proc/self/smaps")) |> Mappings.used()

  defp figures(mappings) do
    anonymous = Enum.sum(for m <- mappings, do: m.anonymous)
    [anonymous, Enum.sum(for m <- mappings, do: m.resident - m.anonymous)]
  end

  test "what is resident without smaps is what smaps says" do
    {[anonymous, file], resident} = resident_between()
    assert_in_delta Enum.sum(for {n, _, _} <- resident, do: n), anonymous, 8 * @mib
    assert_in_delta Enum.sum(for {_, n, _} <- resident, do: n), file, 8 * @mib
    full = Mtrace.memory(full: true)
    assert_adds_up(full.lines, full.rss_bytes)
    assert full.notes == []
  end

  test "a leak of small chunks is native memory of its library" do
    Mtrace.reset()
    {growth, memory, _} = growth(fn -> Leaky.leak(:malloc, 2000, 40_000) end)
    assert growth.native in 60..100
    assert abs(growth.erlang) < 16
    native = Enum.find(memory.lines, &(&1.kind == :native))
    assert %{kind: :app, bytes: bytes} = Enum.find(native.lines, &(&1.name == "leaky.so"))
    assert bytes > 40 * @mib
    assert native.lines |> List.last() |> Map.get(:kind) == :unseen
  end

  test "what is freed between chunks that stay is kept by malloc" do
    addresses = for _ <- 1..60_000, do: Leaky.leak(:malloc, 1500, 1)

    {growth, _, _} =
      growth(fn -> for a <- Enum.take_every(addresses, 2), do: Leaky.give_back(a) end)

    assert growth.fragmentation in 30..60
    assert growth.native in -60..-20
  end

  test "a chunk that was never touched is not resident" do
    {growth, memory, address} = growth(fn -> Leaky.leak(:calloc, 256 * @mib, 1) end)
    assert growth.native in -64..64
    native = Enum.find(memory.lines, &(&1.kind == :native))
    for line <- native.lines, do: assert(abs(line.bytes) < 200 * @mib)
    Leaky.give_back(address)
  end

  test "a large binary is Erlang's data" do
    {growth, memory, binary} = growth(fn -> :binary.copy(<<1>>, 128 * @mib) end)
    assert growth.erlang in 112..144
    assert abs(growth.native) < 16
    erlang = Enum.find(memory.lines, &(&1.kind == :erlang))
    assert Enum.find(erlang.lines, &(&1.kind == :binary)).bytes >= byte_size(binary)
  end

  test "a snapshot that is given says whose malloc's memory is, and false leaves it out" do
    site = %Mtrace.Site{stack: [], culprit: nil, allocator: :malloc, live_bytes: 12_345}
    app = %Mtrace.Frame{app: {:shop, "1.2"}, library: "/shop.so", symbol: "f"}
    sites = [site, %{site | culprit: app}, %{site | allocator: :binary, live_bytes: 99}]
    memory = Mtrace.memory(snapshot: %Mtrace.Snapshot{sites: sites, chunks: []})
    native = Enum.find(memory.lines, &(&1.kind == :native))

    assert for(%{kind: :app} = line <- native.lines, do: {line.name, line.bytes}) ==
             [{"shop 1.2", 12_345}, {"the emulator and C's libraries", 12_345}]

    assert_adds_up(memory.lines, memory.rss_bytes)
    assert Enum.find(Mtrace.memory(snapshot: false).lines, &(&1.kind == :native)).lines == []
  end
end

defmodule Mtrace.MemoryInactiveTest do
  # Where nothing is traced, or the library is missing.
  use ExUnit.Case, async: true
  @moduletag :plain

  import Mtrace.MemoryFiguresTest, only: [assert_adds_up: 2, folder: 0]
  alias Mtrace.Test.Program

  @program """
  m = Mtrace.memory()
  IO.inspect(m.rss_bytes == Enum.sum(for l <- m.lines, do: l.bytes))
  for l <- m.lines, do: IO.puts("\#{l.kind} \#{l.bytes > 0}")
  IO.puts(inspect(m))
  """

  test "there is everything but whose malloc's memory is, and a sentence says so" do
    memory = Mtrace.memory()
    assert_adds_up(memory.lines, memory.rss_bytes)
    assert %{lines: [], bytes: bytes} = Enum.find(memory.lines, &(&1.kind == :native))
    assert bytes > 0
    assert [note] = memory.notes
    assert note =~ "Which application" and note =~ "LD_PRELOAD="
  end

  test "without the library there is less to tell, and more with smaps" do
    dir = folder()
    File.cp_r!(Path.join(:code.lib_dir(:mtrace), "ebin"), Path.join(dir, "ebin"))

    run = fn program ->
      arguments = ["-pa", Path.join(dir, "ebin"), "-e", program]
      assert {output, 0} = Program.run("elixir", arguments, preload: [])
      assert output =~ ~r/\Atrue\n/
      output
    end

    output = run.(@program)
    assert output =~ "erlang true"
    assert output =~ "files true"
    assert output =~ ~r/What is resident of each mapping\s+was not found out/

    output = run.(String.replace(@program, "()", "(full: true)", global: false))
    assert output =~ "native true"
    assert output =~ "stacks true"
    assert output =~ ~r/malloc's own\s+account was not found out/
  end

  test "another malloc is named, and its memory is native" do
    for name <- ["libjemalloc.so.2", "libtcmalloc_minimal.so.4"], Program.library(name) do
      ebin = Path.join(:code.lib_dir(:mtrace), "ebin")
      {output, 0} = Program.run("elixir", ["-pa", ebin, "-e", @program], preload: [name])
      assert output =~ ~r/\Atrue\n/
      assert output =~ "malloc is #{name}'s"
      assert output =~ "fragmentation false"
    end
  end

  test "Erlang's data that is malloc's is named" do
    ebin = Path.join(:code.lib_dir(:mtrace), "ebin")
    env = [{"ERL_FLAGS", "+Mea min"}]
    {output, 0} = Program.run("elixir", ["-pa", ebin, "-e", @program], preload: [], env: env)
    assert output =~ ~r/\Atrue\n/
    assert output =~ "are switched off"
  end
end
