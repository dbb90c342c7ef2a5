defmodule Mtrace.Export.SpeedscopeTest do
  # Read by sqlite3, whose JSON is strict.
  use ExUnit.Case, async: true
  @moduletag :plain
  @moduletag skip: Mtrace.Test.Recorded.without("sqlite3")

  import Mtrace.Test.Recorded

  # Rows of a query over the file, which it calls FILE; a row is a text with | between its columns.
  defp query(snapshot, select) do
    file = file(".json")
    File.write!(file, exported(snapshot, :speedscope))
    from = "(select cast(readfile('#{file}') as text) as json) as file"

    {output, status} =
      System.cmd("sqlite3", [":memory:", String.replace(select, "FILE", from)],
        stderr_to_stdout: true,
        env: [{"LD_PRELOAD", nil}]
      )

    assert status == 0, output
    String.split(output, "\n", trim: true)
  end

  @profiles "select p.value->>'name', p.value->>'unit', p.value->>'type', p.value->>'endValue', " <>
              "json_array_length(p.value,'$.samples'), p.value->>'weights' " <>
              "from FILE, json_each(file.json, '$.profiles') p"

  @frames "select f.key, f.value->>'name', f.value->>'file', f.value->>'line' " <>
            "from FILE, json_each(file.json, '$.shared.frames') f"

  test "has a profile for each value, whose weights add up" do
    assert query(shop(), @profiles) == [
             "Live bytes|bytes|sampled|3314|2|[3250,64]",
             "Live chunks|none|sampled|11|2|[10,1]",
             "Allocated bytes|bytes|sampled|4514|2|[4450,64]",
             "Allocated chunks|none|sampled|23|2|[22,1]"
           ]
  end

  test "stacks begin at the outermost function and share the frames" do
    assert query(shop(), @frames) == [
             "0|Shop.put/2|lib/shop.ex|10",
             "1|beam_jit_call_nif|/usr/lib/erlang/erts-13.1.5/bin/beam.smp|",
             "2|inlined_copy|/src/copy.h|7",
             "3|lists:foldl/3||",
             "4|load_nif|/usr/lib/erlang/erts-13.1.5/bin/beam.smp|",
             "5|put|/src/put.c|13",
             "6|shop.so+0x5840|/app/lib/shop-1.2.3/priv/shop.so|"
           ]

    assert query(shop(), "select json->'$.profiles[0].samples' from FILE") == [
             "[[3,0,1,5,2],[4,6]]"
           ]
  end

  test "says which file it is" do
    keys = "json->>'$.$schema', json->>'version', json->>'name', json->>'activeProfileIndex'"

    assert query(shop(), "select #{keys} from FILE") == [
             "https://www.speedscope.app/file-format-schema.json|0.0.1|" <>
               "shop@host 2026-11-20T10:23:46.123456Z|0"
           ]
  end

  test "an empty snapshot has four empty profiles" do
    assert ["Live bytes|bytes|sampled|0|0|[]" | [_, _, _]] = query(empty(), @profiles)
    assert query(empty(), @frames) == []
  end

  test "names of any bytes are one frame each, and end no script" do
    refute exported(hell(), :speedscope) =~ ~r/[<>&\x00-\x1F]/
    assert ["Live bytes|bytes|sampled|" <> rest | _] = query(hell(), @profiles)
    n = length(hostile())
    assert rest =~ "#{10 * n}|#{n}|[10,"
    names = query(hell(), @frames)
    assert Enum.any?(names, &(&1 =~ "|</script><!--|</script><!--|"))
    assert Enum.any?(names, &(&1 =~ "|\uFFFDevil\uFFFD|"))
  end
end
