# The workloads of test/corpus do what they say. They are driven by steps: nothing depends on time.
defmodule Mtrace.CorpusTest do
  use ExUnit.Case
  @moduletag :preloaded

  corpus = Path.expand("../corpus", __DIR__)
  {_, 0} = System.cmd("make", ["-s", "-C", corpus])
  Code.require_file("load.exs", corpus)

  alias Mtrace.Corpus.{Command, Driver, Judge, Native, Page, Workload}
  alias Mtrace.{Frame, Leak, Site}

  @seed :rand.uniform(1_000_000)

  setup_all do
    IO.puts("corpus: seed #{@seed}")
  end

  setup do
    Mtrace.configure(interval: 0)
    on_exit(fn -> Mtrace.configure(interval: :adaptive) end)
  end

  defp book(workload), do: Map.new(workload.sites, &{&1, Native.book(&1)})

  defp since(book, before) do
    Map.new(book, fn {site, {chunks, bytes}} ->
      {chunks_before, bytes_before} = before[site]
      {site, {chunks - chunks_before, bytes - bytes_before}}
    end)
  end

  # What is recorded of each of the workload's sites, as the book has it: the chunks themselves,
  # because estimates count a little more for the sets of the table that are full.
  defp found(workload) do
    chunks = Mtrace.snapshot().chunks

    for name <- workload.sites, into: %{} do
      here = Enum.filter(chunks, fn chunk -> Enum.any?(chunk.stack, &at?(&1, name)) end)
      {name, {length(here), sum(here, & &1.size)}}
    end
  end

  # Where a large cache finds a set of the table full, what is missing was counted as ignored.
  defp agree(workload, before) do
    eventually(fn ->
      found = found(workload)
      book = since(book(workload), before)
      missing = Enum.sum(for {site, {chunks, _}} <- book, do: chunks - elem(found[site], 0))
      ignored = Mtrace.status().coverage.ignored
      {found, if(ignored > 0 and missing in 0..ignored, do: found, else: book)}
    end)
  end

  defp at?(frame, name) do
    frame.library == Native.library() and frame.symbol == Atom.to_string(name)
  end

  defp sum(items, f), do: items |> Enum.map(f) |> Enum.sum()

  # Destructors of a process' resources may run a moment after its end.
  defp eventually(f, tries \\ 200) do
    {a, b} = f.()

    if a == b or tries == 0 do
      assert a == b
    else
      Process.sleep(10)
      eventually(f, tries - 1)
    end
  end

  for workload <- Workload.all() do
    @name workload.name
    test "#{@name} allocates at its sites what it says, and frees what it must" do
      workload = Enum.find(Workload.all(), &(&1.name == @name))
      before = book(workload)
      Mtrace.reset()
      driver = Driver.start(workload, @seed)
      Driver.steps(driver, 300)
      agree(workload, before)

      Driver.stop(driver)
      agree(workload, before)

      eventually(fn ->
        held = since(book(workload), before)

        {Map.drop(held, workload.leaks),
         Map.new(workload.sites -- workload.leaks, &{&1, {0, 0}})}
      end)
    end

    test "#{@name} is labelled as it behaves" do
      workload = Enum.find(Workload.all(), &(&1.name == @name))
      driver = Driver.start(workload, @seed)
      [first, second, third, fourth] = for _ <- 1..4, do: minute(driver, workload)
      Driver.stop(driver)

      for site <- workload.sites do
        [was, is] = for half <- [first ++ second, third ++ fourth], do: mean(half, site)

        if site in workload.leaks do
          start = hd(first)[site]
          assert is - was > (was - start) * 0.5, "#{site} does not grow all the time"
          assert increases(fourth, site) >= 9, "#{site} leaks too seldom for a window of 30 s"
        else
          # a queue may be long for a while, early or late
          most = Enum.max(for second <- first ++ second, do: second[site])

          assert is <= max(was * 1.5, most),
                 "#{site} grows: #{round(was)} bytes, then #{round(is)}"
        end
      end
    end
  end

  # The bytes of each site, by the book, at every second of a minute.
  defp minute(driver, workload) do
    for _ <- 1..60 do
      Driver.steps(driver, workload.rate)
      Map.new(book(workload), fn {site, {_, bytes}} -> {site, bytes} end)
    end
  end

  defp mean(seconds, site), do: sum(seconds, & &1[site]) / length(seconds)

  defp increases(seconds, site) do
    seconds
    |> Enum.chunk_every(2, 1, :discard)
    |> Enum.count(fn [a, b] -> b[site] > a[site] end)
  end

  test "each site belongs to one workload, and what leaks is a site of a leaking one" do
    sites = Enum.flat_map(Workload.all(), & &1.sites)
    assert Enum.sort(sites) == Enum.sort(Native.sites())

    for workload <- Workload.all() do
      assert workload.leaks -- workload.sites == []
      assert workload.leaks != [] == (workload.label == :leaking)
    end
  end

  test "there are at least 14 workloads of either label, of different names" do
    labels = Enum.frequencies_by(Workload.all(), & &1.label)
    assert labels.leaking >= 14 and labels.healthy >= 14
    names = Enum.map(Workload.all(), & &1.name)
    assert names == Enum.uniq(names)
  end

  test "the same seed makes the same steps" do
    for %{begins: :before} = workload <- Workload.all(), site <- workload.sites do
      [one, other] =
        for _ <- 1..2 do
          {chunks, bytes} = Native.book(site)
          driver = Driver.start(%{workload | stop: fn _ -> :ok end}, @seed)
          Driver.steps(driver, 50)
          {chunks_now, bytes_now} = Native.book(site)
          Driver.stop(driver)
          {chunks_now - chunks, bytes_now - bytes}
        end

      assert one == other, "#{workload.name}"
    end
  end

  describe "the judge" do
    # A verdict on a site whose stack has this function of this library.
    defp leak(verdict, function, library \\ Native.library()) do
      frames = [
        %Frame{address: 1, library: "/lib/libc.so.6", symbol: "strdup"},
        %Frame{address: 2, library: library, symbol: function}
      ]

      %Leak{verdict: verdict, site: %Site{stack: frames}}
    end

    defp judged(leaks, names) do
      workloads = Enum.filter(Workload.all(), &(&1.name in names))
      outcome = Judge.outcome(leaks, workloads, Mtrace.status().coverage)
      {outcome, Judge.figures([outcome], workloads), workloads}
    end

    test "finds a leak by :leak or :growing at any of its sites, the stronger counts" do
      leaks = [
        leak(:steady, "call_leak"),
        leak(:growing, "call_leak"),
        leak(:steady, "kept_cursor"),
        leak(:leak, "kept_cursor_rows")
      ]

      {outcome, figures, _} = judged(leaks, [:each_call, :resources_kept])
      assert outcome.verdicts == %{each_call: :growing, resources_kept: :leak}
      assert %{recall: 1.0, precision: 1.0, as_leak: 1, as_growing: 1} = figures
      assert Judge.good?(figures)
    end

    test "misses a leak that is steady, and one that was not seen" do
      {outcome, figures, _} = judged([leak(:steady, "slow_leak")], [:slow, :bursts])
      assert outcome.verdicts == %{slow: :steady, bursts: nil}
      assert %{recall: recall, found: 0, leaking: 2} = figures
      assert recall == 0
      refute Judge.good?(figures)
    end

    test "counts alarms at healthy workloads, beside a leak, and in other libraries as false" do
      leaks = [
        leak(:growing, "kept_entry"),
        leak(:leak, "busy_work"),
        leak(:leak, "busy_leak"),
        leak(:steady, "other_steady", "/lib/other.so"),
        leak(:growing, "other", "/lib/other.so"),
        leak(:leak, "other", "/lib/other.so"),
        leak(:leak, "kept_entry", "/lib/its_namesake.so")
      ]

      {outcome, figures, _} = judged(leaks, [:cache_kept, :names, :under_churn])

      assert Enum.sort(outcome.false_alarms) == [
               {:elsewhere, "kept_entry in its_namesake.so", :leak},
               {:elsewhere, "other in other.so", :leak},
               {:site, "busy_work of under_churn", :leak},
               {:workload, "cache_kept", :growing}
             ]

      assert %{recall: 1.0, precision: 0.2, false_alarm_rate: 2.0} = figures
      refute Judge.good?(figures)
    end

    test "a page shows what was missed and what was wrong in bold" do
      leaks = [leak(:growing, "kept_entry"), leak(:leak, "other", "/lib/other.so")]
      {outcome, _, workloads} = judged(leaks, [:cache_kept, :names, :slow])

      page =
        Page.text(%{
          command: "bin/corpus --seed 7",
          seed: 7,
          window_s: 30,
          alone: false,
          workloads: workloads,
          outcomes: [outcome, outcome]
        })

      assert page =~ ~r/^\| slow .*\| \*\*–\*\* \| \*\*–\*\* \|$/m
      assert page =~ ~r/^\| cache_kept .*\| \*\*growing\*\* \| \*\*growing\*\* \|$/m
      assert page =~ ~r/^\| names .*\| – \| – \|$/m
      assert page =~ "- round 2: `other in other.so`, leak"
      assert page =~ "`bin/corpus --seed 7`"
    end
  end

  test "arguments that are not known end with 2, and nothing runs" do
    for arguments <- [["--windows", "3"], ["--window", "0"], ["--only", "none"], ["x"]] do
      output =
        ExUnit.CaptureIO.capture_io(:stderr, fn ->
          assert Command.main(arguments, fn _ -> flunk("it ran") end) == 2
        end)

      assert output =~ ~r/^corpus: /
    end
  end
end
