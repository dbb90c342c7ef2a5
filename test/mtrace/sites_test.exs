defmodule Mtrace.SitesTest do
  # Sums over sites: by what, of what, in which order. The snapshots are made by hand.
  use ExUnit.Case, async: true
  import Mtrace.Test.Looks

  @moduletag :plain

  defp example do
    other = [frame("other", library: "/srv/pay-2.0.0/priv/pay.so", app: {:pay, "2.0.0"})]

    snapshot(
      [
        chunk("parse", 1, 1, size: 1000, weight: 4.0, pid: :c.pid(0, 1, 0)),
        chunk("parse", 2, 6, size: 1000, weight: 1.0, pid: :c.pid(0, 2, 0)),
        chunk("parse", 3, 9, size: 1000, weight: 1.0, pid: :c.pid(0, 2, 0)),
        chunk("read", 4, 9, size: 500, allocator: :enif, caller: {:shop_nif, :read, 2}),
        chunk("other", 5, 2, size: 5000, stack: other, caller: :thread)
      ],
      10
    )
  end

  defp keys(groups), do: Enum.map(groups, & &1.key)

  test "each way to group sums up live memory, with its error, and ages" do
    assert [first, second] = Mtrace.sites(example(), by: :app)
    assert {first.key, first.live, first.live_bytes} == {{:shop, "1.2.0"}, 7, 6500}
    assert {second.key, second.live, second.live_bytes} == {{:pay, "2.0.0"}, 1, 5000}

    # sqrt(4 * 3 * 1000²), rounded up
    assert {first.live_error, first.live_bytes_error, second.live_error} == {4, 3465, 0}
    assert {first.recorded, first.sites, first.culprit.symbol} == {4, 2, "parse"}

    # Weights 4, 1, 1, 1 at 9000, 4000, 1000 and 1000 ms: half of the 7 are as old as the oldest.
    assert {first.youngest_ms, first.median_ms, first.oldest_ms} == {1000, 9000, 9000}
    assert {first.allocated, first.allocated_bytes, first.freed} == {14, 13_000, 7}

    assert keys(Mtrace.sites(example(), by: :function)) ==
             [{"shop.so", "parse"}, {"pay.so", "other"}, {"shop.so", "read"}]

    assert keys(Mtrace.sites(example(), by: :library)) ==
             ["/srv/shop-1.2.0/priv/shop.so", "/srv/pay-2.0.0/priv/pay.so"]

    assert keys(Mtrace.sites(example(), by: :caller)) ==
             [{:shop_nif, :parse, 1}, :thread, {:shop_nif, :read, 2}]

    assert keys(Mtrace.sites(example(), by: :allocator)) == [:malloc, :enif]
    assert [%{key: %{id: 7}, live: 8}] = Mtrace.sites(example(), by: :thread)
  end

  test "where nobody is to blame, groups are named as the sites are" do
    emulator = [
      %Mtrace.Frame{
        address: 1,
        library: "/opt/mtrace.so",
        symbol: "malloc",
        app: {:mtrace, "1"}
      },
      frame("erts_alloc", library: "/opt/beam.smp", app: nil)
    ]

    s = snapshot([chunk("x", 1, 1, stack: emulator, caller: nil)], 2)
    assert [%{key: {"beam.smp", "erts_alloc"}}] = Mtrace.sites(s, by: :function)
    assert [%{key: "/opt/beam.smp"}] = Mtrace.sites(s, by: :library)
    assert [%{key: nil} = group] = Mtrace.sites(s, by: :app)
    assert inspect(group) =~ "the emulator and C's libraries: 100 B"
    assert [_] = Mtrace.sites(s, filter: [function: "erts_alloc"])
  end

  test "a thread is one, whatever it was when it allocated" do
    other = %{id: 7, name: "1_scheduler", kind: :other}
    s = snapshot([chunk("x", 1, 1), chunk("x", 2, 1, thread: other)], 2)
    assert [%{live: 2}] = Mtrace.sites(s, by: :thread)
  end

  test "by process only what is live is known" do
    assert [none, one, two] =
             Mtrace.sites(example(), by: :pid) |> Enum.sort_by(&inspect(&1.key), :desc)

    assert {none.key, none.live_bytes, none.allocated} == {nil, 5500, nil}
    assert {two.key, two.live_bytes, two.peak_bytes} == {:c.pid(0, 1, 0), 4000, nil}
    assert {one.key, one.live, one.sites} == {:c.pid(0, 2, 0), 2, 1}
  end

  test "they are sorted by any field, and cut" do
    by = &keys(Mtrace.sites(example(), by: :function, sort: &1))
    assert hd(by.(:live_bytes)) == {"shop.so", "parse"}
    assert by.(:live) == [{"shop.so", "parse"}, {"pay.so", "other"}, {"shop.so", "read"}]
    assert List.last(by.(:youngest_ms)) in [{"shop.so", "read"}, {"shop.so", "parse"}]
    assert [%{live_bytes: 6000}] = Mtrace.sites(example(), top: 1)
    assert length(Mtrace.sites(example(), top: :all)) == 3
  end

  test "a filter picks sites, or chunks" do
    count = fn filter ->
      example() |> Mtrace.sites(filter: filter) |> Enum.map(& &1.recorded)
    end

    assert count.(app: :shop) == [3, 1]
    assert count.(app: :shop, allocator: :enif) == [1]
    assert count.(caller: {:shop_nif, :_, :_}) == [3, 1]
    assert count.(caller: {:shop_nif, :read, 2}) == [1]
    assert count.(caller: :shop_nif) == [3, 1]
    assert count.(caller: :thread) == [1]
    assert count.(caller: {:shop_nif, :read}) == [1]
    assert count.(caller: Function.capture(:shop_nif, :read, 2)) == [1]
    assert count.(app: "shop") == [3, 1]
    assert count.(function: "^par*e$") == [3]
    assert count.(function: "ar") == [3]
    assert count.(library: ~r/pay\.so$/) == [1]
    assert count.(library: ["pay.so", "nothing"]) == [1]
    assert count.(min_age_ms: 4000) == [2, 1]
    assert count.(max_age_ms: 1000) == [1, 1]
    assert count.(pid: :c.pid(0, 2, 0)) == [2]
    assert count.(thread: 7) == [3, 1, 1]
    assert count.(thread: "1_scheduler", allocator: :enif) == [1]
    assert count.(&(&1.live == 1)) == [1, 1]

    # What was allocated in all is not known of a part of a site.
    assert [%{live: 2, live_bytes: 2000, allocated: nil, freed_bytes: nil, peak_bytes: nil}] =
             Mtrace.sites(example(), filter: [pid: :c.pid(0, 2, 0)])

    assert [%{allocated: nil}] =
             Mtrace.sites(example(), by: :app, filter: [pid: :c.pid(0, 2, 0)])
  end

  @tag :tmp_dir
  test "what is ignored is left out, by patterns or a file of them", %{tmp_dir: dir} do
    rest = fn ignore -> example() |> Mtrace.sites(by: :function, ignore: ignore) |> keys() end
    assert rest.("parse") == [{"pay.so", "other"}]
    assert rest.(["^read$", ~r/^oth/]) == [{"shop.so", "parse"}]
    assert rest.("shop.c") == []
    assert length(rest.([])) == 3

    file = Path.join(dir, "known.supp")
    File.write!(file, "# known\r\n\nleak:^other$\nread\n")
    assert rest.({:file, file}) == [{"shop.so", "parse"}]

    assert_raise ArgumentError, ~r/no such file/, fn ->
      rest.({:file, Path.join(dir, "none")})
    end
  end

  test "names of any bytes can be looked for" do
    s = snapshot([chunk("\xff\xfe(.*", 1, 1)], 2)
    assert [_] = Mtrace.sites(s, filter: [function: "\xfe(.*"])
    assert [_] = Mtrace.sites(s, filter: [function: "^\xff*(.\*$"])
    assert [] = Mtrace.sites(s, filter: [function: "(.*a"])
    assert inspect(hd(Mtrace.sites(s, by: :function))) =~ "??(.* in shop.so"
  end

  test "what cannot be used is refused with a sentence" do
    for {options, text} <- [
          {[by: :nonsense], "by"},
          {[sort: :name], "sort"},
          {[top: 0], "top"},
          {[top: -1], "top"},
          {[filter: [colour: :red]], "filter"},
          {[filter: 7], "filter"},
          {[filter: [min_age_ms: "old"]], "min_age_ms"},
          {[filter: [function: 7]], "pattern"},
          {[filter: [allocator: :mallok]], ":malloc"},
          {[filter: [thread: :scheduler]], ":dirty_cpu"},
          {[filter: [pid: :no_such_process]], "registered"},
          {[filter: [caller: "shop"]], "module"},
          {[filter: [caller: {:shop_nif, :read, :all}]], "module"},
          {[ignore: 7], "ignore"},
          {[ignore: [7]], "pattern"},
          {[ignore: ""], "pattern"},
          {[colour: :red], "colour"},
          {:nonsense, "keyword list"},
          {[1, 2], "keyword list"}
        ] do
      error = assert_raise ArgumentError, fn -> Mtrace.sites(example(), options) end
      assert error.message =~ text
    end

    assert_raise ArgumentError, ~r/two snapshots/, fn -> Mtrace.diff(1, example()) end

    assert_raise ArgumentError, ~r/sort/, fn ->
      Mtrace.diff(example(), example(), sort: :live)
    end
  end

  test "a difference shows what grew, shrank, came and went, and nothing else" do
    old =
      snapshot(
        [chunk("a", 1, 1), chunk("b", 2, 1), chunk("same", 3, 1), chunk("gone", 4, 1)],
        10
      )

    new =
      snapshot(
        [chunk("a", 1, 1), chunk("a", 5, 11), chunk("a", 6, 12), chunk("b", 7, 13, size: 40)] ++
          [chunk("same", 3, 1), chunk("new", 8, 15)],
        20
      )

    rows =
      for g <- Mtrace.diff(old, new, by: :function),
          do: {elem(g.key, 1), g.growth, g.growth_bytes}

    assert rows == [{"a", 2, 200}, {"new", 1, 100}, {"b", 0, -60}, {"gone", -1, -100}]
    assert [%{key: %Mtrace.Site{}, before: 1, live: 3}] = Mtrace.diff(old, new, top: 1)

    assert [%{key: {:shop, "1.2.0"}, growth: 2, before_bytes: 400}] =
             Mtrace.diff(old, new, by: :app)

    assert Mtrace.diff(old, old) == []

    assert inspect(hd(Mtrace.diff(old, new))) =~
             "#Mtrace.Growth<+200 B, 1 to 3 chunks: a at shop.c:10"
  end

  test "what stayed adds nothing to the error of a difference, but in another run it does" do
    chunks = for i <- 1..10, do: chunk("a", i, 1, weight: 5.0)
    old = snapshot(chunks, 10)
    new = snapshot([chunk("a", 99, 11, weight: 2.0) | chunks], 20)
    assert [%{growth: 2, growth_error: 2, growth_bytes_error: 142}] = Mtrace.diff(old, new)
    # sqrt(15² + 15²), where 15 is sqrt(10 * 20) and sqrt(10 * 20 + 2), rounded up
    assert [%{growth: 2, growth_error: 22}] = Mtrace.diff(old, %{new | run: 2})
  end

  test "stacks of two runs are the same where their names are, whatever the addresses" do
    move = fn chunk ->
      %{chunk | stack: Enum.map(chunk.stack, &%{&1 | address: &1.address + 4096})}
    end

    old = snapshot([chunk("a", 1, 1)], 10)
    new = snapshot([move.(chunk("a", 2, 1))], 10, run: 2)
    assert Mtrace.diff(old, new) == []
    assert [_, _] = Mtrace.diff(old, snapshot([chunk("b", 2, 1)], 10, run: 2))
  end
end
