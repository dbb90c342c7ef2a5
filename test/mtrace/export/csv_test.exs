defmodule Mtrace.Export.CsvTest do
  use ExUnit.Case, async: true
  @moduletag :plain

  import Mtrace.Test.Recorded

  # RFC 4180 and not a byte else: a list of rows, each a map from the header's names.
  defp parse(text) do
    [header | rows] = rows(text, [], [])
    assert Enum.uniq(header) == header
    for row <- rows, do: header |> Enum.zip(row) |> check(length(header), length(row))
  end

  defp check(pairs, n, n), do: Map.new(pairs)

  defp rows("", [], rows), do: Enum.reverse(rows)

  defp rows(text, fields, rows) do
    {field, rest} = field(text)

    case rest do
      "," <> rest -> rows(rest, [field | fields], rows)
      "\r\n" <> rest -> rows(rest, [], [Enum.reverse([field | fields]) | rows])
    end
  end

  defp field("\"" <> rest) do
    [_, inner] = Regex.run(~r/^((?:[^"]|"")*)"(?!")/s, rest)
    {String.replace(inner, "\"\"", "\""), binary_part_from(rest, byte_size(inner) + 1)}
  end

  defp field(text) do
    [plain] = Regex.run(~r/^[^",\r\n]*/s, text)
    {plain, binary_part_from(text, byte_size(plain))}
  end

  defp binary_part_from(text, from), do: binary_part(text, from, byte_size(text) - from)

  test "has a row for each site" do
    assert [put, load] = shop() |> exported(:csv) |> parse()

    assert %{
             "live_bytes" => "3250",
             "live_chunks" => "10",
             "allocated_bytes" => "4450",
             "allocated_chunks" => "22",
             "freed_bytes" => "1200",
             "freed_chunks" => "12",
             "recorded_chunks" => "5",
             "allocator" => "malloc",
             "caller" => "Shop.put/2",
             "function" => "inlined_copy",
             "file" => "/src/copy.h",
             "line" => "7",
             "library" => "/app/lib/shop-1.2.3/priv/shop.so",
             "app" => "shop",
             "app_version" => "1.2.3",
             "stack" => "inlined_copy;put;beam_jit_call_nif;Shop.put/2;lists:foldl/3"
           } = put

    assert %{"caller" => "load Shop.load", "function" => "shop.so+0x5840", "line" => ""} = load
  end

  test "has a row for each chunk on request" do
    rows = shop() |> exported(:csv, rows: :chunks) |> parse()
    assert length(rows) == 6
    assert rows |> Enum.map(&String.to_integer(&1["size_bytes"])) |> Enum.sum() == 2364

    assert %{
             "size_bytes" => "1000",
             "age_ms" => "10",
             "weight" => "1.25",
             "pid" => "<0.0.0>",
             "process" => "init",
             "thread_id" => "8",
             "thread_name" => "",
             "thread_kind" => "dirty_cpu",
             "function" => "inlined_copy"
           } = Enum.at(rows, 3)

    assert "0x" <> _ = hd(rows)["address"]
  end

  test "an empty snapshot is a header" do
    assert empty() |> exported(:csv) |> parse() == []
    assert exported(empty(), :csv, rows: :chunks) =~ ~r/^address,size_bytes,[a-z_,]+,stack\r\n$/
  end

  test "names of any bytes stay in their field, and none is a formula" do
    for rows <- [:sites, :chunks] do
      rows = hell() |> exported(:csv, rows: rows) |> parse()
      assert length(rows) == length(hostile())
      for row <- rows, {_, field} <- row, do: refute(field =~ ~r/^[=+@-]|[\x00-\x1F]/)
      assert "'=1+1" in Enum.map(rows, & &1["function"])
      assert "a\"b" in Enum.map(rows, & &1["app"])
      assert Enum.any?(rows, &(&1["stack"] == "</script><!--;</script><!--;root"))
    end
  end

  @tag skip: without("sqlite3")
  test "sqlite3 imports as many rows, with the same sums" do
    for {snapshot, sum} <- [{shop(), 3314}, {hell(), 10 * length(hostile())}] do
      file = file(".csv")
      assert :ok == Mtrace.export(snapshot, :csv, file)

      {output, 0} =
        System.cmd(
          "sqlite3",
          [
            ":memory:",
            ".import --csv #{file} sites",
            "select count(*), sum(live_bytes) from sites"
          ],
          stderr_to_stdout: true,
          env: [{"LD_PRELOAD", nil}]
        )

      assert output == "#{length(snapshot.sites)}|#{sum}\n"
    end
  end

  @tag skip: without("python3")
  test "python's csv module reads the same fields" do
    file = file(".csv")
    assert :ok == Mtrace.export(hell(), :csv, file)

    script =
      "import csv,sys; rows=list(csv.DictReader(open(sys.argv[1],newline='',encoding='utf-8'),strict=True)); " <>
        "sys.stdout.buffer.write('\\n'.join(r['stack'] for r in rows).encode())"

    {output, 0} = System.cmd("python3", ["-c", script, file], env: [{"LD_PRELOAD", nil}])

    assert String.split(output, "\n") ==
             hell() |> exported(:csv) |> parse() |> Enum.map(& &1["stack"])
  end
end
