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
    thinning = thinning(looks)
    picked = Selection.pick(last, Keyword.take(options, [:filter, :ignore]))
    largest = picked |> Enum.reverse() |> Map.new(fn {site, _} -> {key(site), site} end)
    members = Enum.group_by(picked, fn {site, _} -> key(site) end, &elem(&1, 1))

    leaks =
      for {key, site} <- largest do
        path = Enum.map(rows, &Map.get(&1, key, %{}))
        came = members[key] |> Enum.concat() |> Enum.filter(&(&1.born_ns > first.taken_ns))
        %{leak(site, path, times, thinning) | processes: processes_of(came)}
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

  # The largest interval that the table may have been thinned to while it was looked at; 0: it was not.
  defp thinning(looks) do
    coverages = Enum.map(looks, & &1.coverage)

    if hd(coverages).thinned == List.last(coverages).thinned,
      do: 0,
      else: 2 * (coverages |> Enum.map(& &1.interval) |> Enum.max() |> max(1024))
  end

  defp leak(site, path, times, thinning) do
    {begin, now} = {hd(times), List.last(times)}
    window_ms = max(div(now - begin, 1_000_000), 1)
    growth = difference(hd(path), List.last(path))
    stays = what_stays(path, times, thinning)
    {allocations, frees} = first_part(path, times, thinning)
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
    count = fn chunks -> chunks |> Enum.map(&elem(&1, 1)) |> Enum.sum() end

    %{
      n: count.(came) - count.(gone) - count.(changed),
      bytes: bytes(came) - bytes(gone) - bytes(changed),
      error: Estimate.error(variance(came) + variance(gone))
    }
  end

  defp bytes(chunks), do: chunks |> Enum.map(fn {size, w} -> size * w end) |> Enum.sum()

  defp variance(chunks),
    do: chunks |> Enum.map(fn {s, w} -> w * (w - 1) * s * s end) |> Enum.sum()

  # Chunks that have lived for a third of the window, or more: how many of the window's own are there,
  # by the third that they were born in, and how many of all that there were are gone.
  defp what_stays(path, times, thinning) do
    {begin, now} = {hd(times), List.last(times)}
    last = List.last(path)
    third = div(now - begin, 3)
    early = born(last, begin, begin + third)
    middle = born(last, begin + third, begin + 2 * third)
    own = Map.values(early) ++ Map.values(middle)

    grown =
      for {row, at} <- path |> Enum.zip(times) |> Enum.drop(-1), reduce: %{} do
        grown -> Map.merge(:maps.filter(fn {_, born}, _ -> born <= at - third end, row), grown)
      end

    {gone, gone_bytes, gone_variance} = gone(grown, last, thinning)

    %{
      early: map_size(early),
      middle: map_size(middle),
      late: map_size(last |> born(begin + 2 * third, now)),
      gone: gone,
      own_bytes: bytes(own),
      gone_bytes: gone_bytes,
      bytes: bytes(own) - gone_bytes,
      error: Estimate.error(variance(own) + gone_variance)
    }
  end

  defp born(row, from, until) do
    :maps.filter(fn {_, at}, _ -> at > from and at <= until end, row)
  end

  # Chunks of the window that were there after its first third, and how many of them are gone. Without a
  # look at that time: those that were there at its beginning, and what is there of that third.
  defp first_part(path, times, thinning) do
    {begin, now} = {hd(times), List.last(times)}
    i = Enum.find_index(times, &(3 * (&1 - begin) >= now - begin))
    i = if i == length(times) - 1, do: 0, else: i
    last = List.last(path)

    cohort =
      if i == 0,
        do: Map.merge(born(last, begin, begin + div(now - begin, 3)), hd(path)),
        else: path |> Enum.at(i) |> born(begin, now)

    {gone, _, _} = gone(cohort, last, thinning)
    {map_size(cohort), gone}
  end

  # How many are gone, their bytes, and the variance of these. Where the table was thinned, a chunk that
  # was so likely to be drawn that it may have been taken out again is missing, not gone: those of its
  # kind that stayed stand for it, and what these do not account for by more than chance is gone.
  defp gone(cohort, last, interval) do
    missing = :maps.without(Map.keys(last), cohort)
    {doubtful, sure} = missing |> Map.values() |> Enum.split_with(&thinnable?(&1, interval))
    stayed = for {id, chunk} <- cohort, now = last[id], thinnable?(chunk, interval), do: now
    lost = bytes(doubtful) + bytes_before(cohort, last, interval) - bytes(stayed)

    if doubtful != [] and lost > @chance * :math.sqrt(variance(stayed)) do
      share = min(lost / bytes(doubtful), 1)
      n = length(sure) + round(length(doubtful) * share)
      {n, bytes(sure) + lost, variance(sure) + variance(stayed)}
    else
      {length(sure), bytes(sure), variance(sure)}
    end
  end

  # What stayed, as it was weighed before.
  defp bytes_before(cohort, last, interval) do
    bytes(for {id, was} <- cohort, is_map_key(last, id), thinnable?(was, interval), do: was)
  end

  # Drawn with a probability above that at this interval; 0: nothing was thinned. The weight also makes
  # up for full sets of the table, of which there are less than a half.
  defp thinnable?(_chunk, 0), do: false

  defp thinnable?({size, weight}, interval),
    do: 2 / weight > 1 - :math.exp(-(size + 1024) / interval)

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
      middle * @slowing >= early and stays.bytes > 2 * stays.error
  end

  # As many as go may come by chance: both numbers are those of independent events.
  defp more_than_chance?(stays) do
    came = stays.early + stays.middle
    came - stays.gone > @chance * :math.sqrt(came + stays.gone)
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
