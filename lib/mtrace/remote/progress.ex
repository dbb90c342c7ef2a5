defmodule Mtrace.Remote.Progress do
  # A line on this terminal's stderr while another node works.
  @moduledoc false

  @step_ms 500

  @doc """
  Calls `fun` and returns what it does. Meanwhile, on a terminal, a line that says `text` and how much
  of `ms` is over, and is gone at the end; elsewhere the text alone, once.
  """
  @spec show(String.t(), non_neg_integer, (() -> result)) :: result when result: term
  def show(text, ms, fun) do
    case :io.columns(:standard_error) do
      {:ok, columns} -> on_terminal(text, ms, columns, fun)
      _ -> IO.puts(:stderr, text) && fun.()
    end
  end

  defp on_terminal(text, ms, columns, fun) do
    started = now()
    clock = spawn_link(fn -> tick(text, ms, columns, started) end)

    try do
      fun.()
    after
      Process.unlink(clock)
      monitor = Process.monitor(clock)
      Process.exit(clock, :kill)

      receive do
        {:DOWN, ^monitor, :process, _, _} -> IO.write(:stderr, "\r\e[K")
      end
    end
  end

  defp tick(text, ms, columns, started) do
    line = line(text, ms, now() - started)
    IO.write(:stderr, "\r\e[K" <> String.slice(line, 0, max(columns - 1, 0)))
    Process.sleep(@step_ms)
    tick(text, ms, columns, started)
  end

  @doc false
  def line(text, ms, gone) when gone < ms,
    do: "#{text}: #{div(gone, 1000)} of #{ceil(ms / 1000)} s"

  def line(text, 0, _gone), do: text
  def line(text, _ms, _gone), do: "#{text}: naming what was found"

  defp now, do: System.monotonic_time(:millisecond)
end
