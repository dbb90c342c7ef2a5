defmodule Mix.Tasks.Mtrace.Report do
  @shortdoc "Writes a running node's report on its native memory"
  @moduledoc """
  Watches a running node, has it report on its native memory, and writes the page to a file of this
  machine: `Mtrace.leaks/1`, `Mtrace.memory/0` and `Mtrace.report/2`, from outside.

      mix mtrace.report shop.html --name shop@127.0.0.1 --cookie secret

    * `--name NODE`, `--sname NODE` - the node, by its long or its short name
    * `--cookie COOKIE` - its cookie; without it that of `~/.erlang.cookie`. Other users of this
      machine can read it from the command line while the task runs
    * `--window MS` - how long to watch for leaks, in milliseconds, at least 100 (30000); 0: not at
      all, the page shows what is there
    * `--attach` - attach to the node if it is not traced, and detach at the end

  What is said of node and connection at `mix help mtrace.leaks` holds here. The node writes nothing to
  its own file system. A file that exists is replaced.

  Ends with 0 if the page was written, and with 1 and one sentence if not.
  """

  use Mix.Task

  alias Mtrace.{Remote, Size}

  @impl true
  def run(argv) do
    {path, options} = parse!(argv)

    case Remote.with_node(options, &fetch(&1, options)) do
      {:ok, node, page} -> write(path, node, page)
      {:error, sentence} -> Mix.raise(sentence)
    end
  end

  defp parse!(argv) do
    {options, rest, invalid} = OptionParser.parse(argv, strict: Remote.switches())
    options = Keyword.merge([window: 30_000], options)

    with [] <- invalid, [path] <- rest do
      folder = Path.dirname(path)

      unless File.dir?(folder),
        do: Mix.raise("there is no folder #{folder} to write #{path} to")

      if options[:window] in 1..99 or options[:window] < 0,
        do: Mix.raise("--window takes milliseconds, at least 100, or 0")

      {path, options}
    else
      _ ->
        Mix.raise(
          "mix mtrace.report takes a path and options, as in: " <>
            "mix mtrace.report shop.html --name shop@127.0.0.1"
        )
    end
  end

  defp fetch(remote, options) do
    if note = Remote.version_note(remote), do: Mix.shell().info(note)

    with {:ok, leaks} <- leaks(remote, options[:window]) do
      asked = leaks ++ memory(remote)

      case Remote.call(
             remote,
             :report,
             [:iodata, asked],
             {"#{remote.node} writes its report", 0}
           ) do
        {:ok, {:ok, page}} -> page(remote, page)
        {:ok, {:error, reason}} -> {:error, "#{remote.node} made no report: #{inspect(reason)}"}
        {:ok, _} -> page(remote, nil)
        {:error, sentence} -> {:error, sentence}
      end
    end
  end

  defp leaks(_remote, 0), do: {:ok, []}

  defp leaks(remote, window) do
    with {:ok, leaks} <- Remote.leaks(remote, window: window), do: {:ok, [leaks: leaks]}
  end

  # An older Mtrace cannot explain it.
  defp memory(remote) do
    case Remote.call(remote, :memory, []) do
      {:ok, memory} -> [memory: memory]
      {:error, _} -> []
    end
  end

  defp page(remote, page) do
    {:ok, remote.node, IO.iodata_to_binary(page)}
  rescue
    ArgumentError -> {:error, "#{remote.node} answers what is no page: it has another Mtrace"}
  end

  defp write(path, node, page) do
    case File.write(path, page) do
      :ok ->
        Mix.shell().info("#{path}: the report of #{node}, #{Size.format(byte_size(page))}")

      {:error, reason} ->
        Mix.raise("#{path} cannot be written: #{:file.format_error(reason)}")
    end
  end
end
