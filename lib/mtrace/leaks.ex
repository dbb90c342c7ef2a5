defmodule Mtrace.Leaks do
  # Watching for leaks: what Mtrace.leaks/1 is asked, and how it answers.
  @moduledoc false

  alias Mtrace.{InactiveError, Leak, Options, Processes, Selection, Snapshot, Status, Verdict}
  alias Mtrace.Watch

  @longest_ms 86_400_000

  @options [
    window: {&__MODULE__.window?/1, "milliseconds from 100 to #{@longest_ms}"},
    since: {&__MODULE__.since?/1, "a snapshot, as Mtrace.mark/0 returns it, or a list of them"},
    until: {&__MODULE__.until?/1, "a snapshot, as Mtrace.mark/0 returns it"},
    steady: {&is_boolean/1, "true or false"},
    progress: {&is_boolean/1, "true or false"}
  ]

  def window?(ms), do: is_integer(ms) and ms >= 100 and ms <= @longest_ms
  def since?([_ | _] = marks), do: Enum.all?(marks, &is_struct(&1, Snapshot))
  def since?(mark), do: is_struct(mark, Snapshot)
  def until?(mark), do: is_struct(mark, Snapshot)

  @doc "What `Mtrace.leaks/1` does; `look` takes a snapshot of the node."
  @spec watch(keyword, (() -> Snapshot.t())) :: [Leak.t()] | {:error, :reset | :detached}
  def watch(options, look) do
    Options.check!(
      "leaks/1",
      options,
      @options ++ Keyword.take(Selection.options(), [:top, :filter, :ignore])
    )

    if options[:since] != nil and options[:window] != nil do
      raise ArgumentError, "Mtrace.leaks/1 takes :window or :since, not both"
    end

    # What cannot be used is refused before the watch, not after an hour of it.
    [] = Selection.pick(%Snapshot{sites: [], chunks: []}, options)
    progress = Keyword.get_lazy(options, :progress, &Watch.terminal?/0)

    with {:ok, looks} <- looks(options, progress, look) do
      leaks = looks |> Verdict.judge(options) |> Enum.map(&describe(&1, List.last(looks)))
      if progress, do: Watch.say([sentence(leaks, looks), ?\n])
      leaks |> select(Keyword.get(options, :steady, false)) |> top(options[:top] || :all)
    end
  end

  defp looks(options, progress, look) do
    case {options[:since], options[:until]} do
      {nil, nil} ->
        active!()
        Watch.looks(Keyword.get(options, :window, 30_000), progress, look)

      {nil, _} ->
        raise ArgumentError, "Mtrace.leaks/1 takes :until together with :since only"

      {marks, until} ->
        unless until, do: active!()
        ordered(List.wrap(marks) ++ [until || look.()])
    end
  end

  defp active! do
    case Status.state() do
      state when state in [:preloaded, :attached] -> :ok
      :detached -> raise InactiveError, reason: :detached
      _ -> :ok
    end
  end

  defp ordered([first | _] = looks) do
    times = Enum.map(looks, & &1.taken_ns)

    cond do
      Enum.any?(looks, &(&1.run != first.run)) ->
        raise ArgumentError,
              "Mtrace.leaks/1 compares snapshots of one run of a node, and these are of two; " <>
                "Mtrace.diff/3 compares such"

      times != times |> Enum.sort() |> Enum.dedup() ->
        raise ArgumentError,
              "Mtrace.leaks/1 takes its marks in the order of time, the earliest first"

      Enum.any?(looks, &(&1.coverage.resets != first.coverage.resets)) ->
        {:error, :reset}

      true ->
        {:ok, looks}
    end
  end

  # The processes of what matters are asked what they are; those of a file were.
  defp describe(%Leak{verdict: :steady} = leak, _last), do: leak

  defp describe(leak, last) do
    known =
      if Enum.all?(leak.processes, &is_pid(&1.pid)) and last.processes == %{},
        do: leak.processes |> Enum.map(& &1.pid) |> Processes.describe(),
        else: last.processes

    %{leak | processes: Enum.map(leak.processes, &Map.merge(&1, Map.get(known, &1.pid, %{})))}
  end

  defp select(leaks, true), do: leaks
  defp select(leaks, false), do: Enum.reject(leaks, &(&1.verdict == :steady))

  defp top(leaks, :all), do: leaks
  defp top(leaks, n), do: Enum.take(leaks, n)

  @doc "The result for a terminal."
  def sentence(leaks, looks) do
    ms = div(List.last(looks).taken_ns - hd(looks).taken_ns, 1_000_000)
    count = fn verdict -> Enum.count(leaks, &(&1.verdict == verdict)) end

    case {count.(:leak), count.(:growing)} do
      _ when leaks == [] ->
        "No site is recorded, or none passes the filter: nothing was judged."

      {0, 0} ->
        "Nothing leaks: no site grew steadily in #{seconds(ms)} s."

      {0, n} ->
        "No leak is certain after #{seconds(ms)} s; #{sites(n)} growing."

      {n, 0} ->
        "After #{seconds(ms)} s: #{sites(n)} leaking."

      {n, m} ->
        "After #{seconds(ms)} s: #{sites(n)} leaking, #{m} more growing."
    end
  end

  defp sites(1), do: "1 site is"
  defp sites(n), do: "#{n} sites are"

  defp seconds(ms),
    do: :erlang.float_to_binary(ms / 1000, decimals: if(ms < 10_000, do: 1, else: 0))
end
