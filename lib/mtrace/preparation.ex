defmodule Mtrace.Preparation do
  # What has to be there before the first look.
  @moduledoc false

  alias Mtrace.{Native, Snapshot}

  # Code that is loaded takes memory, and loading waits for processes that are in a long NIF: what a
  # look at the table needs is there before.
  def prepare do
    if :persistent_term.get({__MODULE__, :rehearsed}, false) == false do
      Snapshot.Build.rehearse()
      :persistent_term.put({__MODULE__, :rehearsed}, true)
    end

    calibrate()
  end

  # Where Erlang's stack lies is found out by calls from different depths of it, the first time.
  def calibrate do
    if :persistent_term.get({__MODULE__, :calibrated}, false) == false do
      Code.ensure_loaded(Native)
      if promptly(&calibrate_here/0), do: calibrated()
    end

    :ok
  end

  defp calibrated, do: :persistent_term.put({__MODULE__, :calibrated}, true)

  # In a process whose heap is no more as it was made: the words that describe it then differ.
  defp calibrate_here do
    data = Enum.to_list(1..1000)
    :erlang.garbage_collect()
    found = Enum.any?(1..12, &calibrate_from/1)
    found and length(data) > 0
  end

  # In a process of its own, which a busy node does not let wait. (The caller's stack, too, may be in
  # any state: in the middle of loading code for one.)
  def promptly(f) do
    {pid, monitor} =
      :erlang.spawn_opt(fn -> exit({:found, f.()}) end, [:monitor, priority: :high])

    receive do
      {:DOWN, ^monitor, :process, ^pid, {:found, found}} -> found
      {:DOWN, ^monitor, :process, ^pid, reason} -> exit(reason)
    end
  end

  # Not a tail call: each depth has a stack of its own.
  defp calibrate_from(0), do: Native.calibrate(:now) == true
  defp calibrate_from(depth), do: calibrate_from(depth - 1) and depth > 0
end
