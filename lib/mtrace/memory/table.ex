defmodule Mtrace.Memory.Table do
  # A memory as lines of text that fit 80 columns.
  @moduledoc false

  alias Mtrace.{Frame, Size}

  @columns 78
  @name 54

  @doc "The lines of a table, then the sentences."
  @spec format(Mtrace.Memory.t()) :: [String.t()]
  def format(memory) do
    sentences = [memory.sentence, memory.advice | memory.notes]

    rows(memory.lines, memory.rss_bytes, 1) ++
      ["" | Enum.flat_map(sentences, &paragraph/1)]
  end

  # What is nothing is left out.
  defp rows(lines, rss, level) do
    for line <- lines, line.bytes != 0 do
      [row(line, rss, level) | rows(line.lines, rss, level + 1)]
    end
    |> List.flatten()
  end

  defp row(line, rss, level) do
    name = String.duplicate("  ", level) <> Frame.printable(line.name)

    String.pad_trailing(fit(name), @name) <>
      String.pad_leading(size(line.bytes), 13) <> String.pad_leading(share(line.bytes, rss), 8)
  end

  # A path's end says more than its beginning.
  defp fit(name) do
    length = String.length(name)

    if length <= @name,
      do: name,
      else: String.slice(name, 0, 12) <> "…" <> String.slice(name, length - @name + 13, @name)
  end

  defp size(bytes) when bytes < 0, do: "-" <> Size.format(-bytes)
  defp size(bytes), do: Size.format(bytes)

  defp share(_, 0), do: ""

  defp share(bytes, rss) do
    case round(100 * bytes / rss) do
      0 -> "<1 %"
      percent -> "#{percent} %"
    end
  end

  defp paragraph(text) do
    text
    |> Frame.printable()
    |> String.split(" ")
    |> Enum.reduce([], fn
      word, [line | lines] ->
        if String.length(line) + String.length(word) + 1 <= @columns,
          do: [line <> " " <> word | lines],
          else: ["    " <> word, line | lines]

      word, [] ->
        ["  " <> word]
    end)
    |> Enum.reverse()
  end
end
