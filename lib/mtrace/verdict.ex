defmodule Mtrace.Verdict do
  # What leaks, told from looks at one node: snapshots of one run, in the order of time. How a verdict is
  # found stands at Mtrace.leaks/1, for users.
  @moduledoc false

  alias Mtrace.{Estimate, Growth, Leak, Selection, Snapshot}

  @survival 0.9
  @least_new 3
  @old_share 0.1

  @doc "A `Leak` for each site of the last look, those that matter most first."
  @spec judge([Snapshot.t()], keyword) :: [Leak.t()]
  def judge(looks, options \\ []) do
    {first, last} = {hd(looks), List.last(looks)}
    rows = Enum.map(looks, &rows/1)
    times = Enum.map(looks, & &1.taken_ns)
    thinned = Enum.map(looks, & &1.coverage.thinned)
    picked = Selection.pick(last, Keyword.take(options, [:filter, :ignore]))
    largest = picked |> Enum.reverse() |> Map.new(fn {site, _} -> {key(site), site} end)
    members = Enum.group_by(picked, fn {site, _} -> key(site) end, &elem(&1, 1))

    leaks =
      for {key, site} <- largest do
        path = Enum.map(rows, &Map.get(&1, key, %{}))

        came = members[key] |> Enum.concat() |> Enum.filter(&(&1.born_ns > first.taken_ns))

        site
        |> leak(path, times, thinned)
        |> Map.put(:processes, processes_of(came))
      end

    Enum.sort_by(leaks, &{rank(&1.verdict), -&1.bytes_per_minute})
  end

  defp rank(:leak), do: 0
  defp rank(:growing), do: 1
  defp rank(:steady), do: 2

  # The Erlang functions above differ from call to call of one leak.
  defp key(site),
    do: Growth.path(%{site | stack: Enum.filter(site.stack, &(&1.kind == :native))})

  # Chunks of each key: by address and birth, {size, weight}.
  defp rows(snapshot) do
    keys = Map.new(snapshot.sites, &{&1.id, key(&1)})

    snapshot.chunks
    |> Enum.group_by(
      &Map.fetch!(keys, &1.site),
      &{{&1.address, &1.born_ns}, {&1.size, &1.weight}}
    )
    |> Map.new(fn {key, chunks} -> {key, Map.new(chunks)} end)
  end

  defp leak(site, path, times, thinned) do
    {first, last} = {hd(path), List.last(path)}
    {begin, now} = {hd(times), List.last(times)}
    window_ms = max(div(now - begin, 1_000_000), 1)
    growth = difference(first, last)
    {allocations, frees} = first_part(path, times, thinned)
    survival = 1 - (frees + 1) / (allocations + 2)

    facts = %{
      growth: growth,
      new: births(last, begin, now),
      frees: frees,
      allocations: allocations,
      survival: survival,
      old: {map_size(first), gone(first, last, hd(thinned) != List.last(thinned))},
      bytes: Enum.map(path, &bytes/1),
      steps: steps(path, thinned)
    }

    %Leak{
      verdict: verdict(facts),
      site: site,
      culprit: site.culprit,
      caller: site.caller,
      growth: round(growth.n),
      growth_bytes: round(growth.bytes),
      growth_bytes_error: growth.error,
      bytes_per_minute: round(growth.bytes * 60_000 / window_ms),
      bytes_per_minute_error: ceil(growth.error * 60_000 / window_ms),
      allocations: allocations,
      frees: frees,
      survival: survival,
      window_ms: window_ms
    }
  end

  # What is in both with the same weight adds nothing to the error.
  defp difference(first, last) do
    came = for {id, chunk} <- last, first[id] != chunk, do: chunk
    gone = for {id, chunk} <- first, not is_map_key(last, id), do: chunk
    changed = for {id, chunk} <- last, was = first[id], was != chunk, do: was
    sum = fn chunks, f -> chunks |> Enum.map(f) |> Enum.sum() end
    bytes = fn {size, w} -> w * size end
    variance = fn {size, w} -> w * (w - 1) * size * size end

    %{
      n: sum.(came, &elem(&1, 1)) - sum.(gone, &elem(&1, 1)) - sum.(changed, &elem(&1, 1)),
      bytes: sum.(came, bytes) - sum.(gone, bytes) - sum.(changed, bytes),
      error: Estimate.error(sum.(came, variance) + sum.(gone, variance))
    }
  end

  # From look to look. Thinning between them makes an estimate out of what is known: what may be chance
  # is no step back then.
  defp steps(path, thinned) do
    for {{before, was}, {row, is}} <-
          Enum.zip(Enum.zip(path, thinned), tl(Enum.zip(path, thinned))) do
      step = difference(before, row)
      if was != is, do: step.bytes + 2 * step.error, else: step.bytes
    end
  end

  defp bytes(row), do: row |> Enum.map(fn {_, {size, w}} -> size * w end) |> Enum.sum()

  # Chunks of the window that were there after its first third, and how many of them are gone. Without a
  # look at that time: those that were there at its beginning, and what is there of that third.
  defp first_part(path, times, thinned) do
    {begin, now} = {hd(times), List.last(times)}
    i = Enum.find_index(times, &(3 * (&1 - begin) >= now - begin))
    i = if i == length(times) - 1, do: 0, else: i
    last = List.last(path)

    cohort =
      if i == 0,
        do: Map.merge(born(last, begin, begin + div(now - begin, 3)), hd(path)),
        else: path |> Enum.at(i) |> born(begin, now)

    {map_size(cohort), gone(cohort, last, Enum.at(thinned, i) != List.last(thinned))}
  end

  defp born(row, from, until),
    do: :maps.filter(fn {_, at}, _ -> at > from and at <= until end, row)

  # How many are gone. Where the table was thinned some of the missing are alive: those that stayed stand
  # for them, and what these do not account for by more than chance is gone.
  defp gone(cohort, last, thinned?) do
    stayed = for {id, _} <- cohort, chunk = last[id], do: elem(chunk, 1)
    missing = map_size(cohort) - length(stayed)

    if thinned? and missing > 0 do
      were = cohort |> Enum.map(fn {_, {_, w}} -> w end) |> Enum.sum()
      are = Enum.sum(stayed)
      error = stayed |> Enum.map(&(&1 * (&1 - 1))) |> Enum.sum() |> max(0.0) |> :math.sqrt()

      if were - are > 3 * error,
        do: min(missing, round(map_size(cohort) * (1 - are / were))),
        else: 0
    else
      missing
    end
  end

  # How many of those that are there were born in each third of the window.
  defp births(last, begin, now) do
    third = max(now - begin, 1) / 3

    Enum.reduce(last, {0, 0, 0}, fn {{_, born}, _}, {a, b, c} ->
      cond do
        born <= begin -> {a, b, c}
        born <= begin + third -> {a + 1, b, c}
        born <= begin + 2 * third -> {a, b + 1, c}
        true -> {a, b, c + 1}
      end
    end)
  end

  defp verdict(facts) do
    cond do
      not (facts.growth.bytes > 2 * facts.growth.error) -> :steady
      leak?(facts) -> :leak
      growing?(facts) -> :growing
      true -> :steady
    end
  end

  defp leak?(%{new: {a, b, c}, old: {old, gone}} = facts) do
    a > 0 and b > 0 and c > 0 and a + b + c >= @least_new and facts.growth.n > 0 and
      (facts.survival >= @survival or (facts.frees == 0 and facts.allocations > 0)) and
      gone <= @old_share * old + 1
  end

  # More at each look than at the one before, or as much, and more in each third.
  defp growing?(%{new: {_, _, c}, bytes: bytes, steps: steps}) do
    n = length(bytes) - 1
    at = fn share -> Enum.at(bytes, round(n * share)) end

    c > 0 and n >= 3 and Enum.all?(steps, &(&1 >= 0)) and at.(0) < at.(1 / 3) and
      at.(1 / 3) < at.(2 / 3) and at.(2 / 3) < at.(1)
  end

  # Whom it was allocated for, most bytes first.
  defp processes_of(chunks) do
    chunks
    |> Enum.reject(&is_nil(&1.pid))
    |> Enum.group_by(& &1.pid, &(&1.size * &1.weight))
    |> Enum.map(fn {pid, bytes} ->
      unknown = %{registered_name: nil, initial_call: nil, current_function: nil, label: nil}
      Map.merge(unknown, %{pid: pid, bytes: bytes |> Enum.sum() |> round()})
    end)
    |> Enum.sort_by(&(-&1.bytes))
    |> Enum.take(5)
  end
end
