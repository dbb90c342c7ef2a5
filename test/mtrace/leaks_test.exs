defmodule Mtrace.LeaksTest do
  # Verdicts, from looks that are made by hand: each scenario says which chunks are alive at a time.
  use ExUnit.Case, async: true
  import Mtrace.Test.Looks

  @moduletag :plain

  # Looks every 2.5 s from 0 to 30 s; `alive` gives the chunks at a time.
  defp verdict(alive, options \\ []) do
    times = Keyword.get(options, :times, for(i <- 0..12, do: i * 2.5))
    coverage = Keyword.get(options, :coverage, fn _ -> %{} end)
    looks = for t <- times, do: snapshot(alive.(t), t, coverage: coverage.(t))
    {until, since} = List.pop_at(looks, -1)

    case Mtrace.leaks(since: since, until: until, steady: true, progress: false) do
      [leak] -> leak
      [] -> %{verdict: :steady}
      leaks when is_list(leaks) -> leaks
      error -> error
    end
  end

  # Chunks that are born every `pause` seconds from `from` on, and live for `life` seconds.
  defp stream(t, pause, options \\ []) do
    from = Keyword.get(options, :from, -10)
    until = Keyword.get(options, :until, 1000)
    life = Keyword.get(options, :life, 1000)
    name = Keyword.get(options, :name, "leak")

    for i <- 0..2000,
        born = from + i * pause + 0.001,
        born <= min(t, until),
        born + life > t,
        do: chunk(name, 4096 + i, born, Keyword.take(options, [:size, :weight, :pid]))
  end

  test "what is allocated all the time and never freed is a leak, with its rate" do
    leak = verdict(&stream(&1, 0.5))
    assert leak.verdict == :leak
    assert {leak.growth, leak.growth_bytes, leak.growth_bytes_error} == {60, 6000, 0}
    assert {leak.bytes_per_minute, leak.window_ms} == {12_000, 30_000}
    assert {leak.allocations, leak.frees} == {20, 0}
    assert_in_delta leak.survival, 1 - 1 / 22, 1.0e-9
    assert leak.culprit.symbol == "leak" and leak.caller == {:shop_nif, :parse, 1}
  end

  test "a leak that shows three times, once in each third, is one; one that shows twice may be" do
    assert verdict(&stream(&1, 9, from: 2)).verdict == :leak
    assert verdict(&stream(&1, 12, from: 2, until: 20)).verdict == :steady
  end

  test "what is freed after a while is steady, whenever that is" do
    for life <- [0.3, 2, 5, 9, 14, 20, 29] do
      assert verdict(&stream(&1, 0.5, life: life, from: -100)).verdict == :steady
    end
  end

  test "what is freed all at once, again and again, is steady" do
    for period <- [3, 7, 11, 13], phase <- 0..(period - 1) do
      sawtooth = fn t ->
        flushed = Enum.max(for k <- -3..12, k * period + phase <= t, do: k * period + phase)
        Enum.filter(stream(t, 0.25), &(&1.born_ns / 1.0e9 > flushed))
      end

      assert verdict(sawtooth).verdict == :steady, "period #{period}, phase #{phase}"
    end
  end

  test "growth that stops is steady" do
    assert verdict(&stream(&1, 0.1, until: 8)).verdict == :steady
    assert verdict(&stream(&1, 0.1, until: 18)).verdict == :steady
    assert verdict(&stream(&1, 0.1, until: -1)).verdict == :steady
  end

  test "a full cache that replaces its oldest entries is steady" do
    assert verdict(fn t -> stream(t, 0.2, from: -200) |> Enum.take(-50) end).verdict == :steady
  end

  test "a buffer that grows by realloc grows" do
    buffer = fn t ->
      n = floor(t / 2)
      [chunk("leak", 4096 * n, n * 2, size: 1000 + 500 * n)]
    end

    assert verdict(buffer).verdict == :growing
  end

  test "a leak among chunks that come and go grows" do
    leak = verdict(&(stream(&1, 1) ++ stream(&1, 0.02, life: 0.1)))
    assert leak.verdict in [:leak, :growing]
  end

  test "a site that keeps most and frees some of what is old grows, and is no certain leak" do
    some_go = &(stream(&1, 0.5) ++ stream(&1, 4, life: 15, from: -100))
    assert verdict(some_go).verdict == :growing
  end

  test "a leak of which few chunks are recorded is one all the same, if they stay" do
    few = &stream(&1, 9, from: 2, weight: 1000.0)
    leak = verdict(few)
    assert {leak.verdict, leak.growth} == {:leak, 4000}
    assert leak.growth_bytes_error > 100_000
    assert verdict(&stream(&1, 9, from: 2, life: 15, weight: 1000.0)).verdict == :steady
    assert verdict(&stream(&1, 0.5, weight: 3.0)).verdict == :leak
  end

  test "thinning is not taken for frees" do
    seed = System.unique_integer([:positive])
    IO.puts("seed #{seed}")

    # At 12 s each chunk stays with probability 1/2, and stands for two then.
    thinned = fn t ->
      for c <- stream(t, 0.05), t < 12 or c.born_ns > 12.0e9 or kept?(c, seed) do
        if t >= 12 and c.born_ns <= 12.0e9, do: %{c | weight: 2.0}, else: c
      end
    end

    coverage = &%{thinned: if(&1 < 12, do: 0, else: 200)}
    assert verdict(thinned, coverage: coverage).verdict == :leak
  end

  test "nor is it where few chunks are left to tell by" do
    for seed <- 1..20 do
      thinned = fn t ->
        for c <- stream(t, 1), t < 12 or c.born_ns > 12.0e9 or kept?(c, seed) do
          if t >= 12 and c.born_ns <= 12.0e9, do: %{c | weight: 2.0}, else: c
        end
      end

      coverage = &%{thinned: if(&1 < 12, do: 0, else: 10)}
      assert verdict(thinned, coverage: coverage).verdict == :leak, "seed #{seed}"
    end
  end

  defp kept?(chunk, seed), do: rem(:erlang.phash2({chunk.address, seed}), 2) == 0

  test "with one mark what grew while nothing went is a leak, and what may have come and gone steady" do
    assert verdict(&stream(&1, 0.5), times: [0, 30]).verdict == :leak
    assert verdict(&stream(&1, 0.5, life: 14, from: -100), times: [0, 30]).verdict == :steady
    assert verdict(&stream(&1, 0.5, until: 8), times: [0, 30]).verdict == :steady
  end

  test "the processes that it was allocated for come with it" do
    pid = self()
    leak = verdict(&stream(&1, 0.5, pid: pid))
    assert [%{pid: ^pid, bytes: 6000, current_function: {_, _, _}}] = leak.processes
  end

  test "those that leak come first, then by rate, and steady ones only if they are asked for" do
    alive = fn t ->
      stream(t, 0.5, name: "small", size: 10) ++
        stream(t, 0.5, name: "large", size: 10_000) ++
        stream(t, 0.5, name: "cache", until: -1, size: 1_000_000)
    end

    assert for(l <- verdict(alive), do: {l.verdict, l.culprit.symbol}) ==
             [leak: "large", leak: "small", steady: "cache"]

    looks = for t <- [0, 5, 10, 15, 20, 25, 30], do: snapshot(alive.(t), t)
    {until, since} = List.pop_at(looks, -1)
    options = [since: since, until: until, progress: false]
    assert length(Mtrace.leaks(options)) == 2
    assert [%{culprit: %{symbol: "large"}}] = Mtrace.leaks([top: 1] ++ options)
    assert [%{culprit: %{symbol: "small"}}] = Mtrace.leaks([ignore: "large"] ++ options)
    assert [_] = Mtrace.leaks([filter: [function: "small"]] ++ options)
  end

  test "marks that do not go together are refused" do
    [a, b] = for t <- [0, 30], do: snapshot(stream(t, 1), t)

    assert_raise ArgumentError, ~r/one run/, fn ->
      Mtrace.leaks(since: a, until: %{b | run: 2})
    end

    assert_raise ArgumentError, ~r/order/, fn -> Mtrace.leaks(since: b, until: a) end
    assert_raise ArgumentError, ~r/order/, fn -> Mtrace.leaks(since: [a, a], until: b) end
    assert_raise ArgumentError, ~r/since/, fn -> Mtrace.leaks(until: b) end
    assert_raise ArgumentError, ~r/milliseconds from 100/, fn -> Mtrace.leaks(window: 1) end
    assert_raise ArgumentError, ~r/not both/, fn -> Mtrace.leaks(window: 100, since: a) end
    assert_raise ArgumentError, ~r/since/, fn -> Mtrace.leaks(since: []) end
    later = put_in(b.coverage.resets, 1)
    assert Mtrace.leaks(since: a, until: later) == {:error, :reset}
  end

  test "the result is said in a sentence" do
    say = &Mtrace.Leaks.sentence(Enum.map(&1, fn v -> %Mtrace.Leak{verdict: v} end), looks())
    assert say.([:steady]) == "Nothing leaks: no site grew steadily in 30 s."
    assert say.([:leak]) == "After 30 s: 1 site is leaking."
    assert say.([:leak, :leak, :growing]) == "After 30 s: 2 sites are leaking, 1 more growing."
    assert say.([]) =~ "nothing was judged"
    assert say.([:growing]) == "No leak is certain after 30 s; 1 site is growing."
  end

  defp looks, do: for(t <- [0, 30], do: snapshot([], t))
end
