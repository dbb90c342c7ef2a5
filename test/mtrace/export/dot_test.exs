defmodule Mtrace.Export.DotTest do
  use ExUnit.Case, async: true
  @moduletag :plain

  import Mtrace.Test.Recorded

  # Each line is one of these; between quotes every " has a backslash, and backslashes begin a pair.
  @quoted ~S/"(?:[^"\\]|\\.)*"/
  @node ~s/^  n(\\d+) \\[label=(#{@quoted}) tooltip=#{@quoted} fillcolor="(#\\w+)" color="#\\w+"\\];$/
  @edge ~S/^  n(\d+) -> n(\d+) \[label="([^"]+)" penwidth=\d\.\d( style=dashed)?\];$/
  @head ~s/^  (graph|node|edge) \\[([^"]*#{@quoted})*[^"]*\\];$/

  # Regexes that are compiled cannot be attributes from OTP 28 on.
  defp is?(line, source), do: line =~ Regex.compile!(source, "u")
  defp parts(line, source), do: source |> Regex.compile!("u") |> Regex.run(line)

  # {%{name => label's lines}, [{caller, callee, amount, dashed?}]}
  defp parse(text) do
    assert ["digraph mtrace {" | lines] = String.split(text, "\n")
    assert {lines, ["}", ""]} = Enum.split(lines, -2)
    {heads, lines} = Enum.split(lines, 3)
    assert Enum.all?(heads, &is?(&1, @head))
    {nodes, edges} = Enum.split_while(lines, &is?(&1, @node))

    nodes =
      for line <- nodes, into: %{} do
        [_, number, label, colour] = parts(line, @node)
        {number, {label |> String.trim("\"") |> String.split("\\n"), colour}}
      end

    name = fn number -> nodes |> Map.fetch!(number) |> elem(0) |> hd() end

    edges =
      for line <- edges do
        assert [_, from, to, amount | dashed] = parts(line, @edge)
        {name.(from), name.(to), amount, dashed != []}
      end

    {Map.new(Map.values(nodes), fn {[name | rest], colour} -> {name, {rest, colour}} end),
     edges}
  end

  test "shows what each function holds itself and with what it calls, and by which calls" do
    {nodes, edges} = shop() |> exported(:dot) |> parse()

    assert nodes["inlined_copy"] ==
             {["in shop.so", "self 3.2 KiB (98.1 %)", "total 3.2 KiB (98.1 %)"], "#fde3cf"}

    assert nodes["Shop.put/2"] == {["self 0 B (0.0 %)", "total 3.2 KiB (98.1 %)"], "#d9f2d9"}
    assert {["in shop.so", "self 64 B (1.9 %)" | _], _} = nodes["shop.so+0x5840"]

    assert Enum.sort(edges) == [
             {"Shop.put/2", "beam_jit_call_nif", "3.2 KiB", false},
             {"beam_jit_call_nif", "put", "3.2 KiB", false},
             {"lists:foldl/3", "Shop.put/2", "3.2 KiB", false},
             {"load_nif", "shop.so+0x5840", "64 B", false},
             {"put", "inlined_copy", "3.2 KiB", false}
           ]
  end

  test "leaves out what is below the least share, and says how much" do
    text = exported(shop(), :dot, min_share: 0.05)
    {nodes, edges} = parse(text)
    refute is_map_key(nodes, "load_nif")
    assert map_size(nodes) == 5 and length(edges) == 4
    assert text =~ "2 functions below the least share are not shown"
  end

  test "calls over what was left out are dashed" do
    # a calls b1 and b2, which call c: each b is below the half, a and c are not
    sites =
      for {b, i} <- [{"b1", 1}, {"b2", 2}] do
        site = site([hook(), native("c", 8), native(b, 16 * i), native("a", 64)])
        {site, [chunk(site, 100, 1.0)]}
      end

    assert {_, [{"a", "c", "200 B", true}]} =
             sites |> snapshot() |> exported(:dot, min_share: 0.6) |> parse()
  end

  test "a function that calls itself counts once in a stack" do
    stack = [hook(), native("f", 1), native("g", 2), native("f", 3), native("g", 4)]
    site = site(stack)
    {nodes, edges} = snapshot([{site, [chunk(site, 100, 1.0)]}]) |> exported(:dot) |> parse()
    assert {["in shop.so", "self 100 B (100.0 %)", "total 100 B (100.0 %)"], _} = nodes["f"]
    assert {["in shop.so", "self 0 B (0.0 %)", "total 100 B (100.0 %)"], _} = nodes["g"]
    assert [{"f", "g", "100 B", false}, {"g", "f", "100 B", false}] = Enum.sort(edges)
  end

  test "has the value that is asked for" do
    assert exported(shop(), :dot, value: :allocated) =~ "allocated chunks: 23"
    {nodes, _} = shop() |> exported(:dot, value: :live) |> parse()
    assert {[_, "self 10 (90.9 %)", "total 10 (90.9 %)"], _} = nodes["inlined_copy"]
  end

  test "an empty snapshot is an empty graph" do
    assert {%{}, []} = empty() |> exported(:dot) |> parse()
  end

  test "names of any bytes stay between their quotes" do
    {nodes, edges} = hell() |> exported(:dot, min_share: 0) |> parse()
    assert is_map_key(nodes, "</script><!--") and is_map_key(nodes, ~S(a\"b))
    assert is_map_key(nodes, "back\\\\") and is_map_key(nodes, "a&amp;lt;b &amp;&amp; c")
    # a native and an Erlang function of each name, and the root
    assert length(edges) == 2 * length(hostile())
  end

  describe "dot" do
    @describetag skip: without("dot")

    defp svg(snapshot) do
      file = file(".dot")
      assert :ok == Mtrace.export(snapshot, :dot, file, min_share: 0)

      {svg, status} =
        System.cmd("dot", ["-Tsvg", file], stderr_to_stdout: true, env: [{"LD_PRELOAD", nil}])

      assert status == 0, svg
      refute svg =~ ~r/^(Warning|Error)/m
      svg
    end

    defp count(svg, class), do: length(String.split(svg, ~s(class="#{class}"))) - 1

    test "draws every node and edge, and says nothing" do
      svg = svg(shop())
      assert {count(svg, "node"), count(svg, "edge")} == {7, 5}
      assert svg =~ "inlined_copy"
    end

    test "draws names as they are, and an empty graph" do
      svg = svg(hell())
      n = length(hostile())
      assert {count(svg, "node"), count(svg, "edge")} == {2 * n + 1, 2 * n}

      assert svg =~ "a&amp;lt;b &amp;&amp; c" and svg =~ "&lt;/script&gt;" and
               svg =~ ~S|\N \l \&quot;|

      assert count(svg(empty()), "node") == 0
    end
  end
end
