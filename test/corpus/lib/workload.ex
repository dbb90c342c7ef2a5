defmodule Mtrace.Corpus.Workload do
  @moduledoc """
  A program that allocates and frees, with an honest label.

    * `name`, `label` - `:leaking` or `:healthy`
    * `about` - what it does, in a sentence
    * `rate` - steps per second when it runs by time
    * `sites` - the functions that it allocates in, and nobody else
    * `leaks` - those of them that leak
    * `begins` - `:before` the window, with a past behind it, or at its `:mark`
    * `start`, `step`, `stop` - `start.()` is its state, `step.(state)` the next one, `stop.(state)`
      ends it. A step is deterministic: randomness comes from the process' own generator, seeded
  """

  @enforce_keys [:name, :label, :about, :rate, :sites, :start, :step]
  defstruct [
    :name,
    :label,
    :about,
    :rate,
    :sites,
    :start,
    :step,
    leaks: [],
    stop: &Mtrace.Corpus.Workload.release/1,
    begins: :before
  ]

  @type t :: %__MODULE__{
          name: atom,
          label: :leaking | :healthy,
          about: String.t(),
          rate: pos_integer,
          sites: [atom],
          leaks: [atom],
          begins: :before | :mark,
          start: (() -> term),
          step: (term -> term),
          stop: (term -> term)
        }

  alias Mtrace.Corpus.{Among, Held, Kept, Lost, Native, Turnover}

  @doc "All workloads, the leaking first."
  def all, do: Lost.all() ++ Among.all() ++ Kept.all() ++ Turnover.all()

  @doc "A whole number in the range."
  def pick(%Range{first: first, last: last}), do: first + :rand.uniform(last - first + 1) - 1

  @doc "A number of steps with this mean, at least 1, as times between independent events are."
  def exponential(mean), do: max(1, round(-mean * :math.log(:rand.uniform_real())))

  @doc "A size in the range, small ones more often: each power of two as often as the next."
  def size(%Range{first: first, last: last}) do
    round(first * :math.pow(last / first, :rand.uniform_real()))
  end

  @doc "Frees every chunk in a state, and ends every process."
  def release(%Held{} = held), do: Native.give(held)
  def release(%_{}), do: :ok
  def release(list) when is_list(list), do: Enum.each(list, &release/1)
  def release(tuple) when is_tuple(tuple), do: tuple |> Tuple.to_list() |> release()
  def release(map) when is_map(map), do: map |> Map.values() |> release()
  def release(pid) when is_pid(pid), do: finish(pid)
  def release(_), do: :ok

  @doc "A calendar: what is released later, by the step in which."
  def calendar, do: %{now: 0, due: %{}}

  @doc "Has something released in so many steps."
  def later(calendar, what, steps) do
    %{calendar | due: Map.update(calendar.due, calendar.now + steps, [what], &[what | &1])}
  end

  @doc "The next step: releases what is due."
  def pass(calendar) do
    now = calendar.now + 1
    {gone, due} = Map.pop(calendar.due, now, [])
    release(gone)
    %{calendar | now: now, due: due}
  end

  @doc "A process that makes something native and holds it until it is finished."
  def session(make) do
    owner = self()
    reference = make_ref()
    seed = :rand.uniform(1_000_000_000)

    pid =
      spawn_link(fn ->
        :rand.seed(:exsss, seed)
        held = make.()
        send(owner, {reference, :ready})
        receive do: (:finish -> held)
      end)

    receive do: ({^reference, :ready} -> pid)
  end

  defp finish(pid) do
    monitor = Process.monitor(pid)
    send(pid, :finish)
    receive do: ({:DOWN, ^monitor, :process, ^pid, _} -> :ok)
  end
end
