defmodule Mix.Tasks.Mtrace.Leaks do
  @shortdoc "Watches a running node for native memory leaks"
  @moduledoc """
  Watches a running node and prints what leaks native memory there: `Mtrace.leaks/1`, from outside.

      mix mtrace.leaks --name shop@127.0.0.1 --cookie secret --window 60000

    * `--name NODE`, `--sname NODE` - the node, by its long or its short name
    * `--cookie COOKIE` - its cookie; without it that of `~/.erlang.cookie`. Other users of this
      machine can read it from the command line while the task runs
    * `--window MS` - how long to watch, in milliseconds, at least 100 (30000)
    * `--top N` - at most so many places (10)
    * `--by WHAT` - adds places up by `function`, `library`, `app` or `caller`
    * `--attach` - attach to the node if it is not traced, and detach at the end

  The node needs Mtrace on its code path: as a dependency, or loaded from the tar of `bin/pack`. It is
  asked over Erlang's distribution, by a hidden node that nobody else sees or can connect to; node and
  task need the same transport (TLS is not spoken). What the node does for it is `Mtrace.leaks/1`;
  progress is shown here, not there.

  Ends with 0 whether something leaks or not, and with 1 and one sentence if it could not find out.
  """

  use Mix.Task

  alias Mtrace.{Culprit, Frame, Remote, Size}

  @switches [top: :integer, by: :string]
  @groups ~w(function library app caller)

  @impl true
  def run(argv) do
    options = parse!(argv)

    found =
      Remote.with_node(options, fn remote ->
        if note = Remote.version_note(remote), do: Mix.shell().info(note)
        top = if options[:by], do: [], else: [top: options[:top]]

        with {:ok, leaks} <- Remote.leaks(remote, [window: options[:window]] ++ top),
             :ok <- Remote.check_shape(remote, leaks),
             do: {:ok, remote, leaks}
      end)

    case found do
      {:ok, remote, leaks} -> print(remote, leaks, options)
      {:error, sentence} -> Mix.raise(sentence)
    end
  end

  defp parse!(argv) do
    {options, rest, invalid} = OptionParser.parse(argv, strict: Remote.switches() ++ @switches)
    options = Keyword.merge([window: 30_000, top: 10], options)

    cond do
      invalid != [] ->
        Mix.raise("mix mtrace.leaks does not take #{given(invalid)}; see mix help mtrace.leaks")

      rest != [] ->
        Mix.raise("mix mtrace.leaks takes options only, got: #{Enum.join(rest, " ")}")

      options[:window] < 100 ->
        Mix.raise("--window takes milliseconds, at least 100")

      options[:top] < 1 ->
        Mix.raise("--top takes a number of places, at least 1")

      options[:by] not in [nil | @groups] ->
        Mix.raise("--by takes one of #{Enum.join(@groups, ", ")}")

      true ->
        options
    end
  end

  defp given(invalid) do
    Enum.map_join(invalid, ", ", fn {option, value} -> String.trim("#{option} #{value}") end)
  end

  defp print(remote, leaks, options) do
    shell = Mix.shell()
    shell.info("#{remote.node}, #{Remote.seconds(options[:window])}: #{conclusion(leaks)}")

    lines = if options[:by], do: groups(leaks, options), else: Enum.map(leaks, &leak/1)
    for {line, n} <- Enum.with_index(lines, 1), do: shell.info("\n#{n}. #{line}")
    :ok
  end

  defp conclusion([]), do: "no place was seen to leak"

  defp conclusion(leaks) do
    case {count(leaks, :leak), count(leaks, :growing)} do
      {0, 0} -> "no place was seen to leak"
      {0, n} -> "#{places(n)} whose memory grows"
      {n, 0} -> "#{places(n)} that leak#{s(n)}"
      {n, m} -> "#{places(n)} that leak#{s(n)}, and #{m} whose memory grows"
    end
  end

  defp count(leaks, verdict), do: Enum.count(leaks, &(&1.verdict == verdict))
  defp places(1), do: "1 place"
  defp places(n), do: "#{n} places"
  defp s(1), do: "s"
  defp s(_), do: ""

  defp leak(leak) do
    where = Culprit.headline(leak.site.stack)

    [
      "#{leak.verdict}, #{rate(leak.bytes_per_minute, leak.bytes_per_minute_error)}, " <>
        "#{round(100 * leak.survival)} % survive",
      where && Frame.format(where),
      caller(leak.caller) && "called as #{caller(leak.caller)}",
      processes(leak.processes)
    ]
    |> Enum.filter(& &1)
    |> Enum.join("\n   ")
  end

  defp rate(bytes, error) do
    "#{size(bytes)}#{if error > 0, do: " ± #{Size.format(error)}"} a minute"
  end

  defp size(bytes) when bytes < 0, do: "-" <> Size.format(-bytes)
  defp size(bytes), do: Size.format(bytes)

  defp caller({module, function, arity}) when is_integer(arity),
    do: Frame.printable("#{name(module)}.#{name(function)}/#{arity}")

  defp caller(_), do: nil

  defp name(atom) when is_atom(atom), do: atom |> inspect() |> String.trim_leading(":")
  defp name(text), do: to_string(text)

  defp processes([]), do: nil

  defp processes(processes) do
    "for " <> (processes |> Enum.map_join(", ", &process/1) |> Frame.printable())
  end

  # As the node itself prints it: the first number is that node's here.
  defp there(pid), do: pid |> inspect() |> String.replace(~r/<\d+\./, "<0.")

  defp process(%{pid: pid} = process) do
    pid = if is_pid(pid), do: there(pid), else: to_string(pid)
    known = process[:registered_name] || process[:initial_call]
    if known, do: "#{pid} (#{known(known)})", else: pid
  end

  defp known({_, _, _} = mfa), do: caller(mfa)
  defp known(name), do: name(name)

  defp groups(leaks, options) do
    leaks
    |> Enum.group_by(&key(options[:by], &1))
    |> Enum.map(fn {key, leaks} ->
      {leaks |> Enum.map(& &1.bytes_per_minute) |> Enum.sum(), key, leaks}
    end)
    |> Enum.sort(:desc)
    |> Enum.take(options[:top])
    |> Enum.map(fn {bytes, key, leaks} ->
      error = leaks |> Enum.map(&(&1.bytes_per_minute_error ** 2)) |> Enum.sum() |> :math.sqrt()
      "#{rate(bytes, ceil(error))}, #{places(length(leaks))}: #{Frame.printable(key)}"
    end)
  end

  defp key("caller", leak), do: caller(leak.caller) || "no NIF"
  defp key(_, %{culprit: nil}), do: "unknown"

  defp key("function", %{culprit: frame}),
    do: Frame.format(%{frame | file: nil, line: nil, inlined: false})

  defp key("library", %{culprit: frame}), do: frame.library || "Erlang"
  defp key("app", %{culprit: %{app: {app, version}}}), do: String.trim("#{app} #{version}")
  defp key("app", _), do: "no application"
end
