defmodule Mtrace.Export.Html.Verdict do
  # The sentences at the top of the page: what leaks, how fast, how sure; or what to do to know.
  @moduledoc false

  alias Mtrace.{Culprit, Frame, Leak, Size, Snapshot}
  alias Mtrace.Export.Html.Data

  @type t :: %{
          state: :leak | :growing | :steady | :unwatched | :empty,
          headline: String.t(),
          sentences: [String.t()],
          commands: [String.t()]
        }

  @doc "The verdict on these leaks, which are nil where nobody watched."
  @spec build(Snapshot.t(), [Leak.t()] | nil) :: t
  def build(%Snapshot{sites: []}, leaks) when leaks in [nil, []] do
    %{
      state: :empty,
      headline: "Nothing is recorded, so nothing can be said.",
      sentences: [
        "The table was empty: tracing began, or Mtrace.reset() was called, a moment before. " <>
          "Let the node work for some minutes, and make the page again."
      ],
      commands: []
    }
  end

  def build(snapshot, nil) do
    %{
      state: :unwatched,
      headline: "Nobody watched yet what stays and what goes.",
      sentences: [
        live(snapshot) <> " Whether that leaks, one moment cannot tell: let Mtrace watch."
      ],
      commands: [
        "leaks = Mtrace.leaks(window: 30_000)",
        "Mtrace.report(\"report.html\", leaks: leaks)"
      ]
    }
  end

  def build(snapshot, leaks) do
    by = Enum.group_by(leaks, & &1.verdict)

    case by do
      %{leak: [first | _]} -> leak(first, by)
      %{growing: [first | _]} -> growing(first, by)
      _ -> steady(leaks, snapshot)
    end
  end

  defp leak(leak, by) do
    %{
      state: :leak,
      headline: "#{where(leak)} leaks #{rate(leak)} a minute#{called(leak)}.",
      sentences: [sure(leak) | others(by, :leak)],
      commands: []
    }
  end

  defp growing(leak, by) do
    %{
      state: :growing,
      headline:
        "No leak is certain, but #{where(leak)} grows by #{rate(leak)} a minute#{called(leak)}.",
      sentences: [
        sure(leak),
        "Watch for longer: a cache that fills stops growing, a leak does not."
        | others(by, :growing)
      ],
      commands: [
        "leaks = Mtrace.leaks(window: #{10 * leak.window_ms})",
        "Mtrace.report(\"report.html\", leaks: leaks)"
      ]
    }
  end

  defp steady([], snapshot) do
    %{
      state: :steady,
      headline: "No leak: nothing grew while Mtrace watched.",
      sentences: [live(snapshot)],
      commands: []
    }
  end

  defp steady([first | _] = leaks, snapshot) do
    %{
      state: :steady,
      headline: "No leak: nothing grew in #{seconds(first.window_ms)}.",
      sentences: [
        "#{count(length(leaks), "site")} that allocated in that time gave memory back, or " <>
          "took no more. #{live(snapshot)}"
      ],
      commands: []
    }
  end

  defp others(by, first) do
    more =
      for {verdict, verb} <- [leak: "leak", growing: "grow"],
          n = length(Map.get(by, verdict, [])) - if(verdict == first, do: 1, else: 0),
          n > 0,
          do: "#{n} more #{if n == 1, do: "site #{verb}s", else: "sites #{verb}"}"

    if more == [], do: [], else: [Enum.join(more, ", ") <> "."]
  end

  defp sure(leak) do
    window = seconds(leak.window_ms)
    seen = count(leak.allocations, "chunk")

    stayed =
      cond do
        leak.allocations == 0 -> "None of its chunks was seen to be allocated in #{window}"
        leak.frees == 0 -> "None of the #{seen} seen there in #{window} was freed"
        true -> "Of the #{seen} seen there in #{window}, #{leak.frees} were freed"
      end

    "#{stayed}: the next one stays with a chance of #{percent(leak.survival)}."
  end

  defp called(%Leak{caller: {_, _, arity} = caller}) when is_integer(arity),
    do: ", called as " <> Frame.printable(Data.caller(caller))

  defp called(_), do: ""

  defp where(leak) do
    case leak.culprit || Culprit.headline(leak.site.stack) do
      nil -> "A place without a stack"
      frame -> Frame.short(frame)
    end
  end

  defp rate(leak) do
    size(leak.bytes_per_minute) <>
      if(leak.bytes_per_minute_error > 0,
        do: " ± #{Size.format(leak.bytes_per_minute_error)}",
        else: ""
      )
  end

  defp live(%Snapshot{sites: []}), do: "Nothing that is recorded is live now."

  defp live(%Snapshot{sites: sites}) do
    top = Enum.max_by(sites, & &1.live_bytes)
    bytes = sites |> Enum.map(& &1.live_bytes) |> Enum.sum()
    headline = Culprit.headline(top.stack)

    "#{Size.format(bytes)} of native memory are live, from #{count(length(sites), "stack")}" <>
      if headline do
        "; most, #{Size.format(top.live_bytes)} in #{count(top.live, "chunk")}, from " <>
          "#{Frame.short(headline)}."
      else
        "."
      end
  end

  defp size(bytes) when bytes < 0, do: "-" <> Size.format(-bytes)
  defp size(bytes), do: Size.format(bytes)
  defp seconds(ms) when rem(ms, 1000) == 0, do: "#{div(ms, 1000)} s"
  defp seconds(ms), do: "#{:erlang.float_to_binary(ms / 1000, decimals: 1)} s"
  defp percent(share), do: "#{:erlang.float_to_binary(share * 100.0, decimals: 1)} %"
  defp count(1, noun), do: "1 #{noun}"
  defp count(n, noun), do: "#{n} #{noun}s"
end
