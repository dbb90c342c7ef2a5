defmodule Mtrace.Assertions.Failure do
  # The words of a failed assertion.
  @moduledoc false

  alias Mtrace.{Frame, Size}

  @doc "That it could not be found out."
  def reset do
    "whether native memory leaks was not found out, because the table of recorded chunks was emptied " <>
      "meanwhile (Mtrace.reset/0 or attach/1, by another test?): let the two not run at once, by " <>
      "use ExUnit.Case without async: true"
  end

  @doc "What the failed test says."
  def message(suspects) do
    """
    native memory leaks: #{amount(suspects)} stayed of #{runs(suspects)}

    #{suspects |> Enum.take(5) |> Enum.map_join("\n", &paragraph/1)}\
    #{more(length(suspects) - 5)}
    """
  end

  defp amount(suspects),
    do: "#{Size.format(sum(suspects, :bytes))} in #{chunks(sum(suspects, :count))}"

  defp runs(suspects) do
    runs = suspects |> Enum.map(& &1.runs) |> Enum.max()
    "#{runs} calls, #{a_call(sum(suspects, :bytes), runs)}"
  end

  defp a_call(bytes, runs) when bytes >= runs, do: "#{Size.format(round(bytes / runs))} a call"
  defp a_call(_bytes, _runs), do: "less than a byte a call"

  defp chunks(1), do: "1 chunk"
  defp chunks(n), do: "#{n} chunks"

  defp more(n) when n > 0, do: "\nand #{n} places more.\n"
  defp more(_), do: ""

  defp paragraph(suspect) do
    [chunk | _] = suspect.chunks

    """
      #{a_call(suspect.bytes, suspect.runs)}, #{amount([suspect])}: #{Frame.format(suspect.culprit)}
          #{called(chunk.caller)}#{on_behalf(suspect.chunks)}#{taken(chunk.allocator)}
          #{source(suspect.culprit)}
          stack:
    #{Enum.map_join(chunk.stack, "\n", &("        " <> Frame.format(&1)))}
    """
  end

  defp called({module, function, arity}) when is_integer(arity),
    do: "called as #{printable("#{name(module)}.#{name(function)}/#{arity}")} "

  defp called({:load, {module, function}}),
    do: "by #{printable("#{name(module)}'s #{name(function)}")} callback "

  defp called({:destructor, {module, type}}),
    do: "by the destructor of #{printable("#{name(module)}'s #{name(type)}")} "

  defp called(_), do: ""

  defp on_behalf(chunks) do
    case chunks |> Enum.map(& &1.pid) |> Enum.uniq() do
      [nil] -> "for no process"
      [pid] when pid == self() -> "by #{inspect(pid)}, the calling process"
      [pid] -> "by #{inspect(pid)}"
      pids -> "by #{length(pids)} processes"
    end
  end

  defp taken(:malloc), do: ""
  defp taken(allocator), do: ", allocated as #{allocator}"

  defp source(%Frame{file: file, line: line}) when is_binary(file),
    do: printable("source: #{file}:#{line || "?"}")

  defp source(_) do
    "source: not known; compile the library with -g, and see the notes of Mtrace.status/0"
  end

  defp name(atom) when is_atom(atom), do: atom |> inspect() |> String.trim_leading(":")
  defp name(other), do: to_string(other)

  defp printable(text), do: Frame.printable(text)

  defp sum(suspects, key), do: suspects |> Enum.map(& &1[key]) |> Enum.sum()
end
