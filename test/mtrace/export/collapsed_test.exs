defmodule Mtrace.Export.CollapsedTest do
  use ExUnit.Case, async: true
  @moduletag :plain

  import Mtrace.Test.Recorded

  # As flamegraph.pl reads it, but for what it lets pass: [{[name], value}].
  defp parse(text) do
    assert String.valid?(text) and (text == "" or String.ends_with?(text, "\n"))

    for line <- String.split(text, "\n", trim: true) do
      assert [_, stack, value] = Regex.run(~r/^(.*) (\d+)$/u, line)
      refute stack =~ ~r/\s\d+(\.\d*)?$/u
      names = String.split(stack, ";")
      assert Enum.all?(names, &(&1 =~ ~r/^\S(.*\S)?$/u))
      {names, String.to_integer(value)}
    end
  end

  defp total(stacks), do: stacks |> Enum.map(&elem(&1, 1)) |> Enum.sum()

  test "has a line for each stack, outermost first, with Erlang and inlined functions marked" do
    assert exported(shop(), :collapsed) == """
           lists:foldl/3_[j];Shop.put/2_[j];beam_jit_call_nif;put;inlined_copy_[i] 3250
           load_nif;shop.so+0x5840 64
           """
  end

  test "has the value that is asked for" do
    for {value, sum} <- [live_bytes: 3314, live: 11, allocated_bytes: 4514, allocated: 23] do
      assert shop() |> exported(:collapsed, value: value) |> parse() |> total() == sum
    end
  end

  test "sites that differ in nothing that is shown are one line" do
    one = site([hook(), native("f", 1), erlang("m:f/1", 9)])
    other = site([%{hook() | symbol: "calloc"}, native("f", 5), erlang("m:f/1", 9)])
    snapshot = snapshot([{one, [chunk(one, 5, 1.0)]}, {other, [chunk(other, 6, 1.0)]}])
    assert exported(snapshot, :collapsed) == "m:f/1_[j];f 11\n"
  end

  test "an empty snapshot and stacks of no value are no lines" do
    assert exported(empty(), :collapsed) == ""
    assert exported(snapshot([{site([hook(), native("f", 1)]), []}]), :collapsed) == ""
  end

  test "names of any bytes neither end a line nor a name" do
    stacks = hell() |> exported(:collapsed) |> parse()
    assert total(stacks) == 10 * length(hostile())

    assert Enum.all?(stacks, fn {names, _} -> length(names) == 3 and hd(names) == "root_[j]" end)

    names = for {names, _} <- stacks, do: List.last(names)
    assert "a:b" in names and "</script><!--" in names and "[unknown]" in names
    assert "name_12" in names and "name 12_3.5" in names
  end

  test "values sum up to the sites'" do
    # the seed that ExUnit prints
    :rand.seed(:exsss, ExUnit.configuration()[:seed])
    snapshot = random()

    assert snapshot |> exported(:collapsed) |> parse() |> total() ==
             snapshot.sites |> Enum.map(& &1.live_bytes) |> Enum.sum()
  end
end
