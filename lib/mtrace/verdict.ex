defmodule Mtrace.Verdict do
  # What leaks, told from looks at one node: snapshots of one run, in the order of time. How a verdict is
  # found stands at Mtrace.leaks/1, for users.
  @moduledoc false

  alias Mtrace.{Estimate, Growth, Leak, Selection, Snapshot}

  @least_new 3
  @gone_share 0.1
  @slowing 5
  @chance 3

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
        %{leak(site, path, times, thinned) | processes: processes_of(came)}
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
    {begin, now} = {hd(times), List.last(times)}
    window_ms = max(div(now - begin, 1_000_000), 1)
    growth = difference(hd(path), List.last(path))
    stays = what_stays(path, times, thinned)
    {allocations, frees} = first_part(path, times, thinned)
    verdict = verdict(stays, growth, path)

    # What stays was born in two thirds of the window.
    rate =
      if stays?(stays),
        do: %{bytes: stays.bytes * 1.5, error: stays.error * 1.5},
        else: growth

    %Leak{
      verdict: verdict,
      site: site,
      culprit: site.culprit,
      caller: site.caller,
      growth: round(growth.n),
      growth_bytes: round(growth.bytes),
      growth_bytes_error: growth.error,
      bytes_per_minute: round(rate.bytes * 60_000 / window_ms),
      bytes_per_minute_error: ceil(rate.error * 60_000 / window_ms),
      allocations: allocations,
      frees: frees,
      survival: 1 - (frees + 1) / (allocations + 2),
      window_ms: window_ms
    }
  end

  # What is in both with the same weight adds nothing to the error.
  defp difference(first, last) do
    came = for {id, chunk} <- last, first[id] != chunk, do: chunk
    gone = for {id, chunk} <- first, not is_map_key(last, id), do: chunk
    changed = for {id, chunk} <- last, was = first[id], was != chunk, do: was

    %{
      n: count(came) - count(gone) - count(changed),
      bytes: bytes(came) - bytes(gone) - bytes(changed),
      error: Estimate.error(variance(came) + variance(gone))
    }
  end

  defp count(chunks), do: chunks |> Enum.map(fn {_, w} -> w end) |> Enum.sum()
  defp square(chunks), do: chunks |> Enum.map(fn {_, w} -> w * w end) |> Enum.sum()
  defp bytes(chunks), do: chunks |> Enum.map(fn {size, w} -> size * w end) |> Enum.sum()

  defp variance(chunks),
    do: chunks |> Enum.map(fn {s, w} -> w * (w - 1) * s * s end) |> Enum.sum()

  # Chunks that have lived for a third of the window, or more: how many of the window's own are there,
  # by the third that they were born in, and how many of all that there were are gone.
  defp what_stays(path, times, thinned) do
    {begin, now} = {hd(times), List.last(times)}
    last = List.last(path)
    third = div(now - begin, 3)
    early = born(last, begin, begin + third)
    middle = born(last, begin + third, begin + 2 * third)
    own = Map.values(early) ++ Map.values(middle)

    grown = for {row, at} <- Enum.zip(path, times), do: born(row, at - third)
    gone = gone(grown, path, thinned)

    %{
      came: count(own),
      early: map_size(early),
      middle: map_size(middle),
      late: map_size(last |> born(begin + 2 * third, now)),
      gone: gone.n,
      square: square(own) + gone.square,
      own_bytes: bytes(own),
      gone_bytes: gone.bytes,
      bytes: bytes(own) - gone.bytes,
      error: Estimate.error(variance(own) + gone.variance)
    }
  end

  defp born(row, until), do: :maps.filter(fn {_, at}, _ -> at <= until end, row)

  defp born(row, from, until) do
    :maps.filter(fn {_, at}, _ -> at > from and at <= until end, row)
  end

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

    followed = path |> Enum.drop(i) |> Enum.map(&Map.take(&1, Map.keys(cohort)))
    gone = gone(followed, followed, Enum.drop(thinned, i))
    n = map_size(cohort)
    were = cohort |> Map.values() |> count()
    {n, if(were > 0, do: min(n, round(n * gone.n / were)), else: 0)}
  end

  # What goes from one look to the next of the chunks that are followed, over all looks: how many, their
  # bytes, their variance, and the sum of their weights' squares. Where the table was not thinned in
  # between, what is missing is gone. Where it was, those that stayed stand for those that were taken out,
  # too: what they do not account for by more than chance is gone.
  defp gone(followed, path, thinned) do
    steps = Enum.zip([followed, tl(path), thinned, tl(thinned)])
    {sure, doubtful} = Enum.split_with(steps, fn {_, _, before, now} -> before == now end)

    missing =
      for {row, next, _, _} <- sure, {id, chunk} <- row, not is_map_key(next, id), do: chunk

    lost = for {row, next, _, _} <- doubtful, do: lost(row, next)
    [n, bytes, variance] = lost |> Enum.zip_with(&Enum.sum/1) |> default([0, 0, 0])
    counts? = bytes > @chance * :math.sqrt(max(variance, 0))

    %{
      n: count(missing) + if(counts?, do: n, else: 0),
      bytes: bytes(missing) + if(counts?, do: bytes, else: 0),
      variance: variance(missing) + variance,
      square: square(missing) + if(counts?, do: n, else: 0)
    }
  end

  defp default([], default), do: default
  defp default(sums, _default), do: sums

  # Chunks, bytes, and the variance of these that thinning brings: w²x²(1/r - 1), where r is the share of
  # those that it left, 1/2 if that cannot be told.
  defp lost(row, next) do
    stayed = for {id, {size, was}} <- row, now = next[id], do: {size, was, elem(now, 1)}
    now = for {size, _, w} <- stayed, do: {size, w}
    was = for {size, w, _} <- stayed, do: {size, w}
    before = Map.values(row)
    left = if was == [], do: 0.5, else: min(count(was) / count(now), 1.0)
    squares = for {size, w} <- before, do: w * w * size * size

    [
      count(before) - count(now),
      bytes(before) - bytes(now),
      Enum.sum(squares) * (1 / left - 1)
    ]
  end

  defp verdict(stays, growth, path) do
    cond do
      stays?(stays) and stays.gone_bytes <= @gone_share * stays.own_bytes -> :leak
      stays?(stays) and more_than_chance?(stays) -> :growing
      stays.late > 0 and growth.bytes > 0 and (rises?(path) or stretches?(path)) -> :growing
      true -> :steady
    end
  end

  # Something of each third, and no less of the second than of the first but for some slowing down.
  defp stays?(%{early: early, middle: middle, late: late} = stays) do
    early > 0 and middle > 0 and late > 0 and early + middle + late >= @least_new and
      middle * @slowing >= early and stays.bytes > stays.error
  end

  # As many as go may come by chance: both are numbers of independent events.
  defp more_than_chance?(stays) do
    stays.came - stays.gone > @chance * :math.sqrt(stays.square)
  end

  # As much at each look as at the one before, or more; and after each third more than chance explains.
  defp rises?(path) do
    n = length(path) - 1
    steps = path |> Enum.zip(tl(path)) |> Enum.map(fn {a, b} -> difference(a, b) end)
    [a, b, c, d] = Enum.map([0, 1 / 3, 2 / 3, 1], &Enum.at(path, round(n * &1)))
    thirds = [difference(a, b), difference(b, c), difference(c, d)]

    n >= 3 and Enum.all?(steps, &(&1.bytes >= 0)) and
      Enum.all?(thirds, &(&1.bytes > 2 * &1.error and &1.bytes > 0))
  end

  # One chunk that is given more room again and again: at each look where it is recorded it is as large
  # as before, or larger, and larger in each third.
  defp stretches?(path) do
    sizes = for row <- path, map_size(row) == 1, {size, _} <- Map.values(row), do: size
    n = length(sizes) - 1
    [a, b, c, d] = Enum.map([0, 1 / 3, 2 / 3, 1], &Enum.at(sizes, round(n * &1)))

    n >= 5 and 2 * n >= length(path) and Enum.all?(path, &(map_size(&1) <= 1)) and
      map_size(List.last(path)) == 1 and sizes == Enum.sort(sizes) and a < b and b < c and c < d
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
