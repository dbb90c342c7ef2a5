defmodule Mtrace.Export.Pprof.Samples do
  # The samples of a profile. What is alive is split by what is known of each chunk: process and thread.
  # What was allocated is known of sites only, and stands in a sample of its own.
  @moduledoc false

  alias Mtrace.Export.{Names, Stacks}
  alias Mtrace.{Frame, Snapshot}

  @type labels :: [{String.t(), String.t() | {integer, String.t()}}]
  @type t :: {[Frame.t()], [{[integer], labels}]}

  @doc """
  For each site its stack and its samples, `{[allocated, allocated bytes, live, live bytes], labels}`:
  one for every different process and thread, and one for the site.
  """
  @spec read(Snapshot.t()) :: [t]
  def read(%Snapshot{sites: sites} = snapshot) do
    chunks = Stacks.chunks(snapshot)

    for site <- sites do
      own = Map.get(chunks, Stacks.site_key(site), [])
      {Stacks.shown(site.stack), site(site, own, snapshot)}
    end
  end

  @doc "All texts of all labels."
  @spec texts([t]) :: [String.t()]
  def texts(samples) do
    for {_, samples} <- samples,
        {_, labels} <- samples,
        {key, value} <- labels,
        text <- texts(key, value),
        uniq: true,
        do: text
  end

  defp texts(key, {_, unit}), do: [key, unit]
  defp texts(key, text), do: [key, text]

  # Groups are rounded so that their sum is the site's. What they leave of it, by rounding or because
  # the snapshot was made without its chunks, is the site's own.
  defp site(site, chunks, snapshot) do
    labels =
      known(
        app: Names.app(site.culprit),
        caller: Names.caller(site.caller),
        allocator: Names.text(site.allocator)
      )

    groups =
      chunks
      |> Enum.group_by(&of_chunk(&1, snapshot.processes || %{}))
      |> Enum.sort()

    {live, rest} = groups |> Enum.map(&count/1) |> share(site.live)
    {live_bytes, rest_bytes} = groups |> Enum.map(&bytes/1) |> share(site.live_bytes)

    parts =
      for {{own, chunks}, live, bytes} <- Enum.zip([groups, live, live_bytes]) do
        {[0, 0, live, bytes], labels ++ own ++ [{"age", {age(chunks), "milliseconds"}}]}
      end

    whole = {[site.allocated, site.allocated_bytes, rest, rest_bytes], labels}
    Enum.reject([whole | parts], fn {values, _} -> Enum.all?(values, &(&1 == 0)) end)
  end

  defp of_chunk(chunk, processes) do
    known(
      pid: Names.pid(chunk.pid),
      process: Names.process(processes[chunk.pid]),
      thread: Names.thread(chunk.thread)
    )
  end

  defp known(labels) do
    for {key, text} <- labels, text not in [nil, ""], do: {Atom.to_string(key), text}
  end

  defp count({_, chunks}), do: chunks |> Enum.map(& &1.weight) |> Enum.sum()
  defp bytes({_, chunks}), do: chunks |> Enum.map(&(&1.weight * &1.size)) |> Enum.sum()

  # Whole numbers for these parts of a total, none below 0, and what is left of it.
  defp share(parts, total) do
    {shares, {_, taken}} =
      Enum.map_reduce(parts, {0, 0}, fn part, {sum, taken} ->
        upto = min(round(sum + part), total)
        {upto - taken, {sum + part, upto}}
      end)

    {shares, total - taken}
  end

  # The median of the chunks that these stand for.
  defp age(chunks) do
    half = Enum.sum(Enum.map(chunks, & &1.weight)) / 2

    chunks
    |> Enum.sort_by(& &1.age_ms)
    |> Enum.reduce_while({0, 0}, fn chunk, {sum, _} ->
      sum = sum + chunk.weight
      {if(sum >= half, do: :halt, else: :cont), {sum, chunk.age_ms}}
    end)
    |> elem(1)
  end
end
