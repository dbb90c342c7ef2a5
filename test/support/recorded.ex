defmodule Mtrace.Test.Recorded do
  # Snapshots that were never taken, with known numbers and with names from hell.
  @moduledoc false

  alias Mtrace.{Chunk, Culprit, Frame, Site, Snapshot}

  @shop "/app/lib/shop-1.2.3/priv/shop.so"
  @beam "/usr/lib/erlang/erts-13.1.5/bin/beam.smp"

  @doc "Names as files of other people may hold them."
  def hostile do
    [
      <<0xFF, "x", 0xC3>>,
      "a\"b",
      "a\nb\r\nc",
      "a;b",
      "a,b",
      "</script><!--",
      "=1+1",
      "+1",
      "-1",
      "@sum",
      "\e[31mred\a",
      "back\\",
      "\\N \\l \\\"",
      "a&lt;b && c",
      "0",
      "name 12",
      "name 12 3.5",
      "'",
      "''=1",
      "",
      " ",
      "\t",
      "a\0b",
      "\u202Eevil\u2028",
      "größe 🧵",
      "]]>%s%n#",
      String.duplicate("x", 5000)
    ]
  end

  def hook do
    %Frame{
      address: 0x7F0000000139,
      offset: 0x139,
      library: "/app/lib/mtrace-0.1.0/priv/mtrace.so",
      symbol: "malloc",
      file: "hook/malloc.c",
      line: 139,
      app: {:mtrace, "0.1.0"}
    }
  end

  @doc "A function of the shop's library."
  def native(symbol, offset, more \\ []) do
    struct(
      %Frame{
        address: 0x7F1000000000 + offset,
        offset: offset,
        library: @shop,
        symbol: symbol,
        app: {:shop, "1.2.3"}
      },
      more
    )
  end

  def beam(symbol, offset),
    do: %Frame{address: 0x560000000000 + offset, offset: offset, library: @beam, symbol: symbol}

  def erlang(symbol, address, more \\ []),
    do: struct(%Frame{address: address, symbol: symbol, kind: :erlang}, more)

  def chunk(site, size, weight, more \\ []) do
    struct(
      %Chunk{
        address: 0x1000 + System.unique_integer([:positive]) * 16,
        size: size,
        age_ms: 10,
        weight: weight,
        allocator: site.allocator,
        caller: site.caller,
        thread: %{id: 7, name: "1_scheduler", kind: :normal},
        stack: site.stack
      },
      more
    )
  end

  @doc "A site to which chunks can be given."
  def site(stack, more \\ []) do
    struct(
      %Site{
        stack: stack,
        culprit: Culprit.find(stack),
        recorded: 0,
        live: 0,
        live_error: 0,
        live_bytes: 0,
        live_bytes_error: 0,
        allocated: 0,
        allocated_error: 0,
        allocated_bytes: 0,
        allocated_bytes_error: 0,
        freed: 0,
        freed_bytes: 0,
        peak_bytes: 0
      },
      more
    )
  end

  @doc "The snapshot of `{site, chunks}`, with the sites' sums; `freed` as given."
  def snapshot(sites, more \\ []) do
    struct(
      %Snapshot{
        chunks: for({_, chunks} <- sites, chunk <- chunks, do: chunk),
        sites: for({site, chunks} <- sites, do: sum(site, chunks)),
        processes: %{},
        coverage: %{recorded: 6, slots: 4096, interval: 1024, ignored: 1, thinned: 2},
        node: :shop@host,
        otp_release: "25",
        taken_at: ~U[2026-11-20 10:23:46.123456Z]
      },
      more
    )
  end

  defp sum(site, chunks) do
    live = chunks |> Enum.map(& &1.weight) |> Enum.sum() |> round()
    bytes = chunks |> Enum.map(&(&1.weight * &1.size)) |> Enum.sum() |> round()

    %{
      site
      | recorded: length(chunks),
        live: live,
        live_bytes: bytes,
        allocated: live + site.freed,
        allocated_bytes: bytes + site.freed_bytes,
        peak_bytes: bytes
    }
  end

  @doc """
  Two sites: one with 10 live chunks of 3250 bytes, of two processes, called from Erlang, and 12 chunks
  of 1200 bytes that were freed; one with a chunk of 64 bytes, whose library has no names.
  """
  def shop do
    put =
      site(
        [
          hook(),
          native("inlined_copy", 0x500, inlined: true, file: "/src/copy.h", line: 7),
          native("put", 0x500, file: "/src/put.c", line: 13),
          beam("beam_jit_call_nif", 0x2000),
          erlang("Shop.put/2", 0x7F2000000010, file: "lib/shop.ex", line: 10),
          erlang("lists:foldl/3", 0x7F2000000900)
        ],
        caller: {Shop, :put, 2},
        freed: 12,
        freed_bytes: 1200
      )

    load =
      site([hook(), native(nil, 0x5840), beam("load_nif", 0x3000)],
        allocator: :enif,
        caller: {:load, {Shop, :load}}
      )

    [one, other] = [self(), :erlang.list_to_pid(~c"<0.0.0>")]
    thread = %{id: 8, name: nil, kind: :dirty_cpu}

    snapshot(
      [
        {put,
         for(age <- [5, 20, 30], do: chunk(put, 100, 2.5, pid: one, age_ms: age)) ++
           for(_ <- 1..2, do: chunk(put, 1000, 1.25, pid: other, thread: thread))},
        {load, [chunk(load, 64, 1.0)]}
      ],
      processes: %{other => %{registered_name: :init, initial_call: {:erl_init, :start, 2}}}
    )
  end

  @doc "A site for each hostile name, which is everything that can have a name there, and weighs 10 bytes."
  def hell do
    names = Enum.with_index(hostile())

    sites =
      for {name, i} <- names do
        frame = native(name, 0x100 * i, file: name, library: "/lib/" <> name, app: {name, name})
        erlang = erlang(name, 0x7F2000000000 + i, file: name)

        site =
          site([hook(), frame, erlang, %{erlang | symbol: "root"}], caller: {name, name, 1})

        thread = %{id: i, name: name, kind: :other}
        {site, [chunk(site, 10, 1.0, pid: name, thread: thread)]}
      end

    node = Enum.join(hostile())
    processes = for {name, _} <- names, into: %{}, do: {name, %{registered_name: name}}
    snapshot(sites, node: node, otp_release: node, processes: processes)
  end

  @doc "Many sites and chunks with weights that are no whole numbers."
  def random do
    sites =
      for i <- 1..40 do
        site = site([hook(), native("f#{rem(i, 7)}", i), erlang("m:f/#{i}", i)], freed: i)

        chunks =
          for _ <- 1..:rand.uniform(20) do
            thread = %{id: :rand.uniform(3), name: nil, kind: :other}
            weight = 1 + :rand.uniform() * 5
            chunk(site, :rand.uniform(5000), weight, thread: thread, age_ms: :rand.uniform(99))
          end

        {site, chunks}
      end

    snapshot(sites)
  end

  def empty, do: snapshot([])

  @doc "A file that is gone after the test."
  def file(ending) do
    file =
      Path.join(
        System.tmp_dir!(),
        "mtrace-export-#{System.unique_integer([:positive])}#{ending}"
      )

    ExUnit.Callbacks.on_exit(fn -> File.rm_rf(file) end)
    file
  end

  @doc "What the format's file holds."
  def exported(snapshot, format, options \\ []) do
    {:ok, content} = Mtrace.export(snapshot, format, :iodata, options)
    IO.iodata_to_binary(content)
  end

  @doc "What `skip:` of a test should be that runs this program."
  def without(program),
    do: System.find_executable(program) == nil && "#{program} is not installed here"
end
