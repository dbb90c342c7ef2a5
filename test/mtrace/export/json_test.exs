defmodule Mtrace.Export.JsonTest do
  use ExUnit.Case, async: true
  @moduletag :plain

  alias Mtrace.Export.Json

  defp json(term), do: term |> Json.encode() |> IO.iodata_to_binary()

  test "writes every kind of value" do
    assert json(nil) == "null"
    assert json([true, false, 0, -12, 1.5, [], %{}]) == "[true,false,0,-12,1.5,[],{}]"
    assert json(%{"b" => 1, a: :atom, c: %{d: [1]}}) == ~S({"a":"atom","b":1,"c":{"d":[1]}})
    assert json(123_456_789_012_345_678_901) == "123456789012345678901"
  end

  test "escapes what JSON and what HTML would misread" do
    assert json(~S(a"b\c)) == ~S("a\"b\\c")
    assert json("a\n\t\0\e") == ~S("a\n\u0009\u0000\u001b")
    assert json("</script><!--&") == ~S("\u003c/script\u003e\u003c!--\u0026")
    assert json("\u2027\u2028\u2029\u202A") == "\"\u2027\\u2028\\u2029\u202A\""
    assert json(%{"</script>" => 1}) == ~S({"\u003c/script\u003e":1})
  end

  test "keeps UTF-8 and replaces each byte that is none" do
    assert json("größe 🧵 \x7F") == ~s("größe 🧵 \x7F")
    assert json(<<"a", 0xFF, "b", 0xC3>>) == ~s("a\uFFFDb\uFFFD")
    # overlong, a surrogate, a sequence that is cut
    assert json(<<0xC0, 0xAF>>) == ~s("\uFFFD\uFFFD")
    assert json(<<0xED, 0xA0, 0x80>>) == ~s("\uFFFD\uFFFD\uFFFD")
    assert json(<<0xF0, 0x9F, 0xA7, "x">>) == ~s("\uFFFD\uFFFD\uFFFDx")
  end

  test "refuses what has no place in JSON" do
    for bad <- [{1, 2}, self(), make_ref(), DateTime.utc_now(), %{1 => 2}] do
      assert_raise FunctionClauseError, fn -> json(bad) end
    end
  end

  @tag skip: Mtrace.Test.Recorded.without("python3")
  test "python's reader finds the same strings, whatever their bytes" do
    # the seed that ExUnit prints
    :rand.seed(:exsss, ExUnit.configuration()[:seed])
    texts = for n <- 1..300, do: :rand.bytes(rem(n, 40))
    valid = for _ <- 1..300, do: List.to_string(for _ <- 1..20, do: random_char())
    file = Mtrace.Test.Recorded.file(".json")
    File.write!(file, json(%{texts: texts, valid: valid}))

    script =
      "import json,sys; d=json.load(open(sys.argv[1],encoding='utf-8')); " <>
        "assert len(d['texts']) == 300; " <>
        "sys.stdout.buffer.write('\\0\\n'.join(d['valid']).encode('utf-8'))"

    {output, 0} = System.cmd("python3", ["-c", script, file], env: [{"LD_PRELOAD", nil}])
    assert output == Enum.join(valid, "\0\n")
  end

  defp random_char do
    case :rand.uniform(4) do
      1 -> Enum.random(0..0x7F)
      2 -> Enum.random(0x80..0xD7FF)
      3 -> Enum.random(0xE000..0xFFFF)
      4 -> Enum.random(0x10000..0x10FFFF)
    end
  end
end
