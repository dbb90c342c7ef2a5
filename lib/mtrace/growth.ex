defmodule Mtrace.Growth do
  @moduledoc """
  How much a site, or a group of them, has grown between two snapshots; see `Mtrace.diff/3`.

    * `by`, `key` - what is compared, as in `Mtrace.Group`. By `:stack` the key is the later
      `Mtrace.Site`, or the earlier where nothing is left
    * `culprit` - its `Mtrace.Frame`
    * `growth`, `growth_bytes` - chunks and bytes more than before, negative where there are fewer;
      `growth_error`, `growth_bytes_error` their standard errors
    * `before`, `before_bytes`, `live`, `live_bytes` - what was and is allocated
  """

  alias Mtrace.{Estimate, Frame, Group, Options, Selection, Snapshot}

  @type t :: %__MODULE__{
          by: :stack | Group.by(),
          key: term,
          culprit: Frame.t() | nil,
          growth: integer,
          growth_error: non_neg_integer,
          growth_bytes: integer,
          growth_bytes_error: non_neg_integer,
          before: non_neg_integer,
          before_bytes: non_neg_integer,
          live: non_neg_integer,
          live_bytes: non_neg_integer
        }

  defstruct [
    :by,
    :key,
    :culprit,
    :growth,
    :growth_error,
    :growth_bytes,
    :growth_bytes_error,
    :before,
    :before_bytes,
    :live,
    :live_bytes
  ]

  @sort [:growth_bytes, :growth]

  @doc false
  def sort?(field), do: field in @sort

  @doc false
  @spec diff(Snapshot.t(), Snapshot.t(), keyword) :: [t]
  def diff(%Snapshot{} = old, %Snapshot{} = new, options) do
    sort = {&__MODULE__.sort?/1, "one of #{Enum.map_join(@sort, ", ", &inspect/1)}"}
    Options.check!("diff/3", options, Keyword.put(Selection.options(), :sort, sort))
    by = Keyword.get(options, :by, :stack)
    sort = Keyword.get(options, :sort, :growth_bytes)
    {before, now} = {rows(old, by, options), rows(new, by, options)}

    rows =
      for key <- Map.keys(Map.merge(before, now)),
          growth = growth(by, before[key], now[key], old.run == new.run),
          growth.growth != 0 or growth.growth_bytes != 0,
          do: growth

    rows
    |> Enum.sort_by(&{-Map.fetch!(&1, sort), -&1.growth_bytes})
    |> top(Keyword.get(options, :top, :all))
  end

  defp top(rows, :all), do: rows
  defp top(rows, n), do: Enum.take(rows, n)

  # {the key to show, the culprit, the chunks} by a key that is the same in another run, too.
  defp rows(snapshot, by, options) do
    for {site, chunks} <- Selection.pick(snapshot, options), reduce: %{} do
      rows ->
        if by in [:pid, :thread],
          do: by_chunk(rows, by, site, chunks),
          else: by_site(rows, by, site, chunks)
    end
  end

  defp by_chunk(rows, by, site, chunks) do
    for chunk <- chunks, reduce: rows do
      rows -> add(rows, text(Map.fetch!(chunk, by)), {Map.fetch!(chunk, by), site, [chunk]})
    end
  end

  defp by_site(rows, :stack, site, chunks), do: add(rows, path(site), {site, site, chunks})

  defp by_site(rows, by, site, chunks) do
    key = Selection.key(by, site)
    add(rows, text(key), {key, site, chunks})
  end

  # The largest site's culprit stands for all: sites come with most bytes first.
  defp add(rows, key, {_, _, chunks} = row) do
    Map.update(rows, key, row, fn {shown, site, others} -> {shown, site, chunks ++ others} end)
  end

  # Addresses differ from run to run; names, or places in a library, do not.
  @doc false
  def path(site), do: {Enum.map(site.stack, &place/1), text(site.allocator), text(site.caller)}

  defp place(%Frame{kind: :erlang} = f), do: {:erlang, f.symbol, f.line}

  defp place(%Frame{library: nil} = f), do: {nil, f.symbol}
  defp place(%Frame{} = f), do: {Path.basename(f.library), f.symbol || f.offset, f.line}

  # Atoms and pids of a snapshot from elsewhere may be texts.
  defp text(nil), do: nil
  defp text(atom) when is_atom(atom), do: Atom.to_string(atom)
  defp text(pid) when is_pid(pid), do: inspect(pid)
  defp text(tuple) when is_tuple(tuple), do: tuple |> Tuple.to_list() |> Enum.map(&text/1)
  defp text(%{id: id, name: name}), do: {id, name}
  defp text(other), do: other

  defp growth(by, before, now, same_run) do
    {key, site, _} = now || before
    {old, new} = {chunks(before), chunks(now)}
    {o, n} = {Estimate.live(old), Estimate.live(new)}
    {error, bytes_error} = errors(old, new, o, n, same_run)

    %__MODULE__{
      by: by,
      key: key,
      culprit: site.culprit,
      growth: n.live - o.live,
      growth_error: error,
      growth_bytes: n.live_bytes - o.live_bytes,
      growth_bytes_error: bytes_error,
      before: o.live,
      before_bytes: o.live_bytes,
      live: n.live,
      live_bytes: n.live_bytes
    }
  end

  defp chunks(nil), do: []
  defp chunks({_, _, chunks}), do: chunks

  # A chunk that is in both, with the same weight, adds nothing to the error of the difference.
  defp errors(old, new, _o, _n, true) do
    [gone, came] = Estimate.unshared(old, new)
    {g, c} = {Estimate.live(gone), Estimate.live(came)}
    {root(g.live_error, c.live_error), root(g.live_bytes_error, c.live_bytes_error)}
  end

  defp errors(_old, _new, o, n, false),
    do: {root(o.live_error, n.live_error), root(o.live_bytes_error, n.live_bytes_error)}

  defp root(a, b), do: Estimate.error(a * a + b * b)

  defimpl Inspect do
    alias Mtrace.{Frame, Group, Size}

    def inspect(growth, options), do: Mtrace.Shown.as(growth, options, &text/1)

    defp text(growth) do
      sign = if growth.growth_bytes < 0, do: "-", else: "+"

      error =
        if growth.growth_bytes_error > 0, do: " ± #{Size.format(growth.growth_bytes_error)}"

      key = growth.by |> Group.describe(growth.key) |> Frame.printable()

      Frame.wrap(
        "#Mtrace.Growth<#{sign}#{Size.format(abs(growth.growth_bytes))}#{error}, " <>
          "#{growth.before} to #{growth.live} chunks: #{key}>"
      )
    end
  end
end
