defmodule Mtrace.Export.Csv do
  # Tables as RFC 4180 describes them: a header, fields between commas, lines that end with CR LF.
  @moduledoc false

  alias Mtrace.Export.{Collapsed, Names, Stacks}

  @doc "A line for each site, or each chunk (`:rows`)."
  def encode(snapshot, options) do
    {columns, rows} = table(options[:rows], snapshot)
    header = Keyword.keys(columns) |> Enum.map(&Atom.to_string/1)
    [line(header) | for(row <- rows, do: line(for {_, f} <- columns, do: f.(row)))]
  end

  defp table(:sites, snapshot) do
    columns =
      [
        live_bytes: & &1.live_bytes,
        live_bytes_error: & &1.live_bytes_error,
        live_chunks: & &1.live,
        live_chunks_error: & &1.live_error,
        allocated_bytes: & &1.allocated_bytes,
        allocated_bytes_error: & &1.allocated_bytes_error,
        allocated_chunks: & &1.allocated,
        allocated_chunks_error: & &1.allocated_error,
        freed_bytes: & &1.freed_bytes,
        freed_chunks: & &1.freed,
        peak_bytes: & &1.peak_bytes,
        recorded_chunks: & &1.recorded
      ] ++ places(& &1.culprit)

    {columns, snapshot.sites}
  end

  defp table(:chunks, snapshot) do
    culprits = Map.new(snapshot.sites, &{Stacks.site_key(&1), &1.culprit})

    columns =
      [
        address: &Names.hex(&1.address),
        size_bytes: & &1.size,
        age_ms: & &1.age_ms,
        weight: & &1.weight,
        pid: &Names.pid(&1.pid),
        process: &Names.process((snapshot.processes || %{})[&1.pid]),
        thread_id: &(&1.thread && &1.thread.id),
        thread_name: &(&1.thread && &1.thread.name),
        thread_kind: &(&1.thread && &1.thread.kind)
      ] ++ places(&culprits[Stacks.site_key(&1)])

    {columns, snapshot.chunks}
  end

  # What both have. `culprit` finds the frame to blame of a row.
  defp places(culprit) do
    of = fn f -> fn row -> if frame = culprit.(row), do: f.(frame) end end

    [
      allocator: & &1.allocator,
      caller: &Names.caller(&1.caller),
      function: of.(&Names.frame/1),
      file: of.(& &1.file),
      line: of.(& &1.line),
      library: of.(& &1.library),
      app: of.(&Names.app/1),
      app_version: of.(&Names.version/1),
      stack: &(&1.stack |> Stacks.shown() |> Enum.map_join(";", fn f -> Collapsed.name(f) end))
    ]
  end

  defp line(fields), do: [fields |> Enum.map(&field/1) |> Enum.intersperse(?,), "\r\n"]

  defp field(nil), do: ""
  defp field(n) when is_integer(n), do: Integer.to_string(n)
  defp field(n) when is_float(n), do: Float.to_string(n)

  defp field(text) do
    text = text |> Names.text() |> harmless()
    if text =~ ~r/[",]/, do: [?", String.replace(text, "\"", "\"\""), ?"], else: text
  end

  # Spreadsheets take a field that begins so for a formula, between quotes too.
  defp harmless(<<first, _::binary>> = text) when first in ~c(=+-@), do: "'" <> text
  defp harmless(text), do: text
end
