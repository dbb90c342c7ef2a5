defmodule Mtrace.Export.Html.Data do
  # What the page knows, as a term for Mtrace.Export.Json. Strings and frames stand in tables and are
  # named by their index, -1 for none: 2000 stacks of 40 frames take some hundred kilobytes.
  #
  #   strings   [text]
  #   frames    [[name, library, file, line, app, flags]]     indices, line 0 if unknown
  #   columns   names of a site's fields, in the order of a row
  #   sites     [row]; leaks: [%{site: row, ...}]
  @moduledoc false

  import Bitwise
  alias Mtrace.{Culprit, Frame, Leak, Memory, Site, Snapshot}

  @version Mix.Project.config()[:version]

  @flags %{erlang: 1, inlined: 2, unnamed: 4, hook: 8}

  @numbers ~w(recorded live live_error live_bytes live_bytes_error allocated allocated_bytes
              allocated_bytes_error freed freed_bytes peak_bytes)a

  @columns [:where, :blamed, :app, :caller, :allocator, :stack | @numbers]

  @doc "The page's data. `leaks` is nil where nobody watched."
  @spec build(Snapshot.t(), [Leak.t()] | nil, Memory.t() | nil, String.t()) :: map
  def build(%Snapshot{} = snapshot, leaks, memory, title) do
    tables = %{strings: %{}, frames: %{}, frame_rows: []}
    {sites, tables} = Enum.map_reduce(snapshot.sites, tables, &site/2)
    {leaks, tables} = Enum.map_reduce(leaks || [], tables, &leak/2)

    %{
      title: title,
      node: name(snapshot.node),
      otp_release: snapshot.otp_release,
      taken_at: DateTime.to_iso8601(snapshot.taken_at),
      mtrace: @version,
      coverage: snapshot.coverage,
      columns: @columns,
      sites: sites,
      leaks: leaks,
      memory: memory && memory(memory),
      frames: Enum.reverse(tables.frame_rows),
      flags: @flags,
      strings: in_order(tables.strings)
    }
  end

  defp in_order(table), do: table |> Enum.sort_by(&elem(&1, 1)) |> Enum.map(&elem(&1, 0))

  defp site(%Site{} = site, tables) do
    headline = Culprit.headline(site.stack)
    {where, tables} = frame(headline, tables)
    {app, tables} = string(site.culprit && app(site.culprit.app), tables)
    {caller, tables} = string(caller(site.caller), tables)
    {allocator, tables} = string(name(site.allocator), tables)
    {stack, tables} = Enum.map_reduce(site.stack, tables, &frame/2)
    numbers = for key <- @numbers, do: Map.fetch!(site, key)
    blamed = if site.culprit, do: 1, else: 0
    {[where, blamed, app, caller, allocator, stack | numbers], tables}
  end

  defp leak(%Leak{} = leak, tables) do
    {row, tables} = site(leak.site, tables)

    fields =
      Map.take(leak, [
        :verdict,
        :growth,
        :growth_bytes,
        :growth_bytes_error,
        :bytes_per_minute,
        :bytes_per_minute_error,
        :allocations,
        :frees,
        :survival,
        :window_ms
      ])

    {Map.merge(fields, %{site: row, processes: Enum.map(leak.processes, &process/1)}), tables}
  end

  defp process(process) do
    %{
      pid: pid(process.pid),
      bytes: process.bytes,
      name: process.registered_name && name(process.registered_name),
      initial_call: process.initial_call && caller(process.initial_call),
      current_function: process.current_function && caller(process.current_function),
      label: process.label && label(process.label)
    }
  end

  @doc "A process as shells write it."
  @spec pid(pid | String.t()) :: String.t()
  def pid(pid) when is_pid(pid), do: pid |> :erlang.pid_to_list() |> List.to_string()
  def pid(pid), do: pid

  defp label(label) when is_binary(label), do: label
  defp label(label), do: inspect(label, limit: 10, printable_limit: 100)

  defp frame(nil, tables), do: {-1, tables}

  # Calls from the same line are one frame: where they return to is of no use to a reader.
  defp frame(%Frame{} = frame, tables) do
    key = %{frame | address: nil, offset: if(frame.symbol, do: nil, else: place(frame))}

    case tables.frames do
      %{^key => index} -> {index, tables}
      frames -> new_frame(frame, key, map_size(frames), tables)
    end
  end

  defp new_frame(frame, key, index, tables) do
    {texts, tables} =
      Enum.map_reduce(
        [frame.symbol || place(frame), frame.library, frame.file, app(frame.app)],
        tables,
        &string/2
      )

    [symbol, library, file, app] = texts
    row = [symbol, library, file, frame.line || 0, app, flags(frame)]

    {index,
     %{
       tables
       | frames: Map.put(tables.frames, key, index),
         frame_rows: [row | tables.frame_rows]
     }}
  end

  defp place(frame) do
    "+0x" <> String.downcase(Integer.to_string(frame.offset || frame.address || 0, 16))
  end

  defp flags(frame) do
    flag(:erlang, frame.kind == :erlang) ||| flag(:inlined, frame.inlined) |||
      flag(:unnamed, frame.symbol == nil) |||
      flag(:hook, frame.library != nil and Path.basename(frame.library) == "mtrace.so")
  end

  defp flag(name, true), do: Map.fetch!(@flags, name)
  defp flag(_name, _), do: 0

  defp string(nil, tables), do: {-1, tables}

  defp string(text, %{strings: strings} = tables) do
    case strings do
      %{^text => index} -> {index, tables}
      _ -> {map_size(strings), put_in(tables.strings[text], map_size(strings))}
    end
  end

  defp app(nil), do: nil
  defp app({app, nil}), do: name(app)
  defp app({app, version}), do: "#{name(app)} #{version}"

  @doc "Who called, as its language writes it; nil if no NIF is known."
  @spec caller(Mtrace.Chunk.caller() | String.t()) :: String.t() | nil
  def caller({module, function, arity}) when is_integer(arity),
    do: "#{dotted(module)}#{name(function)}/#{arity}"

  def caller({:load, {module, callback}}), do: "#{dotted(module)}#{name(callback)}, a callback"
  def caller({:destructor, {module, type}}), do: "#{dotted(module)}#{type}, a destructor"
  def caller(:thread), do: "a thread of its own"
  def caller(text) when is_binary(text), do: text
  def caller(_), do: nil

  defp dotted(module) do
    case name(module) do
      "Elixir." <> module -> module <> "."
      module -> module <> ":"
    end
  end

  defp name(atom) when is_atom(atom), do: Atom.to_string(atom)
  defp name(text) when is_binary(text), do: text
  defp name(other), do: inspect(other)

  defp memory(memory) do
    %{
      rss_bytes: memory.rss_bytes,
      verdict: memory.verdict,
      sentence: memory.sentence,
      advice: memory.advice,
      notes: Map.get(memory, :notes, []),
      lines: Enum.map(memory.lines, &line/1)
    }
  end

  defp line(line) do
    %{
      kind: line.kind,
      name: line.name,
      bytes: line.bytes,
      source: line.source,
      lines: Enum.map(line.lines, &line/1)
    }
  end
end
