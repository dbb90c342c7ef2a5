defmodule Mtrace.Memory.Notes do
  # What could not be found out, and what lies outside of RSS: a sentence each.
  @moduledoc false

  alias Mtrace.{InactiveError, Size}
  alias Mtrace.Memory.Sources

  @doc """
  `lack`: why the mappings say nothing or less, as `Mtrace.Memory.Measure` has it; `rollup`: the
  sizes of smaps_rollup, empty where it does not exist; `traced`: `Mtrace.status/0`.
  """
  @spec of(map, term, %{binary => non_neg_integer}, map) :: [String.t()]
  def of(%{status: nil} = figures, _lack, _rollup, _traced) do
    [
      "The resident memory of this node is not known: there is no /proc/self/status that " <>
        "tells. What " <>
        "is above is :erlang.memory(:total), which native code has no part in"
      | emulator(figures.emulator)
    ]
  end

  def of(figures, lack, rollup, traced) do
    lack(lack) ++
      allocator(figures) ++
      emulator(figures.emulator) ++ applications(figures, lack, traced) ++ swap(figures, rollup)
  end

  defp lack(nil), do: []

  defp lack(:maps) do
    ["What the mappings are is not known: /proc/self/maps cannot be read here"]
  end

  defp lack(:smaps) do
    ["/proc/self/smaps cannot be read here: what is resident is told by mincore and pagemap"]
  end

  defp lack({:library, reason}) do
    [
      "What is resident of each mapping was not found out, so unused room may be less, and " <>
        "native memory " <>
        "more; Mtrace.memory(full: true) asks smaps. " <> InactiveError.describe(reason)
    ]
  end

  defp lack({:heap, reason}) do
    [
      "malloc's own account was not found out, so what is free of it counts as native. " <>
        InactiveError.describe(reason)
    ]
  end

  defp allocator(%{heap: nil, allocator: path}) when path != nil do
    [
      "malloc is #{path |> Path.basename() |> Sources.text()}'s here, not glibc's: how much " <>
        "of its " <>
        "memory is free is not known, and counts as native"
    ]
  end

  defp allocator(_), do: []

  defp emulator(nil) do
    [
      "A scheduler did not answer within 2 seconds, because it runs a NIF that takes long: " <>
        "Erlang's " <>
        "data is not known, and is one sum with what is beside malloc"
    ]
  end

  defp emulator(%{disabled: []}), do: []

  defp emulator(%{disabled: names}) do
    [
      "Erlang's allocators #{Enum.join(names, ", ")} are switched off (+Mea min, " <>
        "+M<A>e false): their data is in malloc's memory, and counts as native"
    ]
  end

  defp applications(%{applications: nil}, lack, %{active: active, message: message})
       when active not in [:preloaded, :attached] do
    # What the library lacks is said already.
    if is_tuple(lack),
      do: [],
      else: ["Which application malloc's memory belongs to is not known. #{message}"]
  end

  defp applications(_, _, _), do: []

  defp swap(%{status: status}, rollup) do
    swap = rollup["Swap"] || status.swap || 0

    if swap > 0,
      do: ["#{Size.format(swap)} more are in swap, and in no line"],
      else: []
  end
end
