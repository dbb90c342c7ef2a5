defmodule Mtrace.Status do
  # How Mtrace is active in this node, for people.
  @moduledoc false

  alias Mtrace.{InactiveError, Native, Size}

  @version Mix.Project.config()[:version]
  @parts [malloc: 1, beam: 2]

  @doc "What can be traced, as bits."
  def parts, do: @parts

  @doc "`:preloaded`, `:attached`, `:detached` or `:inactive`; costs next to nothing."
  def state do
    case Native.status() do
      {:ok, %{active: active}} -> active
      _ -> :inactive
    end
  end

  @doc "The map of `Mtrace.status/0`."
  def describe do
    case Native.status() do
      {:ok, %{reason: reason, object: object}} -> inactive(:inactive, reason, object)
      {:ok, status} -> active(status)
      {:error, {:not_loaded, _} = reason} -> inactive(not_loaded_state(), reason, nil)
    end
  end

  defp not_loaded_state, do: if(InactiveError.unsupported(), do: :unsupported, else: :inactive)

  defp inactive(state, reason, object) do
    %{
      active: state,
      reason: reason,
      message: InactiveError.describe(reason),
      object: object,
      version: @version
    }
  end

  defp active(status) do
    %{
      active: status.active,
      message: message(status),
      object: status.object,
      version: @version,
      allocator: status.allocator,
      unwinder: status.unwinder,
      parts: for({part, _} <- @parts, status[part], do: part),
      options: options(status),
      coverage:
        Map.take(status, [
          :recorded,
          :slots,
          :interval,
          :ignored,
          :thinned,
          :sites,
          :missed_frees
        ]),
      own_bytes: status.own_bytes,
      naming_bytes: status.naming_bytes,
      notes:
        log_note(status) ++
          watched_note(status) ++
          ignored_note(status) ++
          unwinder_note(status.unwinder) ++
          allocator_note(status.allocator) ++
          refused_notes(status) ++ List.wrap(status.lines_lack) ++ status.beam_lacks
    }
  end

  defp message(%{active: :detached} = status) do
    "Mtrace is detached: #{status.recorded} chunks of the time before can be read. " <>
      "Mtrace.attach() starts anew"
  end

  defp message(%{logs: true} = status) do
    "Mtrace is active: #{status.active}, every event goes into the log, and none into the table"
  end

  defp message(status) do
    "Mtrace is active: #{status.active}, #{status.recorded} of #{status.slots} slots taken, " <>
      density(status.interval)
  end

  defp options(status) do
    %{
      interval: status.fixed_interval || :adaptive,
      budget: status.budget_ppm / 10_000,
      depth: status.depth,
      erlang_depth: status.erlang_depth,
      slots: status.slots
    }
  end

  defp density(0), do: "everything is recorded"
  defp density(interval), do: "one draw in #{Size.format(interval)}"

  defp log_note(%{logs: true}) do
    [
      "Events go into the file of MTRACE_LOG or mtracectl run --log, and the table is empty: " <>
        "Mtrace.olds/2, sites/1, snapshot/1 and leaks/1 find nothing, of Mtrace.stats/0 the calls " <>
        "count. mtracectl log FILE reads the log; without it, start the node anew"
    ]
  end

  defp log_note(_), do: []

  defp watched_note(%{watched: true}) do
    [
      "mtracectl runs this node and reports at its end, and the node is not to be attached to or " <>
        "detached from; mtracectl report #{System.pid()} tells what it holds now, as do Mtrace's calls"
    ]
  end

  defp watched_note(_), do: []

  defp ignored_note(%{fixed_interval: interval, ignored: ignored})
       when is_integer(interval) and ignored > 100 do
    [
      "#{ignored} chunks found no place in the table, so that live figures are too low: with " <>
        "Mtrace.configure(interval: :adaptive) it is thinned instead, or start the node with more " <>
        "MTRACE_SLOTS; then Mtrace.reset()"
    ]
  end

  defp ignored_note(_), do: []

  defp unwinder_note(:cfi), do: []
  defp unwinder_note(:libunwind), do: []

  defp unwinder_note(:none) do
    [
      "Stacks are one frame deep because libunwind.so.8 was not found when the node started: " <>
        "install it (Debian and Ubuntu: apt-get install libunwind8) and restart the node"
    ]
  end

  defp unwinder_note(:refused) do
    [
      "Stacks are one frame deep: this version of libunwind would write into a pipe of its own " <>
        "inside the node, and Mtrace does not know how to prevent it. Install another version"
    ]
  end

  defp allocator_note(path) do
    if Path.basename(path) =~ ~r/^libc[.-]/ do
      []
    else
      [
        "C++'s operator new is not seen: #{Path.basename(path)} has its own, which does not " <>
          "call malloc. The bytes in Mtrace.stats/0 may describe glibc's heap instead"
      ]
    end
  end

  defp refused_notes(%{refused: refused, refusals: n}) do
    notes = for {why, symbol, object} <- refused, do: refused(why, symbol, object)
    more = n - length(notes)
    if more > 0, do: notes ++ ["So it is with #{more} libraries more"], else: notes
  end

  defp refused(:elsewhere, symbol, object) do
    "Calls of #{program(object)} are not seen: its #{symbol} is another allocator's " <>
      "(RTLD_DEEPBIND, or one of its own)"
  end

  defp refused(:own, symbol, object) do
    "Calls of #{program(object)} are not seen: it has its own #{symbol} built in"
  end

  defp refused(:unbound, symbol, object) do
    "Calls of #{program(object)} are not seen before it has called #{symbol} once: there are " <>
      "several allocators in this node, and it may belong to any"
  end

  defp refused(:protected, symbol, object) do
    "Calls of #{program(object)} are not seen: the system did not allow to redirect its #{symbol}"
  end

  defp program(""), do: "the program itself"
  defp program(object), do: Path.basename(object)
end
