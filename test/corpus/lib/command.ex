defmodule Mtrace.Corpus.Command do
  @moduledoc "bin/corpus."

  alias Mtrace.Corpus.{Background, Judge, Page, Round, Workload}

  @switches [
    window: :integer,
    rounds: :integer,
    seed: :integer,
    only: :string,
    alone: :boolean,
    dry: :boolean
  ]

  @page Path.expand("../../../docs/corpus.md", __DIR__)

  @doc """
  Runs it with these arguments, and returns the status to end with. `detect` answers as
  `Mtrace.leaks/1`.
  """
  @spec main([String.t()], (keyword -> [Mtrace.Leak.t()] | {:error, term})) :: 0 | 1 | 2
  def main(arguments, detect) do
    with {:ok, options} <- parse(arguments),
         {:ok, workloads} <- choose(options[:only]) do
      if options[:dry], do: dry(workloads), else: run(arguments, options, workloads, detect)
    else
      {:error, sentence} ->
        IO.puts(:stderr, "corpus: " <> sentence)
        2
    end
  end

  defp parse(arguments) do
    defaults = [window: 30, rounds: 3, seed: :rand.uniform(1_000_000)]

    case OptionParser.parse(arguments, strict: @switches) do
      {options, [], []} -> defaults |> Keyword.merge(options) |> check()
      _ -> {:error, "these arguments are not known; see the head of bin/corpus"}
    end
  end

  defp check(options) do
    if options[:window] > 0 and options[:rounds] > 0,
      do: {:ok, options},
      else: {:error, "--window and --rounds are whole numbers from 1"}
  end

  defp choose(nil), do: {:ok, Workload.all()}

  defp choose(name) do
    case Enum.filter(Workload.all(), &(Atom.to_string(&1.name) == name)) do
      [] -> {:error, "there is no workload of this name; --dry prints all of them"}
      found -> {:ok, found}
    end
  end

  defp dry(workloads) do
    for %{sites: sites} = workload <- workloads do
      IO.puts("#{workload.name}: #{workload.label}, #{workload.rate} steps a second")
      IO.puts("  #{workload.about}\n  #{Enum.join(sites, ", ")}")
    end

    0
  end

  defp run(arguments, options, workloads, detect) do
    IO.puts(:stderr, "corpus: seed #{options[:seed]}, #{length(workloads)} workloads")
    background = Background.start()
    outcomes = for n <- 1..options[:rounds], do: watch(n, workloads, options, detect)
    Background.stop(background)

    text =
      Page.text(%{
        command: Enum.join(["bin/corpus" | with_seed(arguments, options)], " "),
        seed: options[:seed],
        window_s: options[:window],
        alone: options[:alone] == true,
        workloads: workloads,
        outcomes: outcomes
      })

    IO.puts(text)
    unless options[:only] || options[:alone], do: write(text)
    if outcomes |> Judge.figures(workloads) |> Judge.good?(), do: 0, else: 1
  end

  defp with_seed(arguments, options) do
    if "--seed" in arguments, do: arguments, else: arguments ++ ["--seed", "#{options[:seed]}"]
  end

  # Each round has a seed of its own, so that a single one can be run again.
  defp watch(n, workloads, options, detect) do
    IO.puts(:stderr, "corpus: round #{n} of #{options[:rounds]}")
    seed = options[:seed] + n - 1
    groups = if options[:alone], do: Enum.map(workloads, &[&1]), else: [workloads]

    groups
    |> Enum.map(&Round.run(&1, seed, options[:window] * 1000, detect))
    |> Enum.reduce(fn outcome, all ->
      %{
        all
        | verdicts: Map.merge(all.verdicts, outcome.verdicts),
          false_alarms: all.false_alarms ++ outcome.false_alarms
      }
    end)
  end

  defp write(text) do
    File.mkdir_p!(Path.dirname(@page))
    File.write!(@page, text)
  end
end
