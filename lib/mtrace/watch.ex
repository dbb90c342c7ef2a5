defmodule Mtrace.Watch do
  # Looks at the node for a while, and shows on the caller's terminal that it does.
  @moduledoc false

  alias Mtrace.{Native, Snapshot, Status}

  @looks 12
  @least_pause_ms 100

  @doc """
  Snapshots over `window_ms`, the first now and the last at its end: `{:ok, looks}`, `{:error, :reset}` if
  the table was emptied meanwhile, `{:error, :detached}` if tracing was ended.
  """
  @spec looks(pos_integer, boolean, (() -> Snapshot.t())) ::
          {:ok, [Snapshot.t()]} | {:error, atom}
  def looks(window_ms, progress, look) do
    _ = Native.sharpen(:begin)
    pauses = window_ms |> div(@least_pause_ms) |> max(1) |> min(@looks)
    begin = now()
    times = for i <- 1..pauses, do: begin + div(window_ms * i, pauses)
    result = watch(times, begin, window_ms, progress, look, [look.()])
    if progress, do: say(["\r", String.duplicate(" ", 60), "\r"])
    result
  end

  defp watch([], _begin, _window_ms, _progress, _look, looks), do: {:ok, Enum.reverse(looks)}

  defp watch([time | times], begin, window_ms, progress, look, looks) do
    wait(time, begin, window_ms, progress)
    snapshot = look.()

    with :ok <- same(hd(looks), snapshot) do
      watch(times, begin, window_ms, progress, look, [snapshot | looks])
    end
  end

  defp same(before, now) do
    cond do
      before.coverage.resets != now.coverage.resets -> {:error, :reset}
      Status.state() not in [:preloaded, :attached] -> {:error, :detached}
      true -> :ok
    end
  end

  # A second at a time, to show it, and to have more recorded as soon as there is room again.
  defp wait(until, begin, window_ms, progress) do
    left = until - now()
    _ = Native.sharpen(:on)

    if progress do
      seconds = &:erlang.float_to_binary(&1 / 1000, decimals: 0)
      say("\rMtrace watches: #{seconds.(now() - begin)} of #{seconds.(window_ms)} s ")
    end

    if left > 0 do
      Process.sleep(min(left, 1000))
      wait(until, begin, window_ms, progress)
    end
  end

  @doc "Writes to the terminal, if it is still there."
  @spec say(iodata) :: :ok
  def say(text) do
    IO.write(text)
  rescue
    _ in [ArgumentError, ErlangError] -> :ok
  end

  defp now, do: System.monotonic_time(:millisecond)

  @doc "Whether the caller's output is a terminal: its own, through a remote shell, too."
  @spec terminal? :: boolean
  def terminal?, do: match?({:ok, _}, :io.columns())
end
