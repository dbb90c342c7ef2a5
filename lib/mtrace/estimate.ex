defmodule Mtrace.Estimate do
  # What recorded chunks say of all chunks: the estimator of Horvitz and Thompson. Each counts by its
  # weight w, the inverse of the probability p with which it was recorded; the variance of a sum of x
  # is estimated by that of w(w - 1)x².
  @moduledoc false

  @doc "The fields that sites and groups have in common."
  def live(chunks) do
    {n, live, variance, bytes, bytes_variance} =
      Enum.reduce(chunks, {0, 0.0, 0.0, 0.0, 0.0}, &add/2)

    {youngest, median, oldest} = ages(chunks)

    %{
      recorded: n,
      live: round(live),
      live_error: error(variance),
      live_bytes: round(bytes),
      live_bytes_error: error(bytes_variance),
      youngest_ms: youngest,
      median_ms: median,
      oldest_ms: oldest
    }
  end

  defp add(%{weight: w, size: size}, {n, live, variance, bytes, bytes_variance}) do
    spread = w * (w - 1)

    {n + 1, live + w, variance + spread, bytes + w * size,
     bytes_variance + spread * size * size}
  end

  @doc "The standard error of a sum with this variance, rounded up."
  def error(variance), do: variance |> max(0.0) |> :math.sqrt() |> ceil()

  # Half of what they stand for is younger than the median, half is older.
  defp ages([]), do: {nil, nil, nil}

  defp ages(chunks) do
    sorted = chunks |> Enum.map(&{&1.age_ms, &1.weight}) |> Enum.sort()
    half = (sorted |> Enum.map(&elem(&1, 1)) |> Enum.sum()) / 2
    {youngest, _} = hd(sorted)
    {oldest, _} = List.last(sorted)
    {youngest, median(sorted, half), oldest}
  end

  defp median([{age, _}], _half), do: age
  defp median([{age, weight} | _], half) when weight >= half, do: age
  defp median([{_, weight} | older], half), do: median(older, half - weight)

  @doc """
  Of two lists of chunks of one run, what is in the first only and in the second only. A chunk is known
  by its address and birth. One that stands for more than before, as the table was thinned meanwhile,
  is in the second.
  """
  def unshared(old, new) do
    before = Map.new(old, &{{&1.address, &1.born_ns}, &1})
    now = MapSet.new(new, &{&1.address, &1.born_ns})

    [
      Enum.reject(old, &MapSet.member?(now, {&1.address, &1.born_ns})),
      Enum.reject(
        new,
        &match?(%{weight: w} when w == &1.weight, before[{&1.address, &1.born_ns}])
      )
    ]
  end
end
