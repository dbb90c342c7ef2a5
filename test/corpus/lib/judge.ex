defmodule Mtrace.Corpus.Judge do
  @moduledoc "Compares what was found with the workloads' labels."

  alias Mtrace.Corpus.{Native, Workload}
  alias Mtrace.{Culprit, Leak}

  @typedoc """
  A round's outcome: the strongest verdict of each workload (of a leaking one, at the sites that
  leak; `nil`: nothing was seen there), and the false alarms by name, with the strongest verdict:
  healthy workloads, sites of leaking ones that do not leak, and code that is no workload's.
  """
  @type outcome :: %{
          verdicts: %{atom => Leak.verdict() | nil},
          false_alarms: [{kind :: :workload | :site | :elsewhere, String.t(), Leak.verdict()}],
          coverage: map
        }

  @doc "The outcome of a round of these workloads."
  @spec outcome([Leak.t()], [Workload.t()], map) :: outcome
  def outcome(leaks, workloads, coverage) do
    found = Enum.group_by(leaks, &site(&1.site.stack), & &1.verdict)

    verdicts =
      Map.new(workloads, fn workload ->
        sites = if workload.label == :leaking, do: workload.leaks, else: workload.sites
        {workload.name, strongest(Enum.flat_map(sites, &Map.get(found, &1, [])))}
      end)

    %{
      verdicts: verdicts,
      false_alarms:
        healthy(workloads, verdicts) ++ beside(workloads, found) ++ elsewhere(leaks, workloads),
      coverage: coverage
    }
  end

  @doc "Whether this verdict says that there is something to look at."
  def alarm?(verdict), do: verdict in [:leak, :growing]

  @doc """
  The figures of all rounds: `recall`, `precision`, `false_alarm_rate` (all false alarms by the
  number of healthy workloads watched), and the counts that they come from.
  """
  @spec figures([outcome], [Workload.t()]) :: map
  def figures(outcomes, workloads) do
    {leaking, healthy} = Enum.split_with(workloads, &(&1.label == :leaking))
    verdicts = for outcome <- outcomes, workload <- leaking, do: outcome.verdicts[workload.name]
    found = Enum.count(verdicts, &alarm?/1)
    false_alarms = outcomes |> Enum.map(&length(&1.false_alarms)) |> Enum.sum()

    %{
      leaking: length(verdicts),
      healthy: length(healthy) * length(outcomes),
      found: found,
      as_leak: Enum.count(verdicts, &(&1 == :leak)),
      as_growing: Enum.count(verdicts, &(&1 == :growing)),
      false_alarms: false_alarms,
      recall: share(found, length(verdicts), 1.0),
      precision: share(found, found + false_alarms, 1.0),
      false_alarm_rate: share(false_alarms, length(healthy) * length(outcomes), 0.0)
    }
  end

  @doc "Whether that is good enough: every leak found, at most 5 % false alarms."
  def good?(figures), do: figures.recall == 1.0 and figures.false_alarm_rate <= 0.05

  defp share(_, 0, otherwise), do: otherwise
  defp share(part, whole, _), do: part / whole

  # The innermost function that is a site of the corpus.
  defp site(stack) do
    Enum.find_value(stack, fn frame ->
      if frame.library == Native.library(), do: named(frame)
    end)
  end

  defp named(frame), do: Enum.find(Native.sites(), &(Atom.to_string(&1) == frame.symbol))

  defp strongest(verdicts), do: Enum.find([:leak, :growing, :steady], &(&1 in verdicts))

  defp healthy(workloads, verdicts) do
    for %{label: :healthy, name: name} <- workloads, alarm?(verdicts[name]) do
      {:workload, Atom.to_string(name), verdicts[name]}
    end
  end

  defp beside(workloads, found) do
    for %{label: :leaking} = workload <- workloads,
        site <- workload.sites -- workload.leaks,
        verdict = strongest(Map.get(found, site, [])),
        alarm?(verdict) do
      {:site, "#{site} of #{workload.name}", verdict}
    end
  end

  # One alarm for each function, however many stacks lead to it.
  defp elsewhere(leaks, workloads) do
    ours = Enum.flat_map(workloads, & &1.sites)

    leaks
    |> Enum.filter(&(alarm?(&1.verdict) and site(&1.site.stack) not in ours))
    |> Enum.group_by(&where(&1.site.stack), & &1.verdict)
    |> Enum.map(fn {where, verdicts} -> {:elsewhere, where, strongest(verdicts)} end)
  end

  defp where(stack) do
    case Culprit.headline(stack) do
      nil -> "an unknown place"
      frame -> frame |> Map.merge(%{file: nil, line: nil}) |> Mtrace.Frame.short()
    end
  end
end
