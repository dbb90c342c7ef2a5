defmodule Mtrace.Memory.Verdict do
  # What most of the memory is, and what to do about it. Pure.
  @moduledoc false

  alias Mtrace.Size

  @type verdict :: :native | :fragmentation | :carriers | :erlang | :files | :mixed

  # A line of its own, or several that are answered by the same question.
  @kinds [
    native: [:native, :mapped],
    fragmentation: [:fragmentation],
    carriers: [:carriers],
    erlang: [:erlang, :jit],
    files: [:files, :shared]
  ]

  @doc """
  The kind with the most bytes, if these are half of RSS, or a third and twice as many as the
  next kind has; else `:mixed`.
  """
  @spec of([Mtrace.Memory.Line.t()], non_neg_integer) :: verdict
  def of(lines, rss) do
    [{kind, most}, {_, next} | _] = ranked(lines)

    if most > 0 and (2 * most >= rss or (3 * most >= rss and most >= 2 * next)),
      do: kind,
      else: :mixed
  end

  @doc "Bytes of each kind that a verdict may name, most first."
  def ranked(lines) do
    for {kind, parts} <- @kinds do
      {kind, lines |> Enum.filter(&(&1.kind in parts)) |> Enum.map(& &1.bytes) |> Enum.sum()}
    end
    |> Enum.sort_by(&(-elem(&1, 1)))
  end

  @doc "The verdict in a sentence."
  @spec sentence(verdict, [Mtrace.Memory.Line.t()], non_neg_integer) :: String.t()
  def sentence(:mixed, lines, rss) do
    [{first, most}, {second, next} | _] = ranked(lines)

    "No kind of memory stands out in the #{Size.format(rss)} that are resident: " <>
      "#{called(first)} " <>
      "#{has(first)} #{amount(most, rss)}, #{called(second)} #{amount(next, rss)}"
  end

  def sentence(kind, lines, rss) do
    {_, bytes} = lines |> ranked() |> List.keyfind(kind, 0)

    "#{called(kind) |> capital()} #{has(kind)} #{amount(bytes, rss)} of the " <>
      "#{Size.format(rss)} that " <>
      "are resident#{mostly(kind, lines)}"
  end

  defp amount(bytes, rss), do: "#{size(bytes)} (#{percent(bytes, rss)})"
  defp size(bytes) when bytes < 0, do: "-" <> Size.format(-bytes)
  defp size(bytes), do: Size.format(bytes)
  defp percent(_, 0), do: "0 %"
  defp percent(bytes, rss), do: "#{round(100 * bytes / rss)} %"

  defp called(:native), do: "native code"
  defp called(:fragmentation), do: "memory that is free but kept by malloc"
  defp called(:carriers), do: "unused room in Erlang's carriers"
  defp called(:erlang), do: "Erlang's data and code"
  defp called(:files), do: "mapped files and shared memory"

  defp has(:erlang), do: "have"
  defp has(:files), do: "have"
  defp has(_), do: "has"

  defp capital(<<first::utf8, rest::binary>>), do: String.upcase(<<first::utf8>>) <> rest

  defp largest(%{lines: []}), do: nil
  defp largest(%{lines: parts}), do: Enum.max_by(parts, & &1.bytes).kind

  # The largest part, if it is half of the line.
  defp mostly(kind, lines) do
    with %{lines: [_ | _] = parts, bytes: bytes} <- Enum.find(lines, &(&1.kind == kind)),
         %{bytes: most, name: name} when 2 * most >= bytes <- Enum.max_by(parts, & &1.bytes) do
      ", most of it: #{name}, #{Size.format(most)}"
    else
      _ -> ""
    end
  end

  @doc "What to do next. `traced`: whether Mtrace sees native memory here."
  @spec advice(verdict, [Mtrace.Memory.Line.t()], boolean) :: String.t()
  def advice(:native, _, true) do
    "Mtrace.leaks() names the line of code that grows, Mtrace.sites() what is allocated from where"
  end

  def advice(:native, _, false) do
    "Mtrace.attach() traces from now on, then Mtrace.leaks() names the line of code that " <>
      "grows; to " <>
      "see what is allocated already, start the node with Mtrace preloaded"
  end

  def advice(:fragmentation, _, _) do
    "Start the node with MALLOC_ARENA_MAX=2 in its environment, or with jemalloc, which " <>
      "keeps less; " <>
      "malloc_trim(3) gives back pages that are free as a whole. Mtrace.sites() says whose " <>
      "chunks lie between"
  end

  def advice(:carriers, _, _) do
    "A peak that is over leaves such room behind, and Erlang uses it again; if it stays: " <>
      ":recon_alloc.fragmentation(:current), or :erlang.system_info({:allocator, " <>
      ":binary_alloc}) and its kin, says whose it is, and flags of erl as +MBas aobf, " <>
      "+MBacul 30 or smaller +MBlmbcs (B for binaries, H for heaps) make it less"
  end

  def advice(:erlang, lines, _) do
    "That is Erlang's own. " <>
      case lines |> Enum.find(%{lines: []}, &(&1.kind == :erlang)) |> largest() do
        :processes ->
          "The largest processes: :recon.proc_count(:memory, 5), or Process.info(pid, " <>
            ":memory) of " <>
            "Process.list()"

        :binary ->
          "Who holds binaries: :recon.bin_leak(5), or Process.info(pid, :binary) of Process.list()"

        :ets ->
          "The largest tables: :ets.info(table, :memory) of :ets.all(), in words"

        kind when kind in [:atom, :code] ->
          "Code and atoms are what is loaded: :code.all_loaded() says which modules"

        _ ->
          "The parts of its line say which data it is"
      end
  end

  def advice(:files, _, _) do
    "Pages of files are a cache that the kernel empties by itself where memory is short; the " <>
      "largest " <>
      "files stand in the lines. Shared memory is not: look at /dev/shm and at what maps it"
  end

  def advice(:mixed, _, traced) do
    "Look again when it has grown: the line that grew is the answer. " <>
      if(traced,
        do: "Mtrace.leaks() watches native code",
        else: "Mtrace.attach() traces native code"
      )
  end
end
