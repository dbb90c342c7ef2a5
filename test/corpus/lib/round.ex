defmodule Mtrace.Corpus.Round do
  @moduledoc "Runs workloads, and has them watched once."

  alias Mtrace.Corpus.{Driver, Judge, Workload}

  # What the workloads have behind them when they begin, and for how long they then run unwatched.
  @past_s 45
  @warm_up_ms 6000

  @doc """
  Runs these workloads at the same time, and returns the outcome of `detect`, which is called with
  the options of `Mtrace.leaks/1` and answers as it does.
  """
  @spec run([Workload.t()], integer, pos_integer, (keyword -> [Mtrace.Leak.t()])) ::
          Judge.outcome()
  def run(workloads, seed, window_ms, detect) do
    {before, at_mark} = Enum.split_with(workloads, &(&1.begins == :before))
    drivers = Enum.map(before, &start(&1, seed, @past_s))
    Process.sleep(@warm_up_ms)
    drivers = drivers ++ Enum.map(at_mark, &start(&1, seed, 0))

    leaks =
      case detect.(window: window_ms, progress: false, steady: true) do
        leaks when is_list(leaks) -> leaks
        {:error, reason} -> raise "the watch ended with #{inspect(reason)}"
      end

    coverage = Mtrace.status().coverage
    Enum.each(drivers, &Driver.stop/1)
    Judge.outcome(leaks, workloads, coverage)
  end

  defp start(workload, seed, past_s) do
    driver = Driver.start(workload, seed)
    Driver.steps(driver, past_s * workload.rate)
    Driver.run(driver)
    driver
  end
end
