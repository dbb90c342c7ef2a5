defmodule Mtrace.Assertions.Keeper do
  # A process that lives as long as one assertion does: it lets one run at a time, has tracing as the
  # assertion needs it, knows the processes that count, and puts everything back as it was, also where
  # the test is killed.
  @moduledoc false

  @doc """
  Waits for other assertions, and returns `{:ok, keeper}`; or `{:error, reason}` of
  `Mtrace.InactiveError`. Those that count are the caller, `processes`, what has the caller among its
  ancestors, and what any of these starts from now on.
  """
  def start(processes) do
    owner = self()
    {pid, monitor} = spawn_monitor(fn -> queue(owner, processes) end)

    receive do
      {^pid, {:ready, undo}} -> {:ok, {pid, monitor, undo}}
      {:DOWN, ^monitor, :process, ^pid, {:refused, reason}} -> {:error, reason}
      {:DOWN, ^monitor, :process, ^pid, reason} -> exit(reason)
    end
  end

  @doc "A `MapSet` of the processes that count, those that have ended included."
  def processes(keeper), do: call(keeper, :processes)

  @doc """
  Has the processes that count, other than the caller, collect their garbage; one that is in a long NIF
  is not waited for.
  """
  def collect_garbage(keeper), do: call(keeper, :collect_garbage)

  defp call({pid, monitor, _undo}, question) do
    send(pid, {question, monitor, self()})

    receive do
      {^monitor, answer} -> answer
      {:DOWN, ^monitor, :process, ^pid, reason} -> exit(reason)
    end
  end

  @doc "Returns when everything is as it was, also where the keeper was killed."
  def stop({pid, monitor, undo}) do
    # Where the keeper died, the first monitor has told already, and the second says :noproc.
    Process.demonitor(monitor, [:flush])
    ended = Process.monitor(pid)
    send(pid, :stop)

    receive do
      {:DOWN, ^ended, :process, ^pid, :normal} -> :ok
      {:DOWN, ^ended, :process, ^pid, _} -> undo_instead(undo)
    end
  end

  # In its turn: another assertion may hold the lock that the killed one lost.
  defp undo_instead(undo) do
    owner = self()

    {pid, monitor} =
      spawn_monitor(fn ->
        Process.monitor(owner)
        if lock(owner), do: undo.()
      end)

    receive do
      {:DOWN, ^monitor, :process, ^pid, _} -> :ok
    end
  end

  defp queue(owner, processes) do
    Process.monitor(owner)
    if lock(owner), do: hold(owner, processes)
  end

  # The name is the lock: it is free again when its process has ended, whatever that died of.
  defp lock(owner) do
    Process.register(self(), __MODULE__)
    true
  rescue
    ArgumentError -> wait(Process.whereis(__MODULE__), owner)
  end

  defp wait(nil, owner), do: lock(owner)

  defp wait(holder, owner) do
    monitor = Process.monitor(holder)

    receive do
      {:DOWN, ^monitor, :process, _, _} -> lock(owner)
      {:DOWN, _, :process, ^owner, _} -> false
    end
  end

  defp hold(owner, processes) do
    case activate() do
      {:ok, undo} ->
        Mtrace.configure(interval: 0, budget: 100)
        counted = MapSet.new([owner | processes] ++ descendants(owner))
        Enum.each(counted, &trace/1)
        send(owner, {self(), {:ready, undo}})
        serve(owner, counted)
        undo.()

      {:error, reason} ->
        exit({:refused, reason})
    end
  end

  defp activate do
    case Mtrace.status() do
      %{active: active} when active in [:preloaded, :attached] ->
        {:ok, restore(Mtrace.status().options, fn -> :ok end)}

      _ ->
        with {:ok, status} <- Mtrace.attach(),
             do: {:ok, restore(status.options, &Mtrace.detach/0)}
    end
  end

  defp restore(options, then) do
    fn ->
      Mtrace.configure(interval: options.interval, budget: options.budget)
      then.()
    end
  end

  # Servers that the test has started, itself or by ExUnit's supervisor.
  defp descendants(owner) do
    for pid <- Process.list(),
        {:dictionary, dictionary} <- [Process.info(pid, :dictionary)],
        {_, ancestors} when is_list(ancestors) <- [List.keyfind(dictionary, :"$ancestors", 0)],
        owner in ancestors,
        do: pid
  end

  # Their children are asked for as they are started: afterwards nobody knows whose they were. What
  # another tracer has already, or what has ended, is left alone.
  defp trace(pid) do
    :erlang.trace(pid, true, [:procs, :set_on_spawn])
  rescue
    ArgumentError -> 0
  end

  defp serve(owner, counted) do
    receive do
      {:trace, _, :spawn, child, _} ->
        serve(owner, MapSet.put(counted, child))

      {:processes, tag, from} ->
        counted = delivered(counted)
        send(from, {tag, counted})
        serve(owner, counted)

      {:collect_garbage, tag, from} ->
        counted = delivered(counted)
        garbage_collect(MapSet.delete(counted, owner))
        send(from, {tag, :ok})
        serve(owner, counted)

      :stop ->
        :ok

      {:DOWN, _, :process, ^owner, _} ->
        :ok

      _ ->
        serve(owner, counted)
    end
  end

  # Everything that was traced up to here has come when this answer comes.
  defp delivered(counted) do
    reference = :erlang.trace_delivered(:all)
    collect(reference, counted)
  end

  defp collect(reference, counted) do
    receive do
      {:trace, _, :spawn, child, _} -> collect(reference, MapSet.put(counted, child))
      {:trace_delivered, :all, ^reference} -> counted
    end
  end

  @patience_ms 500

  defp garbage_collect(pids) do
    tag = make_ref()

    asked = for pid <- pids, Process.alive?(pid), do: :erlang.garbage_collect(pid, async: tag)

    deadline = System.monotonic_time(:millisecond) + @patience_ms
    Enum.each(asked, fn _ -> collected(tag, deadline) end)
  end

  # What comes later is dropped by serve/2.
  defp collected(tag, deadline) do
    receive do
      {:garbage_collect, ^tag, _} -> :ok
    after
      max(deadline - System.monotonic_time(:millisecond), 0) -> :ok
    end
  end
end
