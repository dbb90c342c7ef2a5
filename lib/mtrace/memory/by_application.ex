defmodule Mtrace.Memory.ByApplication do
  # What Mtrace knows of malloc's memory, by application.
  @moduledoc false

  alias Mtrace.{Chunk, Culprit, Frame, Site, Snapshot}

  @top 8

  @doc """
  `{name, live bytes}` of the sites that stand for malloc's memory, most first; what comes after
  #{@top} is one sum. Not what NIFs take from the emulator, nor the emulator's own carriers:
  both are counted with it. `absent` is taken off: a map from names to bytes that are not
  resident.
  """
  @spec of(Snapshot.t(), %{String.t() => non_neg_integer}) :: [{String.t(), non_neg_integer}]
  def of(%Snapshot{sites: sites}, absent) do
    sums =
      for %Site{allocator: :malloc} = site <- sites, not carrier?(site), reduce: %{} do
        sums -> Map.update(sums, name(site.culprit), site.live_bytes, &(&1 + site.live_bytes))
      end

    sums =
      Map.new(sums, fn {name, bytes} -> {name, max(bytes - Map.get(absent, name, 0), 0)} end)

    {top, others} = sums |> Enum.sort_by(&{-elem(&1, 1), elem(&1, 0)}) |> Enum.split(@top)

    case others do
      [] -> top
      _ -> top ++ [{"#{length(others)} others", others |> Enum.map(&elem(&1, 1)) |> Enum.sum()}]
    end
  end

  # glibc's threshold: from here on chunks are mappings of their own.
  @large 131_072

  @doc """
  Where the large chunks of malloc's lie that are recorded: `{start, end, weight, name}`, the
  emulator's carriers left out.
  """
  @spec large(Snapshot.t()) :: [{non_neg_integer, non_neg_integer, float, String.t()}]
  def large(%Snapshot{chunks: chunks}) do
    for %Chunk{allocator: :malloc, size: size} = chunk when size >= @large <- chunks,
        not carrier?(chunk),
        do: {chunk.address, chunk.address + size, chunk.weight, name(Culprit.find(chunk.stack))}
  end

  # The emulator takes carriers by these; where its symbols are stripped, by the way it aligns
  # them.
  defp carrier?(%{stack: stack}) do
    case Enum.reject(stack, &match?({:mtrace, _}, &1.app)) do
      [%Frame{symbol: "erts_sys_" <> _} | _] -> true
      [%Frame{symbol: nil} = frame | _] -> beam?(frame) and aligned?(hd(stack))
      _ -> false
    end
  end

  defp beam?(%Frame{library: nil}), do: false
  defp beam?(%Frame{library: library}), do: Path.basename(library) =~ ~r/^beam\b/

  defp aligned?(%Frame{symbol: hook}),
    do: hook in ["posix_memalign", "memalign", "aligned_alloc"]

  defp name(nil), do: "the emulator and C's libraries"
  defp name(%Frame{app: {name, nil}}), do: "#{name}"
  defp name(%Frame{app: {name, version}}), do: "#{name} #{version}"
  defp name(%Frame{library: nil}), do: "Erlang code"
  defp name(%Frame{library: library}), do: Path.basename(library)
end
