defmodule Mtrace.Corpus.Background do
  @moduledoc "What an ordinary node does beside its NIFs: processes, messages, ETS, timers, files."

  @doc "Starts it; it ends with stop/1, or with its caller."
  @spec start() :: pid
  def start do
    spawn_link(fn ->
      Process.flag(:trap_exit, true)
      for _ <- 1..200, do: spawn_link(fn -> Process.sleep(:infinity) end)
      table = :ets.new(:background, [:public])
      every(10, &write(table, &1))

      every(20, fn _ ->
        spawn(fn -> Enum.sort(for n <- 1..500, do: {rem(n * 7919, 501), n}) end)
      end)

      every(50, fn _ -> echo() end)
      every(100, fn n -> :erlang.term_to_binary(Enum.to_list(1..n//7), [:compressed]) end)
      every(200, fn _ -> :re.run("key=value; key2=value2", "(\\w+)=(\\w+);?", [:global]) end)
      every(200, fn n -> "line #{n}\n" |> String.duplicate(1000) |> :zlib.gzip() end)
      every(500, fn _ -> File.read(:code.which(:lists)) end)
      every(1000, fn _ -> Enum.each(Process.list(), &Process.info(&1, :memory)) end)
      receive do: ({:stop, from} -> send(from, {self(), :stopped}))
    end)
  end

  @doc "Ends all of it."
  def stop(pid) do
    send(pid, {:stop, self()})
    receive do: ({^pid, :stopped} -> :ok)
  end

  defp every(ms, work), do: spawn_link(fn -> loop(ms, work, 1) end)

  defp loop(ms, work, n) do
    work.(n)
    Process.sleep(ms)
    loop(ms, work, rem(n, 10_000) + 1)
  end

  # A table that keeps the last 1000 rows.
  defp write(table, n) do
    :ets.insert(table, {n, :binary.copy("x", 200)})
    :ets.delete(table, rem(n + 9000, 10_000))
  end

  defp echo do
    pid = spawn(fn -> receive do: ({from, what} -> send(from, {:echo, what})) end)
    Process.send_after(pid, {self(), List.duplicate(:message, 100)}, 5)
    receive do: ({:echo, _} -> :ok)
  end
end
