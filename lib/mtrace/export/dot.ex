defmodule Mtrace.Export.Dot do
  # A call graph in the language of Graphviz (graphviz.org/doc/info/lang.html).
  @moduledoc false

  alias Mtrace.Export.{Names, Stacks}
  alias Mtrace.Size

  @doc """
  A node for each function that has at least `:min_share` of the total, by itself or by what it
  calls, and an edge from each to those it calls. Where functions between two were left out the edge
  is dashed.
  """
  def encode(snapshot, options) do
    value = options[:value]
    stacks = snapshot |> Stacks.keyed(&functions/1) |> Stacks.weighed(value)
    total = stacks |> Enum.map(&elem(&1, 1)) |> Enum.sum()
    totals = sums(stacks, &Enum.uniq/1)
    least = max(options[:min_share] * total, 1)
    kept = for {function, sum} <- totals, sum >= least, into: %{}, do: {function, sum}
    selves = sums(stacks, &Enum.take(&1, 1))

    edges = for {edge, sum} <- sums(stacks, &edges(&1, kept)), sum >= least, do: {edge, sum}

    numbers =
      kept
      |> Enum.sort_by(fn {function, sum} -> {-sum, function} end)
      |> Enum.map(&elem(&1, 0))
      |> Enum.with_index(1)
      |> Map.new()

    shown = %{value: value, total: total, kept: kept, selves: selves, numbers: numbers}

    [
      "digraph mtrace {\n",
      head(snapshot, shown, map_size(totals) - map_size(kept)),
      numbers |> Enum.sort_by(&elem(&1, 1)) |> Enum.map(&node(&1, shown)),
      edges |> Enum.sort_by(fn {edge, sum} -> {-sum, edge} end) |> Enum.map(&edge(&1, shown)),
      "}\n"
    ]
  end

  # A function, wherever in it the address is: what tells it from others of its name.
  defp functions(stack) do
    for frame <- stack do
      {frame.kind, Names.frame(frame), frame.library && Names.line(frame.library)}
    end
  end

  # By each of what f finds in a stack, the sum of the stacks that it is found in.
  defp sums(stacks, f) do
    for {stack, sum} <- stacks, found <- f.(stack), reduce: %{} do
      sums -> Map.update(sums, found, sum, &(&1 + sum))
    end
  end

  # {from, to, whether one calls the other itself}, each once in a stack, however often it recurs.
  defp edges(stack, kept) do
    kept_places =
      for {function, i} <- Enum.with_index(stack), is_map_key(kept, function), do: {function, i}

    kept_places
    |> Enum.zip(Enum.drop(kept_places, 1))
    |> Enum.map(fn {{callee, i}, {caller, j}} -> {caller, callee, j == i + 1} end)
    |> Enum.uniq()
  end

  defp head(snapshot, shown, hidden) do
    title = [
      "Mtrace: #{Names.text(snapshot.node)}, #{DateTime.to_iso8601(snapshot.taken_at)}\n",
      "#{what(shown.value)}: #{amount(shown.value, shown.total)}\n",
      if(hidden > 0, do: "#{hidden} functions below the least share are not shown\n", else: "")
    ]

    [
      "  graph [charset=\"UTF-8\" labelloc=t labeljust=l fontname=\"sans-serif\" label=",
      quoted(title, "\\l"),
      "];\n",
      "  node [shape=box style=filled fontname=\"sans-serif\" fontsize=10];\n",
      "  edge [fontname=\"sans-serif\" fontsize=9];\n"
    ]
  end

  defp node({{kind, name, library} = function, number}, shown) do
    self = Map.get(shown.selves, function, 0)
    sum = Map.fetch!(shown.kept, function)

    label = [
      shorten(name, 80),
      if(library, do: "\nin #{Path.basename(library)}", else: ""),
      "\nself #{amount(shown.value, self)} (#{percent(self, shown.total)})",
      "\ntotal #{amount(shown.value, sum)} (#{percent(sum, shown.total)})"
    ]

    {fill, line} = colours(kind)
    tooltip = if library, do: "#{name}\n#{library}", else: name

    "  n#{number} [label=#{quoted(label, "\\n")} tooltip=#{quoted(tooltip, "\\n")} " <>
      "fillcolor=\"#{fill}\" color=\"#{line}\"];\n"
  end

  defp edge({{caller, callee, direct}, sum}, shown) do
    width = :erlang.float_to_binary(1 + 4 * sum / shown.total, decimals: 1)

    "  n#{shown.numbers[caller]} -> n#{shown.numbers[callee]} " <>
      "[label=#{quoted(amount(shown.value, sum), "\\n")} penwidth=#{width}" <>
      if(direct, do: "];\n", else: " style=dashed];\n")
  end

  defp colours(:erlang), do: {"#d9f2d9", "#2e7d32"}
  defp colours(_), do: {"#fde3cf", "#b3541e"}

  defp what(:live_bytes), do: "live bytes"
  defp what(:live), do: "live chunks"
  defp what(:allocated_bytes), do: "allocated bytes"
  defp what(:allocated), do: "allocated chunks"

  defp amount(value, n) when value in [:live_bytes, :allocated_bytes], do: Size.format(n)
  defp amount(_, n), do: Integer.to_string(n)

  defp percent(_, 0), do: "0 %"
  defp percent(n, total), do: :erlang.float_to_binary(100 * n / total, decimals: 1) <> " %"

  defp shorten(name, most) do
    if String.length(name) > most, do: String.slice(name, 0, most - 1) <> "…", else: name
  end

  # Between quotes a backslash begins an escape, and & one of HTML's characters.
  defp quoted(text, line_end) do
    text =
      text
      |> IO.chardata_to_string()
      |> String.replace("\\", "\\\\")
      |> String.replace("\"", "\\\"")
      |> String.replace("&", "&amp;")
      |> String.replace("\n", line_end)

    "\"#{text}\""
  end
end
