defmodule Mtrace.CtlExactTest do
  # Exact mode: a program whose every figure is known in advance, and what other tools say of it.
  use ExUnit.Case, async: true
  @moduletag :plain

  import Mtrace.Test.Program
  alias Mtrace.Test.JsonReader

  # function => {allocations, bytes}, {most chunks, most bytes at once}, {chunks, bytes} at the end:
  # sums over the stacks of a function
  @known %{
    "leaks_all" => {{10, 1000}, {10, 1000}, {10, 1000}},
    "freed_in_a_heap" => {{51, 3264}, {50, 3200}, {1, 64}},
    "one_at_a_time" => {{1001, 21021}, {1, 21}, {1, 21}},
    "grows" => {{12, 65520}, {1, 32768}, {1, 32768}},
    "grows_as_array" => {{4, 8888}, {1, 8000}, {1, 8}},
    "made_here" => {{5, 200}, {5, 200}, {2, 80}},
    "moved_there" => {{3, 12000}, {3, 12000}, {3, 12000}},
    "aligned_posix" => {{2, 2000}, {2, 2000}, {1, 1000}},
    "aligned_c11" => {{4, 2048}, {4, 2048}, {3, 1536}},
    "aligned_old" => {{1, 3000}, {1, 3000}, {1, 3000}},
    "copies" => {{6, 120}, {6, 120}, {3, 60}},
    "mixed_sizes" => {{7, 14006}, {4, 14000}, {1, 2}},
    "many" => {{20000, 1_150_000}, {20000, 1_150_000}, {5000, 280_000}},
    "two_lines" => {{7, 85}, {7, 85}, {7, 85}},
    "recurses" => {{8, 36}, {8, 36}, {4, 16}}
  }

  # Of the stacks of this one half have nothing left, which a report of the living does not show.
  @living Map.put(@known, "recurses", {{4, 16}, {4, 16}, {4, 16}})

  defp directory do
    dir = Path.join(System.tmp_dir!(), "mtrace-exact-#{System.unique_integer([:positive])}")
    File.mkdir_p!(dir)
    on_exit(fn -> File.rm_rf!(dir) end)
    dir
  end

  # Runs a tool that is there, or nil.
  defp tool(name, args) do
    with path when is_binary(path) <- System.find_executable(name) do
      {output, status} = System.cmd(path, args, stderr_to_stdout: true)
      assert status == 0, output
      output
    end
  end

  defp sites(depth) do
    env = [{"MTRACE_INTERVAL", "0"}, {"MTRACE_SLOTS", "65536"}, {"MTRACE_DEPTH", depth}]
    {output, 0} = trace("exact", [], env: env)

    for line <- String.split(output, "\n", trim: true) do
      [function, offset | figures] = String.split(line)
      {function, offset, Enum.map(figures, &String.to_integer/1)}
    end
  end

  defp sums(rows) do
    Enum.reduce(rows, %{}, fn {function, figures}, sums ->
      Map.update(sums, function, figures, &Enum.zip_with(&1, figures, fn a, b -> a + b end))
    end)
  end

  defp shaped(sums) do
    Map.new(sums, fn {function, [a, b, c, d, e, f]} -> {function, {{a, b}, {c, d}, {e, f}}} end)
  end

  for depth <- ["16", "32", "64"] do
    test "every figure of every site is what it is known to be, #{depth} frames deep" do
      assert @living ==
               sites(unquote(depth))
               |> Enum.map(fn {f, _, n} -> {f, n} end)
               |> sums()
               |> shaped()
    end
  end

  test "two sites in one function are two" do
    rows = for {"two_lines", offset, figures} <- sites("16"), do: {offset, figures}

    assert [[3, 33, 3, 33, 3, 33], [4, 52, 4, 52, 4, 52]] ==
             rows |> Enum.map(&elem(&1, 1)) |> Enum.sort()

    places =
      for {offset, [_, bytes | _]} <- rows do
        before = Integer.to_string(String.to_integer(offset, 16) - 1, 16)
        place = tool("addr2line", ["-e", path("exact"), "0x" <> before])
        {bytes, place && line(place)}
      end

    source = File.read!(Path.expand("../programs/exact.c", __DIR__)) |> String.split("\n")

    for {bytes, line} <- places, line do
      assert Enum.at(source, line - 1) =~
               "malloc(#{div(bytes, if(bytes == 33, do: 3, else: 4))})"
    end
  end

  defp line(place) do
    [_, n] = Regex.run(~r/exact\.c:(\d+)/, place)
    String.to_integer(n)
  end

  # dhat leaves a chunk that realloc moved or resized with the site that made it: of the two functions
  # that this is about it knows one, with the figures of both. It tells how many chunks there were
  # when a site's bytes were most, not the most chunks.
  test "valgrind's dhat says the same, site by site" do
    file = Path.join(directory(), "dhat.json")

    if tool("valgrind", ["-q", "--tool=dhat", "--dhat-out-file=" <> file, path("exact")]) do
      dhat = file |> File.read!() |> JsonReader.read()
      found = for p <- dhat["pps"], f = function(p, dhat), do: {f, dhat_figures(p)}

      {{{8, 12200}, _, {5, 12080}}, found} =
        found |> sums() |> shaped() |> Map.pop!("made_here")

      known = Map.drop(@known, ["made_here", "moved_there"])

      assert Map.put(known, "mixed_sizes", {{7, 14006}, {2, 14000}, {1, 2}}) ==
               Map.delete(found, "main")
    end
  end

  defp dhat_figures(p), do: for(key <- ~w(tbk tb mbk mb ebk eb), do: p[key])

  defp function(point, dhat) do
    Enum.find_value(point["fs"], fn i ->
      case Regex.run(~r/^0x[0-9A-F]+: (\S+) \(exact\.c:/, Enum.at(dhat["ftbl"], i)) do
        [_, function] -> function
        nil -> nil
      end
    end)
  end

  # It knows no memalign, and tells a site's peak only for the moment of the program's.
  test "heaptrack says the same, site by site" do
    dir = directory()

    if tool("heaptrack", ["-o", Path.join(dir, "data"), path("exact")]) do
      [data] = Path.wildcard(Path.join(dir, "data*"))

      for {cost, figure} <- [
            {"allocations", fn {{n, _}, _, _} -> n end},
            {"leaked", fn {_, _, {_, bytes}} -> bytes end}
          ] do
        out = Path.join(dir, cost)
        tool("heaptrack_print", ["-f", data, "-F", out, "--flamegraph-cost-type", cost])
        known = Map.delete(@known, "aligned_old")
        known = Map.new(known, fn {function, figures} -> {function, figure.(figures)} end)
        assert {cost, known} == {cost, collapsed(out)}
      end
    end
  end

  # "main (exact.c);many (exact.c); 20": by the innermost function of the program.
  defp collapsed(file) do
    rows =
      for line <- File.stream!(file),
          [_, n] = Regex.run(~r/ (\d+)$/, String.trim_trailing(line)),
          functions = Regex.scan(~r/([^ ;]+) \(exact\.c\)/, line, capture: :all_but_first),
          functions != [] do
        [function] = List.last(functions)
        {function, [String.to_integer(n)]}
      end

    rows |> sums() |> Map.new(fn {function, [n]} -> {function, n} end) |> Map.delete("main")
  end
end
