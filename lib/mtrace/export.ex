defmodule Mtrace.Export do
  # Snapshots as files that other tools read. Mtrace.export/4 is the manual.
  @moduledoc false

  alias Mtrace.Export.{Collapsed, Csv, Dot, Pprof, Speedscope, Stacks}
  alias Mtrace.{Output, Snapshot}

  # The options of each format, with what stands if they are not given.
  @formats [
    pprof: {Pprof, []},
    collapsed: {Collapsed, [value: :live_bytes]},
    speedscope: {Speedscope, []},
    dot: {Dot, [value: :live_bytes, min_share: 0.01]},
    csv: {Csv, [rows: :sites]}
  ]

  @doc "See `Mtrace.export/4`."
  @spec export(Snapshot.t(), Mtrace.export_format(), Path.t(), [Mtrace.export_option()]) ::
          :ok | {:error, File.posix()}
  @spec export(Snapshot.t(), Mtrace.export_format(), :iodata, [Mtrace.export_option()]) ::
          {:ok, iodata}
  def export(snapshot, format, path, options \\ []) do
    {module, defaults} = format!(format)
    options = options!(format, defaults, options)
    path = Output.path!(path, "export/4")
    Output.write(path, module.encode(snapshot!(snapshot), options))
  end

  defp format!(format) do
    case is_atom(format) && @formats[format] do
      {_, _} = found ->
        found

      _ ->
        raise ArgumentError,
              "Mtrace.export/4 takes a format that it can write, one of " <>
                "#{inspect(Keyword.keys(@formats))}, got: #{inspect(format)}"
    end
  end

  defp snapshot!(%Snapshot{} = snapshot), do: snapshot

  defp snapshot!(other) do
    raise ArgumentError,
          "Mtrace.export/4 takes what it writes from a snapshot, as Mtrace.snapshot/0 returns it, " <>
            "got: #{inspect(other, limit: 5, printable_limit: 80)}"
  end

  defp options!(format, defaults, options) do
    unless Keyword.keyword?(options) and Enum.all?(options, &valid?(&1, defaults)) do
      raise ArgumentError,
            "Mtrace.export/4 takes for #{inspect(format)} #{allowed(defaults)}, " <>
              "got: #{inspect(options)}"
    end

    Keyword.merge(defaults, options)
  end

  defp valid?({key, value}, defaults),
    do: Keyword.has_key?(defaults, key) and may_be?(key, value)

  defp may_be?(:value, value), do: value in Stacks.values()
  defp may_be?(:min_share, share), do: is_number(share) and share >= 0 and share <= 1
  defp may_be?(:rows, rows), do: rows in [:sites, :chunks]

  defp allowed([]), do: "no options"
  defp allowed(defaults), do: defaults |> Keyword.keys() |> Enum.map_join(" and ", &describe/1)

  defp describe(:value), do: "value: one of #{inspect(Stacks.values())}"
  defp describe(:min_share), do: "min_share: a number from 0 to 1"
  defp describe(:rows), do: "rows: :sites or :chunks"
end
