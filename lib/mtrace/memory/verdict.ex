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

    "No kind of memory stands out in the #{Size.format(rss)} that are resident: #{called(first)} " <>
      "#{has(first)} #{amount(most, rss)}, #{called(second)} #{amount(next, rss)}"
  end

  def sentence(kind, lines, rss) do
    {_, bytes} = lines |> ranked() |> List.keyfind(kind, 0)

    "#{called(kind) |> capital()} #{has(kind)} #{amount(bytes, rss)} of the #{Size.format(rss)} that " <>
      "are resident#{largest(kind, lines)}"
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

  # The largest part, if it is half of the line.
  defp largest(kind, lines) do
    with %{lines: [_ | _] = parts, bytes: bytes} <- Enum.find(lines, &(&1.kind == kind)),
         %{bytes: most, name: name} when 2 * most >= bytes <- Enum.max_by(parts, & &1.bytes) do
      ", most of it: #{name}, #{Size.format(most)}"
    else
      _ -> ""
    end
  end

  @doc "What to do next. `traced`: whether Mtrace sees native memory here."
  @spec advice(verdict, boolean) :: String.t()
  def advice(:native, true) do
    "Mtrace.leaks() names the line of code that grows, Mtrace.sites() what is allocated from where"
  end

  def advice(:native, false) do
    "Mtrace.attach() traces from now on, then Mtrace.leaks() names the line of code that grows; to " <>
      "see what is allocated already, start the node with Mtrace preloaded"
  end

  def advice(:fragmentation, _) do
    "Start the node with MALLOC_ARENA_MAX=2 in its environment, or with jemalloc preloaded behind " <>
      "Mtrace; malloc_trim(0) gives pages back that are free as a whole. Where it comes from: " <>
      "Mtrace.sites() of what is left between"
  end

  def advice(:carriers, _) do
    ":recon_alloc.fragmentation(:current) shows the allocators (or :erlang.system_info({:allocator, " <>
      ":binary_alloc})); flags of erl: +MBas aobf, +MHas aobf, smaller +M<A>lmbcs, +M<A>acul. A peak " <>
      "that is over leaves such room behind, and it is used again"
  end

  def advice(:erlang, _) do
    "Not native: :recon.proc_count(:memory, 5), :ets.info/2 of each of :ets.all(), " <>
      ":recon.bin_leak(5); or Process.info(pid, [:memory, :binary]) of the largest processes"
  end

  def advice(:files, _) do
    "Pages of files are a cache that the kernel empties by itself where memory is short; the largest " <>
      "files stand in the lines. Shared memory is not: look at /dev/shm and at what maps it"
  end

  def advice(:mixed, traced) do
    "Look again when it has grown: the line that grew is the answer. " <>
      if(traced,
        do: "Mtrace.leaks() watches native code",
        else: "Mtrace.attach() traces native code"
      )
  end
end
