defmodule Mtrace.Assertions.Survivors do
  # What of several batches of runs is still there after the last: which sites grow with the number of
  # runs, and which were filled once.
  @moduledoc false

  alias Mtrace.{Culprit, Frame}

  @schedulers [:normal, :dirty_cpu, :dirty_io, :async]

  @typedoc "Chunks by address, as one look found them; of those only that native code is to blame for."
  @type look :: %{non_neg_integer => entry}

  @type entry :: %{
          site: term,
          bytes: float,
          weight: float,
          thread: term,
          chunk: Mtrace.Chunk.t()
        }

  @type suspect :: %{
          site: term,
          bytes: non_neg_integer,
          count: non_neg_integer,
          runs: pos_integer,
          culprit: Frame.t(),
          threads: MapSet.t(),
          chunks: [Mtrace.Chunk.t()]
        }

  @doc "What a snapshot says, without what the emulator keeps for itself, and what is ignored."
  @spec look(Mtrace.Snapshot.t(), (Mtrace.Chunk.t() -> boolean)) :: look
  def look(snapshot, ignored?) do
    {entries, _} =
      Enum.flat_map_reduce(snapshot.chunks, %{}, fn chunk, known ->
        site = {chunk.allocator, for(%{kind: :native} = f <- chunk.stack, do: f.address)}
        known = Map.put_new_lazy(known, site, fn -> counts?(chunk, ignored?) end)
        {if(known[site], do: [{chunk.address, entry(chunk, site)}], else: []), known}
      end)

    Map.new(entries)
  end

  defp counts?(chunk, ignored?) do
    match?(%Frame{kind: :native}, Culprit.find(chunk.stack)) and not ignored?.(chunk)
  end

  defp entry(chunk, site) do
    %{
      site: site,
      bytes: chunk.weight * chunk.size,
      weight: chunk.weight,
      thread: thread(chunk.thread),
      chunk: chunk
    }
  end

  # A scheduler stays; threads that a library makes may be others each time.
  defp thread(%{kind: kind, id: id}) when kind in @schedulers, do: id
  defp thread(_), do: :other

  @doc """
  The sites that grew with the number of runs, most bytes first. `looks` are those after each batch,
  `runs` how many each batch had; chunks of processes that `counted?` refuses do not count. `exact`:
  everything is recorded.

  A chunk is of the batch after which it was first seen, if it was seen ever since. A site is a
  suspect if chunks of two batches or more are there, the last not among them, which may be what is
  always kept of the last run. A site that had more bytes after each batch than before is one, too: a
  single chunk may grow.

  With `before`, the suspects of a series that ran before, only these are suspects, and only where a
  scheduler's thread has chunks again, from that series and this or from two batches, or a thread that
  is no scheduler's has some: what is made once for each thread does not come again.
  """
  @spec suspects([look], [pos_integer], (pid | nil -> boolean), boolean, [suspect] | nil) ::
          [suspect]
  def suspects(looks, runs, counted?, exact, before \\ nil) do
    threads = before && Map.new(before, &{&1.site, &1.threads})
    looks = for look <- looks, do: Map.filter(look, fn {_, e} -> counted?.(e.chunk.pid) end)

    looks
    |> survivors()
    |> Enum.group_by(fn {entry, _} -> entry.site end)
    |> Enum.flat_map(fn {site, found} ->
      cond do
        threads && not is_map_key(threads, site) ->
          []

        again?(found, length(looks), threads && threads[site]) ->
          [stayed(site, found, Enum.sum(runs))]

        exact and growing?(site, looks) ->
          [grown(site, found, looks, tl(runs))]

        true ->
          []
      end
    end)
    |> Enum.sort_by(&{-&1.bytes, -&1.count})
  end

  # Each chunk of the last look, with the number of the batch that it is of.
  defp survivors(looks) do
    [last | before] = Enum.reverse(looks)
    n = length(looks)

    for {address, entry} <- last do
      same = &match?(%{site: site} when site == entry.site, &1[address])
      {entry, n - (before |> Enum.take_while(same) |> length())}
    end
  end

  defp again?(found, last, threads) do
    found = Enum.reject(found, fn {_, batch} -> batch == last end)
    several?(found) and (threads == nil or on_same_thread?(found, threads))
  end

  defp several?(found), do: found |> Enum.uniq_by(fn {_, batch} -> batch end) |> length() > 1

  defp on_same_thread?(found, threads) do
    found
    |> Enum.group_by(fn {entry, _} -> entry.thread end)
    |> Enum.any?(fn {thread, found} ->
      thread == :other or thread in threads or several?(found)
    end)
  end

  defp growing?(site, looks) do
    totals = for look <- looks, do: total(site, look)
    totals |> Enum.zip(tl(totals)) |> Enum.all?(fn {a, b} -> b > a end)
  end

  defp total(site, look) do
    look |> Map.values() |> Enum.filter(&(&1.site == site)) |> sum(& &1.bytes)
  end

  defp stayed(site, found, runs) do
    entries = Enum.map(found, &elem(&1, 0))
    suspect(site, entries, sum(entries, & &1.bytes), sum(entries, & &1.weight), runs)
  end

  defp grown(site, found, looks, runs) do
    entries = Enum.map(found, &elem(&1, 0))
    bytes = total(site, List.last(looks)) - total(site, hd(looks))
    suspect(site, entries, bytes, sum(entries, & &1.weight), Enum.sum(runs))
  end

  defp suspect(site, entries, bytes, count, runs) do
    chunks = entries |> Enum.map(& &1.chunk) |> Enum.sort_by(&{-&1.age_ms, &1.address})

    %{
      site: site,
      bytes: round(bytes),
      count: round(count),
      runs: runs,
      culprit: Culprit.find(hd(chunks).stack),
      threads: MapSet.new(entries, & &1.thread),
      chunks: chunks
    }
  end

  defp sum(entries, f), do: entries |> Enum.map(f) |> Enum.sum()
end
