defmodule Mtrace.Corpus.Driver do
  @moduledoc """
  A process that runs a workload: by steps, or, once it is told to, by time at the workload's rate.
  It ends with its caller.
  """

  alias Mtrace.Corpus.Workload

  @tick_ms 10

  @doc """
  Starts it with a generator of its own that is seeded; the workload's `start` has run on return.
  """
  @spec start(Workload.t(), integer) :: pid
  def start(%Workload{} = workload, seed) do
    owner = self()
    reference = make_ref()

    pid =
      spawn_link(fn ->
        :rand.seed(:exsss, {seed, :erlang.phash2(workload.name), 0})
        state = workload.start.()
        send(owner, {reference, :started})
        idle(workload, state)
      end)

    receive do: ({^reference, :started} -> pid)
  end

  @doc "Does so many steps at once, and returns when they are done."
  @spec steps(pid, non_neg_integer) :: :ok
  def steps(pid, n), do: call(pid, {:steps, n})

  @doc "From now on steps are done by time."
  @spec run(pid) :: :ok
  def run(pid), do: call(pid, :run)

  @doc "Stops the workload, which frees what it can reach, and ends the process."
  @spec stop(pid) :: :ok
  def stop(pid), do: call(pid, :stop)

  defp call(pid, request) do
    reference = make_ref()
    send(pid, {request, self(), reference})
    receive do: ({^reference, :done} -> :ok)
  end

  defp idle(workload, state) do
    receive do
      {{:steps, n}, from, reference} ->
        state = advance(workload, state, n)
        send(from, {reference, :done})
        idle(workload, state)

      {:run, from, reference} ->
        send(from, {reference, :done})
        timed(workload, state, now(), 0)

      {:stop, from, reference} ->
        finish(workload, state, from, reference)
    end
  end

  # As many steps as the time that has passed asks for, so that a late tick catches up.
  defp timed(workload, state, began, done) do
    receive do
      {:stop, from, reference} -> finish(workload, state, from, reference)
    after
      max(@tick_ms, div(1000, workload.rate)) ->
        due = div((now() - began) * workload.rate, 1000)
        timed(workload, advance(workload, state, due - done), began, due)
    end
  end

  defp advance(_workload, state, 0), do: state
  defp advance(workload, state, n), do: advance(workload, workload.step.(state), n - 1)

  defp finish(workload, state, from, reference) do
    workload.stop.(state)
    send(from, {reference, :done})
  end

  defp now, do: System.monotonic_time(:millisecond)
end
