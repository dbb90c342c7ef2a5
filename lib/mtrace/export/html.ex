defmodule Mtrace.Export.Html do
  # One HTML page that needs nothing else: style, scripts and data stand in it. The files of
  # priv/report are read when this is compiled, so that a node needs no file to make a page, and so
  # that the hashes by which the page's policy names them need no :crypto there.
  @moduledoc false

  alias Mtrace.{Leak, Memory, Output, Snapshot}
  alias Mtrace.Export.Html.{Data, Verdict}
  alias Mtrace.Export.Json

  @folder Path.expand("../../../priv/report", __DIR__)
  @scripts ~w(data.js flame.js tables.js leaks.js sites.js memory.js page.js)

  for file <- ~w(page.html page.css flamegraph.min.js) ++ @scripts,
      do: @external_resource(Path.join(@folder, file))

  @style File.read!(Path.join(@folder, "page.css"))
  @library File.read!(Path.join(@folder, "flamegraph.min.js"))
  @script IO.iodata_to_binary([
            "(() => {\n\"use strict\";\n",
            Enum.map(@scripts, &File.read!(Path.join(@folder, &1))),
            "})();\n"
          ])

  # Called through a variable: the compiler else takes :crypto for a dependency of the package.
  crypto = :crypto

  [style, library, script] =
    for text <- [@style, @library, @script],
        do: "'sha256-#{Base.encode64(crypto.hash(:sha256, text))}'"

  # Nothing is loaded from anywhere; only these very scripts run, whatever a name smuggles in.
  @policy "default-src 'none'; script-src #{library} #{script}; style-src #{style}; " <>
            "img-src data:; base-uri 'none'; form-action 'none'"

  # The page in pieces, with the names of what stands between them.
  @page @folder
        |> Path.join("page.html")
        |> File.read!()
        |> String.split(~r/\{\{\w+\}\}/, include_captures: true)

  @options [:snapshot, :leaks, :memory, :title, :window]

  @doc "What `Mtrace.report/2` does; its options stand there."
  @spec report(Path.t() | :iodata, keyword) :: :ok | {:ok, iodata} | {:error, term}
  def report(path, options) do
    path = Output.path!(path, "report/2")

    with {:ok, options} <- options |> options!() |> watch() do
      Output.write(path, page(options))
    end
  end

  # Before anything is shown: what is told at last is the state after it.
  defp watch(options) do
    window = Keyword.get(options, :window, 30_000)

    if window == 0 or options[:snapshot] != nil or is_list(options[:leaks]) do
      {:ok, options}
    else
      case Mtrace.leaks(window: window) do
        leaks when is_list(leaks) -> {:ok, Keyword.put(options, :leaks, leaks)}
        error -> error
      end
    end
  end

  defp page(options) do
    snapshot = options[:snapshot] || Mtrace.snapshot()
    title = options[:title] || "Native memory of #{snapshot.node}"

    memory =
      Keyword.get_lazy(options, :memory, fn ->
        if options[:snapshot], do: snapshot.memory, else: Mtrace.memory(snapshot: snapshot)
      end)

    data =
      snapshot
      |> Data.build(options[:leaks], memory, title)
      |> Map.put(:verdict, Verdict.build(snapshot, options[:leaks]))
      |> Json.encode()

    Enum.map(@page, fn
      "{{policy}}" -> @policy
      "{{title}}" -> escape(title)
      "{{style}}" -> @style
      "{{data}}" -> data
      "{{library}}" -> @library
      "{{script}}" -> @script
      piece -> piece
    end)
  end

  defp escape(text) do
    for <<char::utf8 <- Mtrace.Frame.printable(text)>>, into: "" do
      case char do
        ?& -> "&amp;"
        ?< -> "&lt;"
        ?> -> "&gt;"
        _ -> <<char::utf8>>
      end
    end
  end

  defp options!(options) do
    unless Keyword.keyword?(options) do
      raise ArgumentError,
            "Mtrace.report/2 takes a keyword list of #{names()}, got: #{inspect(options)}"
    end

    Enum.each(options, &option!/1)
    options
  end

  defp option!({:snapshot, %Snapshot{}}), do: :ok
  defp option!({:snapshot, nil}), do: :ok
  defp option!({:memory, %Memory{}}), do: :ok
  defp option!({:memory, nil}), do: :ok
  defp option!({:leaks, nil}), do: :ok
  defp option!({:title, nil}), do: :ok

  defp option!({:window, ms}) when is_integer(ms) and (ms == 0 or ms in 100..86_400_000),
    do: :ok

  defp option!({:title, title}) when is_binary(title), do: :ok

  defp option!({:leaks, leaks} = option) do
    unless is_list(leaks) and Enum.all?(leaks, &is_struct(&1, Leak)), do: wrong(option)
  end

  defp option!(option), do: wrong(option)

  defp wrong({key, value}) do
    takes =
      case key do
        :snapshot -> "as :snapshot an Mtrace.Snapshot"
        :leaks -> "as :leaks a list of Mtrace.Leak, as Mtrace.leaks/1 returns it"
        :memory -> "as :memory an Mtrace.Memory"
        :title -> "as :title a string"
        :window -> "as :window milliseconds, from 100 to 86400000, or 0"
        :since -> "what Mtrace.leaks(since: mark) returns as :leaks, not :since"
        key -> "the keys #{names()}, not #{inspect(key)}"
      end

    got = if key in @options, do: ", got: #{Mtrace.Options.shown(value)}", else: ""
    raise ArgumentError, "Mtrace.report/2 takes #{takes}#{got}"
  end

  defp names, do: Enum.map_join(@options, ", ", &inspect/1)
end
