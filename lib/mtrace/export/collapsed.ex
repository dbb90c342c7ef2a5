defmodule Mtrace.Export.Collapsed do
  # Collapsed stacks, the text that flamegraph.pl reads (github.com/brendangregg/FlameGraph): a line for
  # each stack, the outermost function first, `;` between functions, then a space and a number.
  @moduledoc false

  alias Mtrace.Export.{Names, Stacks}

  @doc """
  What is Erlang code ends with `_[j]` and what was inlined with `_[i]`: FlameGraph's own marks, which
  `flamegraph.pl --color=java` colours green and aqua, C++ yellow and other native code red.
  """
  def encode(snapshot, options) do
    for {line, sum} <- snapshot |> Stacks.keyed(&line/1) |> Stacks.weighed(options[:value]) do
      [line, ?\s, Integer.to_string(sum), ?\n]
    end
  end

  # Different addresses of one function are the same line.
  defp line(stack) do
    stack |> Enum.reverse() |> Enum.map_join(";", &(name(&1) <> mark(&1)))
  end

  # A number after the last space would be read as the value, or, by flamegraph.pl, as one of two.
  @doc "The name of a frame, for a list of names with `;` between them."
  def name(frame) do
    case frame |> Names.frame() |> String.replace(";", ":") |> String.trim() do
      "" -> "[unknown]"
      name -> if numbered?(name), do: String.replace(name, ~r/ (?=[0-9.]+$)/, "_"), else: name
    end
  end

  defp numbered?(name), do: :binary.last(name) in ~c(0123456789.)

  defp mark(%{kind: :erlang}), do: "_[j]"
  defp mark(%{inlined: true}), do: "_[i]"
  defp mark(_), do: ""
end
