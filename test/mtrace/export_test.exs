defmodule Mtrace.ExportTest do
  # What all formats have in common; each has tests of its own in test/mtrace/export.
  use ExUnit.Case, async: true
  @moduletag :plain

  import Mtrace.Test.Recorded

  @formats [:pprof, :collapsed, :speedscope, :dot, :csv]

  test "writes a file with what :iodata returns" do
    for format <- @formats do
      file = file(".out")
      assert :ok == Mtrace.export(shop(), format, file)
      assert {:ok, content} = Mtrace.export(shop(), format, :iodata)
      assert File.read!(file) == IO.iodata_to_binary(content)
      assert :ok == Mtrace.export(shop(), format, String.to_charlist(file))
    end
  end

  test "the same snapshot gives the same bytes" do
    snapshot = hell()
    for format <- @formats, do: assert(exported(snapshot, format) == exported(snapshot, format))
  end

  test "no format shows the hook" do
    for format <- @formats -- [:pprof] do
      refute exported(shop(), format) =~ ~r/mtrace\.so|hook|malloc\b(?!,)/
    end

    refute shop() |> exported(:pprof) |> :zlib.gunzip() =~ "mtrace.so"
  end

  test "replaces a file as a whole, and leaves nothing else behind" do
    folder = file("")
    File.mkdir!(folder)
    path = Path.join(folder, "sites.csv")
    File.write!(path, "former")
    assert :ok == Mtrace.export(shop(), :csv, path)
    assert File.read!(path) == exported(shop(), :csv)
    assert File.ls!(folder) == ["sites.csv"]
  end

  test "returns what the file system says, and changes nothing then" do
    folder = file("")
    File.mkdir_p!(Path.join(folder, "folder/inner"))
    File.write!(Path.join(folder, "file"), "")
    assert {:error, :enoent} == Mtrace.export(shop(), :csv, Path.join(folder, "none/x.csv"))
    assert {:error, :eisdir} == Mtrace.export(shop(), :csv, Path.join(folder, "folder"))
    assert {:error, :enotdir} == Mtrace.export(shop(), :csv, Path.join(folder, "file/x"))
    assert Enum.sort(File.ls!(folder)) == ["file", "folder"]
  end

  # The size of what a shell may write is limited: the file begins and does not end.
  test "a file that cannot be written to its end is not there" do
    folder = file("")
    File.mkdir!(folder)
    File.write!(Path.join(folder, "x"), "former")
    ebin = Path.join(:code.lib_dir(:mtrace), "ebin")

    program = "IO.inspect(Mtrace.Output.write(\"#{folder}/x\", :binary.copy(\"x\", 1_000_000)))"

    {output, 0} =
      System.cmd(
        "sh",
        ["-c", "trap '' XFSZ; ulimit -f 100; exec elixir -pa \"$0\" -e \"$1\"", ebin, program],
        stderr_to_stdout: true
      )

    assert output == "{:error, :efbig}\n"
    assert {File.ls!(folder), File.read!(Path.join(folder, "x"))} == {["x"], "former"}
  end

  test "arguments that make no sense are refused with a sentence" do
    for {call, sentence} <- [
          {fn -> Mtrace.export(%{}, :csv, "x") end, ~r/from a snapshot, as Mtrace\.snapshot/},
          {fn -> Mtrace.export([], :csv, "x") end, ~r/from a snapshot/},
          {fn -> Mtrace.export(shop(), :pdf, "x") end, ~r/one of \[:pprof, :collapsed/},
          {fn -> Mtrace.export(shop(), "csv", "x") end, ~r/one of/},
          {fn -> Mtrace.export(shop(), :csv, "") end, ~r/name of the file/},
          {fn -> Mtrace.export(shop(), :csv, []) end, ~r/name of the file/},
          {fn -> Mtrace.export(shop(), :csv, "a\0b") end, ~r/name of the file/},
          {fn -> Mtrace.export(shop(), :csv, [:a]) end, ~r/name of the file/},
          {fn -> Mtrace.export(shop(), :csv, :stdout) end, ~r/or :iodata/},
          {fn -> Mtrace.export(shop(), :csv, "x", rows: :all) end, ~r/rows: :sites or :chunks/},
          {fn -> Mtrace.export(shop(), :csv, "x", value: :live) end, ~r/for :csv rows:/},
          {fn -> Mtrace.export(shop(), :pprof, "x", value: :live) end,
           ~r/for :pprof no options/},
          {fn -> Mtrace.export(shop(), :collapsed, "x", value: :peak) end, ~r/value: one of/},
          {fn -> Mtrace.export(shop(), :dot, "x", min_share: 2) end, ~r/min_share: a number/},
          {fn -> Mtrace.export(shop(), :dot, "x", :live) end,
           ~r/value: one of .* and min_share/},
          {fn -> Mtrace.export(shop(), :dot, "x", [1]) end, ~r/value: one of/}
        ] do
      assert_raise ArgumentError, sentence, call
    end
  end
end

defmodule Mtrace.ExportOfThisNodeTest do
  # What is exported of a node in which a NIF has leaked.
  use ExUnit.Case
  @moduletag :preloaded

  import Mtrace.Test.Recorded
  alias Mtrace.Test.{Leaky, Profile}

  setup do
    Mtrace.configure(interval: 0)
    Mtrace.reset()
    on_exit(fn -> Mtrace.configure(interval: :adaptive) end)
    Leaky.leak(:malloc, 4242, 10)
    Leaky.leak_dirty(:new, 515, 3)
    [snapshot: Mtrace.snapshot()]
  end

  test "pprof has the leak with its function, caller, process and thread", %{snapshot: snapshot} do
    profile = snapshot |> exported(:pprof) |> Profile.read()

    assert [leak] =
             for(
               %{values: [_, _, 10, 42_420]} = sample <- profile.samples,
               do: sample
             )

    me = self() |> :erlang.pid_to_list() |> to_string()
    caller = "Mtrace.Test.Leaky.leak/3"
    assert %{"caller" => ^caller, "pid" => ^me, "allocator" => "malloc"} = leak.labels
    assert leak.labels["thread"] =~ "sched"
    assert {age, "milliseconds"} = leak.labels["age"]
    assert age in 0..60_000

    [%{mapping: mapping, lines: [{"leak_by_malloc", file, line}]} | _] = leak.stack
    assert Path.basename(mapping) == "leaky.so" and is_integer(line)
    assert Path.basename(file) in ["leaky.c", ""]
  end

  test "every format has what every site holds", %{snapshot: snapshot} do
    sum = snapshot.sites |> Enum.map(& &1.live_bytes) |> Enum.sum()
    profile = snapshot |> exported(:pprof) |> Profile.read()
    assert sum == profile.samples |> Enum.map(&List.last(&1.values)) |> Enum.sum()
    lines = snapshot |> exported(:collapsed) |> String.split("\n", trim: true)

    assert sum ==
             lines
             |> Enum.map(&(&1 |> String.split(" ") |> List.last() |> String.to_integer()))
             |> Enum.sum()

    assert exported(snapshot, :speedscope) =~ ~s({"endValue":#{sum},"name":"Live bytes")
    assert exported(snapshot, :csv) =~ "leak_by_malloc"
    assert exported(snapshot, :dot) =~ "leak_by_malloc"
    refute exported(snapshot, :collapsed) =~ "mtrace.so"
  end

  @tag skip: without("go")
  test "go tool pprof finds the leak", %{snapshot: snapshot} do
    file = file(".pb.gz")
    assert :ok == Mtrace.export(snapshot, :pprof, file)

    {output, 0} =
      System.cmd("go", ["tool", "pprof", "-top", "-unit=B", "-focus=leak_by_malloc", file],
        stderr_to_stdout: true,
        env: [{"LD_PRELOAD", nil}]
      )

    assert output =~ ~r/42420B .* leak_by_malloc/
  end
end
