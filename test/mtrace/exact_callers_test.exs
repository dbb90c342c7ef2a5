defmodule Mtrace.ExactCallersTest do
  # On whose behalf chunks are where every chunk is recorded, and a stack that is the same as one of
  # late is not looked for again.
  use ExUnit.Case, async: true
  @moduletag :plain

  alias Mtrace.Test.Program

  @exact [{"MTRACE_INTERVAL", "0"}, {"MTRACE_SLOTS", "1048576"}]

  @calls """
  defmodule Calls do
    # The NIF returns to this, whoever wants it.
    def by_day(size), do: keep(Mtrace.Test.Leaky.leak(:malloc, size, 1))
    def by_night(size), do: keep(Mtrace.Test.Leaky.leak(:malloc, size, 1))
    defp keep(address), do: if(address > 0, do: address, else: :none)

    def alternate(0), do: :ok

    def alternate(n) do
      by_day(7001)
      by_day(7001)
      by_night(7001)
      alternate(n - 1)
    end
  end

  for depth <- 1..10, do: List.foldr(Enum.to_list(1..depth), 0, fn _, _ -> Mtrace.stats() end)
  Mtrace.reset()
  tasks = for n <- [100, 200], do: Task.async(fn -> {Calls.alternate(n), self()} end)
  pids = for task <- tasks, do: elem(Task.await(task), 1)
  chunks = for chunk <- Mtrace.snapshot().chunks, chunk.size == 7001, do: chunk

  rows =
    Enum.frequencies_by(chunks, fn chunk ->
      symbols = for frame <- chunk.stack, frame.kind == :erlang, do: frame.symbol
      called = for "Calls.by_" <> _ = symbol <- symbols, do: symbol
      {Enum.find_index(pids, &(&1 == chunk.pid)), chunk.caller, called}
    end)

  IO.inspect({Mtrace.status().notes, rows})
  """

  test "each chunk has its process and its Erlang calls, whoever called from there before" do
    ebin = Application.app_dir(:mtrace, "ebin")
    env = [{"LD_PRELOAD", Program.object()} | @exact]
    {output, 0} = System.cmd("elixir", ["-pa", ebin, "-e", @calls], env: env)
    {{notes, rows}, _} = Code.eval_string(output)
    nif = {Mtrace.Test.Leaky, :leak, 3}

    if notes == [] do
      assert rows == %{
               {0, nif, ["Calls.by_day/1"]} => 200,
               {0, nif, ["Calls.by_night/1"]} => 100,
               {1, nif, ["Calls.by_day/1"]} => 400,
               {1, nif, ["Calls.by_night/1"]} => 200
             }
    else
      assert Enum.sum(Map.values(rows)) == 900
    end
  end
end
