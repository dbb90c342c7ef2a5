defmodule Mtrace.Memory.Balance do
  # From figures of different sources to lines that add up to RSS. Pure: what was measured comes
  # in.
  #
  # Which pages a carrier or a chunk of malloc's has is not known, only how large they are and
  # what is resident of all mappings together. Where less is resident than they are large, that
  # is taken off malloc's large chunks as far as Mtrace has found chunks that were not touched,
  # then off the carriers' unused room, the rest of the large chunks, and Erlang's data: memory
  # that was never touched is likeliest in this order. Where more is, libraries have mapped it
  # by themselves.
  @moduledoc false

  alias Mtrace.Memory.{Line, Sources}

  @type figures :: %{
          status: Mtrace.Memory.Proc.status(),
          sums: Mtrace.Memory.Mappings.sums() | nil,
          emulator: Mtrace.Memory.Emulator.t() | nil,
          heap: %{atom => non_neg_integer} | nil,
          allocator: binary | nil,
          jit_size: non_neg_integer,
          own: non_neg_integer,
          applications: [{String.t(), non_neg_integer}] | nil,
          absent: non_neg_integer
        }

  @files 5

  @doc "The lines, in a fixed order. Their bytes add up to `figures.status.rss`."
  @spec lines(figures) :: [Line.t()]
  def lines(%{status: status} = figures) do
    parts = parts(figures)
    known = parts |> Map.drop([:untouched]) |> Map.values() |> Enum.sum()
    parts = Map.put(parts, :unexplained, status.rss - known)

    for kind <- ~w(erlang carriers native fragmentation mapped stacks files jit shared mtrace
                   unexplained)a do
      line = Sources.line(kind, parts[kind], figures)
      %{line | lines: nested(kind, line.bytes, parts, figures)}
    end
  end

  # Without the mappings: what is anonymous is Erlang's as far as its allocators go, the rest is
  # not told apart.
  defp parts(%{sums: nil, status: status} = figures) do
    anonymous = max((status.anonymous || status.rss) - figures.own, 0)
    emulator = emulator(figures)
    jit = min(figures.jit_size, status.shared || 0)
    erlang = min(emulator.blocks, anonymous)
    carriers = min(emulator.room, anonymous - erlang)

    %{
      erlang: erlang,
      untouched: emulator.blocks - erlang,
      carriers: carriers,
      native: anonymous - erlang - carriers,
      fragmentation: 0,
      mapped: 0,
      stacks: 0,
      files: status.file || 0,
      jit: jit,
      shared: (status.shared || 0) - jit,
      mtrace: min(figures.own, status.anonymous || status.rss)
    }
  end

  defp parts(%{sums: sums, status: status} = figures) do
    own = min(figures.own, sums.other)
    emulator = emulator(figures)
    heap = heap(figures, emulator, sums)
    jit_shared = jit_shared(figures)
    split = split(emulator, heap, sums.other - own, figures.absent)
    surplus = surplus(figures, split.surplus)

    %{
      erlang: emulator.blocks - split.untouched + surplus.erlang,
      untouched: split.untouched,
      carriers: emulator.room - split.room,
      native: heap.used + heap.large - split.large + surplus.native,
      fragmentation: heap.free,
      mapped: surplus.mapped,
      stacks: sums.stacks,
      files: (status.file || total(sums.files)) + sums.copies,
      jit: sums.jit + jit_shared,
      shared: (status.shared || total(sums.shared) + jit_shared) - jit_shared,
      mtrace: own
    }
  end

  # Where /proc/self/pagemap cannot be read nothing is known of files and shared memory but the
  # sums.
  defp jit_shared(%{sums: sums, status: status, jit_size: size}) do
    blind = sums.jit_shared == 0 and total(sums.files) == 0
    min(if(blind, do: size, else: sums.jit_shared), status.shared || sums.jit_shared)
  end

  # Of large pieces (carriers, malloc's chunks) what is not resident, or what is besides.
  defp split(emulator, heap, resident, absent) do
    missing = max(emulator.blocks + emulator.room + heap.large - heap.carriers - resident, 0)
    absent = missing |> min(heap.large) |> min(absent)
    room = min(missing - absent, emulator.room)
    large = min(missing - room, heap.large)

    %{
      room: room,
      large: large,
      untouched: min(missing - room - large, emulator.blocks),
      surplus: max(resident - emulator.blocks - emulator.room - heap.large + heap.carriers, 0)
    }
  end

  # Mapped by libraries themselves, if it is known what the emulator and malloc have mapped.
  defp surplus(figures, bytes) do
    none = %{erlang: 0, native: 0, mapped: 0}

    cond do
      figures.emulator == nil -> %{none | erlang: bytes}
      figures.heap == nil -> %{none | native: bytes}
      true -> %{none | mapped: bytes}
    end
  end

  defp emulator(%{emulator: nil}), do: %{blocks: 0, room: 0, from_malloc: 0}

  defp emulator(%{emulator: e}) do
    held = max(e.carriers, (e.mapped || 0) + e.from_malloc)
    %{blocks: e.blocks, room: max(held - e.blocks, 0), from_malloc: e.from_malloc}
  end

  # malloc's heaps as they are resident, and its large chunks, which are mappings of their own.
  # Carriers that came from malloc are taken for such chunks first. Without malloc's own account
  # Mtrace's estimate stands for it.
  defp heap(%{heap: nil} = figures, _emulator, sums) do
    seen = for({_, bytes} <- figures.applications || [], do: bytes) |> Enum.sum()
    large = max(seen + figures.absent - sums.heaps, 0)
    %{used: sums.heaps, free: 0, large: large, carriers: 0}
  end

  defp heap(%{heap: heap}, emulator, sums) do
    large = min(emulator.from_malloc, heap.mmap_bytes)
    carriers = min(emulator.from_malloc - large, sums.heaps)
    used = (heap.used_bytes - carriers) |> max(0) |> min(sums.heaps - carriers)
    free = min(heap.free_bytes, sums.heaps - carriers - used)
    %{used: used, free: free, large: heap.mmap_bytes - large, carriers: carriers}
  end

  defp nested(:erlang, bytes, parts, %{emulator: %{memory: memory} = emulator})
       when is_list(memory) do
    # The JIT's code is counted in both, and is in no carrier.
    outside = max(memory[:total] - emulator.blocks, 0)

    known = [
      processes: memory[:processes],
      binary: memory[:binary],
      ets: memory[:ets],
      atom: memory[:atom],
      code: max(memory[:code] - outside, 0)
    ]

    other = bytes + parts.untouched - (known |> Keyword.values() |> Enum.sum())
    all = known ++ [other: other]
    all = if parts.untouched > 0, do: all ++ [untouched: -parts.untouched], else: all
    for {kind, n} <- all, do: Sources.line(kind, n, nil)
  end

  defp nested(:native, bytes, _parts, %{applications: [_ | _] = applications}) do
    lines = for {name, n} <- applications, do: Sources.named(:app, name, n)
    lines ++ [Sources.line(:unseen, bytes - sum(lines), nil)]
  end

  defp nested(:files, bytes, _parts, %{sums: %{files: files} = sums}) when files != %{} do
    largest = files |> Enum.sort_by(&{-elem(&1, 1), elem(&1, 0)}) |> Enum.take(@files)
    lines = for {path, n} <- largest, n > 0, do: Sources.named(:file, path, n)
    lines = lines ++ [Sources.line(:copies, sums.copies, nil)]
    lines ++ [Sources.line(:other_files, bytes - sum(lines), nil)]
  end

  defp nested(:shared, bytes, _parts, %{sums: %{shared: shared}}) when shared != %{} do
    lines = for {path, n} <- shared, n > 0, do: Sources.named(:file, path, n)
    if lines == [], do: [], else: lines ++ [Sources.line(:other_files, bytes - sum(lines), nil)]
  end

  defp nested(_, _, _, _), do: []

  defp sum(lines), do: lines |> Enum.map(& &1.bytes) |> Enum.sum()
  defp total(map), do: map |> Map.values() |> Enum.sum()
end
