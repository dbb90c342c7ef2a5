defmodule Mtrace.Export.Speedscope do
  # The file format of speedscope, version 0.0.1: www.speedscope.app/file-format-schema.json.
  @moduledoc false

  alias Mtrace.Export.{Json, Names, Stacks}

  @profiles [
    live_bytes: {"Live bytes", "bytes"},
    live: {"Live chunks", "none"},
    allocated_bytes: {"Allocated bytes", "bytes"},
    allocated: {"Allocated chunks", "none"}
  ]

  @doc "One file with a profile for each of the four values; that of live bytes is shown first."
  def encode(snapshot, _options) do
    stacks = Stacks.keyed(snapshot, &Enum.reverse/1)
    {frames, indices} = frames(stacks)
    samples = for {stack, site} <- stacks, do: {Enum.map(stack, &Map.fetch!(indices, &1)), site}

    Json.encode(%{
      "$schema" => "https://www.speedscope.app/file-format-schema.json",
      version: "0.0.1",
      exporter: "mtrace",
      name: "#{Names.text(snapshot.node)} #{DateTime.to_iso8601(snapshot.taken_at)}",
      activeProfileIndex: 0,
      shared: %{frames: frames},
      profiles:
        for {value, {name, unit}} <- @profiles do
          profile(name, unit, Stacks.weighed(samples, value))
        end
    })
  end

  # Frames of one name, file and line are one to speedscope, whatever their addresses: those, and where
  # among them each of ours is.
  defp frames(stacks) do
    shown =
      for {stack, _} <- stacks, frame <- stack, reduce: %{} do
        shown ->
          if is_map_key(shown, frame), do: shown, else: Map.put(shown, frame, frame(frame))
      end

    frames =
      shown |> Map.values() |> Enum.uniq() |> Enum.sort_by(&{&1.name, &1[:file], &1[:line]})

    numbers = frames |> Enum.with_index() |> Map.new()
    {frames, Map.new(shown, fn {frame, shown} -> {frame, Map.fetch!(numbers, shown)} end)}
  end

  defp profile(name, unit, samples) do
    {stacks, weights} = Enum.unzip(samples)

    %{
      type: "sampled",
      name: name,
      unit: unit,
      startValue: 0,
      endValue: Enum.sum(weights),
      samples: stacks,
      weights: weights
    }
  end

  defp frame(frame) do
    %{name: Names.frame(frame), file: Names.place(frame), line: frame.line}
    |> Enum.reject(fn {_, value} -> value == nil end)
    |> Map.new()
  end
end
