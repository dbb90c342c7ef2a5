defmodule Mtrace.Memory.Measure do
  # Asks everybody, the kernel last, and puts the answers together.
  @moduledoc false

  alias Mtrace.{Memory, Native, Snapshot}

  alias Mtrace.Memory.{
    Balance,
    ByApplication,
    Emulator,
    Mappings,
    Notes,
    Proc,
    Sources,
    Verdict
  }

  @doc "`root`: another folder than /proc/self, for tests."
  @spec run(keyword, Path.t()) :: Memory.t()
  def run(options, root \\ "/proc/self") do
    check!(options)
    traced = Mtrace.status()
    snapshot = snapshot(Keyword.get(options, :snapshot), traced)
    absent = absent(snapshot)
    emulator = Emulator.ask()
    mappings = mappings(root, Keyword.get(options, :full, false))

    figures = %{
      status: root |> Proc.read("status") |> Proc.status(),
      sums: mappings.sums,
      emulator: with({:ok, emulator} <- emulator, do: emulator, else: (_ -> nil)),
      heap: mappings.heap,
      allocator: mappings.allocator,
      jit_size: mappings.jit_size,
      own: Map.get(traced, :own_bytes, 0) + Map.get(traced, :naming_bytes, 0),
      applications: with({_, snapshot} <- snapshot, do: ByApplication.of(snapshot, absent)),
      absent: absent |> Map.values() |> Enum.sum()
    }

    rollup = (Proc.read(root, "smaps_rollup") || "") |> Proc.sizes()
    {lines, rss} = lines(figures)
    verdict = Verdict.of(lines, rss)

    %Memory{
      rss_bytes: rss,
      lines: lines,
      verdict: verdict,
      sentence: Verdict.sentence(verdict, lines, rss),
      advice: Verdict.advice(verdict, lines, traced.active in [:preloaded, :attached]),
      notes: Notes.of(figures, mappings.lack, rollup, traced),
      pss_bytes: rollup["Pss"],
      swap_bytes: rollup["Swap"] || (figures.status && figures.status.swap),
      taken_at: DateTime.utc_now()
    }
  end

  defp check!(options) do
    unless Keyword.keyword?(options) and Keyword.drop(options, [:full, :snapshot]) == [] and
             is_boolean(Keyword.get(options, :full, false)) and
             snapshot?(Keyword.get(options, :snapshot)) do
      raise ArgumentError,
            "Mtrace.memory/1 takes full: true or false, and snapshot: an Mtrace.Snapshot " <>
              "whose sites " <>
              "are to be counted, or false for none, got: #{inspect(options)}"
    end
  end

  defp snapshot?(given), do: given in [nil, false] or is_struct(given, Snapshot)

  defp snapshot(%Snapshot{} = snapshot, _), do: {:given, snapshot}
  defp snapshot(false, _), do: nil

  # Detached, what was recorded can still be read.
  defp snapshot(nil, %{active: active}) when active in [:preloaded, :attached, :detached],
    do: {:taken, Mtrace.snapshot()}

  defp snapshot(nil, _), do: nil

  # What of malloc's large chunks is not resident, by application and by those that are recorded.
  defp absent({:taken, snapshot}) do
    large = ByApplication.large(snapshot)

    case Native.memory(for {from, to, _, _} <- large, do: {from, to, false}) do
      {:ok, {_, _, resident}} ->
        Enum.zip_with(large, resident, fn {from, to, weight, name}, {bytes, _, _} ->
          {name, round(weight * max(to - from - bytes, 0))}
        end)
        |> Enum.reduce(%{}, fn {name, n}, sums -> Map.update(sums, name, n, &(&1 + n)) end)

      _ ->
        %{}
    end
  end

  # The addresses are of another moment, or of another node.
  defp absent(_), do: %{}

  # `lack`: why there is nothing, or less, to say of the mappings.
  defp mappings(root, full) do
    found = if text = Proc.read(root, "maps"), do: Proc.mappings(text), else: []
    used = Mappings.used(found)
    answer = Native.memory(for m <- used, do: {m.start, m.end, Mappings.file?(m)})
    smaps = if full, do: Proc.read(root, "smaps")
    resident = resident(used, answer) |> Map.merge(smaps(smaps, used), &merge/3)

    {heap, allocator} =
      case answer do
        {:ok, {heap, allocator, _}} -> {if(glibc?(allocator), do: heap), allocator}
        {:error, _} -> {nil, nil}
      end

    %{
      sums: if(resident != %{}, do: Mappings.sums(found, resident)),
      heap: heap,
      allocator: allocator,
      jit_size: Mappings.jit_size(found),
      lack: lack(found, answer, full, smaps)
    }
  end

  defp lack([], _, _, _), do: :maps
  defp lack(_, {:error, reason}, _, nil), do: {:library, reason}
  defp lack(_, {:error, reason}, _, _), do: {:heap, reason}
  defp lack(_, _, true, nil), do: :smaps
  defp lack(_, _, _, _), do: nil

  defp resident(used, {:ok, {_, _, sums}}),
    do: Enum.zip_with(used, sums, &{&1.start, &2}) |> Map.new()

  defp resident(_, _), do: %{}

  # Of mappings that came meanwhile nothing is known to the rest.
  defp smaps(nil, _), do: %{}

  defp smaps(text, used) do
    known = MapSet.new(used, & &1.start)

    for %{anonymous: anonymous, resident: resident} = m when is_integer(anonymous) <-
          Proc.mappings(text),
        is_integer(resident) and m.start in known,
        into: %{},
        do: {m.start, {anonymous, max(resident - anonymous, 0), 0}}
  end

  # malloc's arenas are told by the library alone.
  defp merge(_start, {_, _, arenas}, {anonymous, file, _}),
    do: {anonymous, file, min(arenas, anonymous)}

  defp glibc?(nil), do: false
  defp glibc?(path), do: Path.basename(path) =~ ~r/^libc[.-]/

  defp lines(%{status: nil} = figures) do
    line = Sources.elsewhere(figures)
    {[line], line.bytes}
  end

  defp lines(figures), do: {Balance.lines(figures), figures.status.rss}
end
