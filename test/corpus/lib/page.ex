defmodule Mtrace.Corpus.Page do
  @moduledoc "The result as a page of Markdown."

  alias Mtrace.Corpus.Judge

  @doc "The page. `run` is `%{command:, seed:, window_s:, workloads:, outcomes:, alone:}`."
  @spec text(map) :: String.t()
  def text(run) do
    figures = Judge.figures(run.outcomes, run.workloads)
    {leaking, healthy} = Enum.split_with(run.workloads, &(&1.label == :leaking))

    """
    # How well leaks are told from what is not one

    Programs that allocate and free, each with a label: it leaks, or it does not. `Mtrace.leaks/1`
    watched them for #{run.window_s} s, #{together(run)}, in a node that was preloaded, with
    the default options. A leaking one is found if the verdict on it is `leak` or `growing`; any other
    such verdict is a false alarm. They are in `test/corpus`; this page is what `#{run.command}` wrote.

    | | |
    |---|---|
    | recall | #{percent(figures.recall)}: #{found(figures)} |
    | precision | #{percent(figures.precision)} |
    | false alarms | #{percent(figures.false_alarm_rate)}: #{alarms(figures)} |
    | window | #{run.window_s} s |
    | rounds | #{length(run.outcomes)} |
    | seed | #{run.seed} |
    | system | #{system()} |

    The verdict in each round; **bold** where it is wrong, – where nothing was recorded.

    ## Leaking

    #{table(leaking, run.outcomes)}

    ## Healthy

    #{table(healthy, run.outcomes)}
    #{others(run.outcomes)}
    ## What it stands on

    #{coverage(run)}
    """
  end

  defp system do
    machine = :erlang.system_info(:system_architecture)
    "OTP #{System.otp_release()}, Elixir #{System.version()}, #{machine}"
  end

  defp found(figures) do
    "#{figures.found} of #{figures.leaking} found, " <>
      "#{figures.as_leak} as `leak`, #{figures.as_growing} as `growing`"
  end

  defp alarms(figures),
    do: "#{figures.false_alarms} to #{figures.healthy} healthy ones watched"

  defp together(%{alone: true}), do: "each on its own"
  defp together(_), do: "all at the same time"

  defp table([], _outcomes), do: "None."

  defp table(workloads, outcomes) do
    columns = Enum.map_join(1..length(outcomes), "", &" #{&1} |")
    rule = String.duplicate("---|", length(outcomes))
    rows = Enum.map(workloads, &row(&1, outcomes))
    Enum.join(["| workload | what it does |#{columns}", "|---|---|#{rule}" | rows], "\n")
  end

  defp row(workload, outcomes) do
    cells = Enum.map_join(outcomes, "", &" #{cell(workload, &1.verdicts[workload.name])} |")
    "| #{workload.name} | #{workload.about} |#{cells}"
  end

  defp cell(workload, verdict) do
    right = Judge.alarm?(verdict) == (workload.label == :leaking)
    if right, do: word(verdict), else: "**#{word(verdict)}**"
  end

  defp word(nil), do: "–"
  defp word(verdict), do: Atom.to_string(verdict)

  # False alarms that have no row above.
  defp others(outcomes) do
    lines =
      for {outcome, round} <- Enum.with_index(outcomes, 1),
          {kind, name, verdict} <- outcome.false_alarms,
          kind != :workload,
          do: "- round #{round}: `#{name}`, #{verdict}"

    if lines == [],
      do: "",
      else: Enum.join(["\n## False alarms elsewhere\n" | lines], "\n") <> "\n"
  end

  defp coverage(%{alone: true}),
    do: "Each workload was watched alone, so there is no one figure for a round."

  defp coverage(run) do
    rows =
      for {%{coverage: coverage}, round} <- Enum.with_index(run.outcomes, 1) do
        "| #{round} | #{coverage.recorded} of #{coverage.slots} | " <>
          "#{Mtrace.Size.format(coverage.interval)} | #{coverage.ignored} | #{coverage.thinned} |"
      end

    Enum.join(
      [
        "The sampler at the end of each window.\n",
        "| round | recorded | interval | ignored | thinned |",
        "|---|---|---|---|---|" | rows
      ],
      "\n"
    )
  end

  defp percent(share), do: "#{:erlang.float_to_binary(100.0 * share, decimals: 1)} %"
end
