defmodule Mtrace.CtlReportTest do
  # What mtracectl shows of a program of which every figure is known.
  use ExUnit.Case, async: true
  @moduletag :plain

  alias Mtrace.Test.{Profile, Program}

  @rule "================================================================="

  setup do
    folder =
      Path.join(System.tmp_dir!(), "mtrace-ctl-report-#{System.unique_integer([:positive])}")

    File.mkdir_p!(folder)
    on_exit(fn -> File.rm_rf!(folder) end)
    %{folder: folder}
  end

  defp ctl(arguments) do
    command = Path.join(Path.dirname(Program.object()), "mtracectl")
    System.cmd(command, arguments, stderr_to_stdout: true)
  end

  defp left(options, arguments \\ []),
    do: ctl(["run"] ++ options ++ [Program.path("left")] ++ arguments)

  defp stacks(text) do
    for block <- text |> String.split("\n=== backtrace") |> tl() do
      [heading | rest] = String.split(block, "\n")
      {heading, Enum.take_while(rest, &(&1 != ""))}
    end
  end

  test "known leaks have their figures" do
    {text, 7} = left([])
    assert [{many, frames}, {once, _}, {inner, inlined}] = stacks(text)

    assert many =~
             ~r"^ #1 === \[count/peak: 43/60\] \[size/peak: 22\.704 KB/31\.680 KB\] \[age: [0-9.]+ (ms|us|secs)\]$"

    assert once =~ "[count/peak: 1/1] [size/peak: 4.096 KB/4.096 KB]"
    assert inner =~ "[count/peak: 2/2] [size/peak: 200 bytes/200 bytes]"

    assert [malloc, caller, main | _] = frames
    assert malloc =~ ~r"^ 0 \[0x[0-9a-f]{12}\] malloc \+0x[0-9a-f]+$"

    assert caller =~
             ~r"^ 1 \[0x[0-9a-f]{12}\] many \+0x[0-9a-f]+ \(left\) programs/left\.c:\d+$"

    assert main =~ ~r"^ 2 \[0x[0-9a-f]{12}\] main \+0x[0-9a-f]+ \(left\) programs/left\.c:\d+$"

    assert [calloc, inlined, outer | _] = inlined
    assert calloc =~ "] calloc +0x"
    assert inlined =~ ~r"^ 1 \[0x[0-9a-f]{12}\] inner \(inlined\) programs/left\.c:\d+$"
    assert outer =~ ~r"^ 1 \[0x[0-9a-f]{12}\] outer \+0x"

    assert text =~ "] 27.000 KB in 46 chunks not freed at the end of process "
    assert text =~ ~r"^\[mtracectl\] traced stacks +: 3$"m
    assert text =~ ~r"^\[mtracectl\] traced size +: 27\.000 KB in 46 chunks$"m
    assert text =~ ~r"^\[mtracectl\] coverage +: exact; 46 chunks known, 0 ignored$"m
    assert text =~ ~r"^\[mtracectl\] allocator \(virtual\) +: [0-9.]+ [KM]B$"m

    assert text =~
             ~r"^\[mtracectl\] process \(VSS/RSS/shared\) +: \S+ [KM]B / \S+ [KM]B / \S+ [KM]B$"m

    assert String.starts_with?(text, @rule) and String.ends_with?(text, @rule <> "\n")
  end

  test "where everything is freed nothing is printed" do
    assert left([], ["none"]) == {"", 7}
    assert left(["--flame-graph"], ["none"]) == {"", 7}
  end

  test "what is asked for is shown" do
    {text, 7} = left(["--sort", "count", "--top=1"])
    assert [{"" <> many, _}] = stacks(text)
    assert many =~ "43/60"
    assert text =~ "4.296 KB in 2 stacks more: --top 0 shows all"

    {text, 7} = left(["-s", "size,allocs"])
    assert length(stacks(text)) == 6
    assert text =~ "[allocs: 60/31.680 KB]"

    # As getopt has it.
    for words <- [["-scount"], ["-s=count"], ["-s", "count"]] do
      {text, 7} = left(words)
      assert text =~ ~r/ by process .*, by count$|at the end .*, by count$/m
    end

    {text, 7} = left(["--leaks-only", "1h"])
    assert text == ""
  end

  # Which of the tables is full is known by test/c/room_test.c.
  test "it is said what there was no room for, and what to do", %{folder: folder} do
    saved = Path.join(folder, "saved")
    {text, 7} = left(["--slots", "16", "--save", saved])
    assert text =~ ~r/ chunks not recorded: these figures are too low$/m
    assert text =~ "no room: 16 slots for chunks; give more --slots, or --sample\n"
    refute text =~ "different stacks"
    {shown, 0} = ctl(["show", saved])
    assert shown =~ "no room: 16 slots for chunks; give more --slots, or --sample\n"
  end

  test "patterns leave stacks out", %{folder: folder} do
    patterns = Path.join(folder, "patterns")
    File.write!(patterns, "# known\nleak:^many$\n*left.c:no such line\ninn*r\n")
    {text, 7} = left(["--ignore", patterns])
    assert [{once, _}] = stacks(text)
    assert once =~ "4.096 KB"
    assert text =~ ~r"ignored by patterns +: 22\.904 KB in 2 stacks"
    File.write!(patterns, "left.c\n")
    assert left(["--ignore", patterns]) == {"", 7}
  end

  test "collapsed stacks are of one shape", %{folder: folder} do
    {text, 7} = left(["--flame-graph"])
    lines = String.split(text, "\n", trim: true)

    for line <- lines do
      assert [_, stack, _bytes] = Regex.run(~r"^([^;\s][^;]*(?:;[^;]+)+) (\d+)$", line)
      assert stack =~ "main;"
    end

    assert Enum.any?(lines, &String.ends_with?(&1, ";main;many;malloc 22704"))
    assert Enum.any?(lines, &String.ends_with?(&1, ";main;outer;inner;calloc 200"))

    path = Path.join(folder, "stacks.%p")
    {text, 7} = left(["--flame-graph=#{path}"])
    assert length(stacks(text)) == 3
    assert [file] = Path.wildcard(Path.join(folder, "stacks.*"))
    assert file =~ ~r"stacks\.\d+$"
    assert Enum.sort(String.split(File.read!(file), "\n", trim: true)) == Enum.sort(lines)
    assert Bitwise.band(File.stat!(file).mode, 0o777) == 0o600
  end

  test "a profile has every figure", %{folder: folder} do
    path = Path.join(folder, "profile")
    {_, 7} = left(["--pprof", path])
    profile = Profile.read(File.read!(path))
    assert profile.default == "inuse_space"

    assert profile.types == [
             {"alloc_objects", "count"},
             {"alloc_space", "bytes"},
             {"inuse_objects", "count"},
             {"inuse_space", "bytes"}
           ]

    found =
      for %{values: values, stack: stack} <- profile.samples,
          into: %{},
          do: {stack |> hd() |> Map.fetch!(:lines) |> Enum.map(&elem(&1, 0)), values}

    assert found == %{
             ["many"] => [60, 31_680, 43, 22_704],
             ["once"] => [1, 4096, 1, 4096],
             ["inner", "outer"] => [2, 200, 2, 200]
           }

    assert Enum.all?(profile.samples, &(hd(&1.stack).mapping == Program.path("left")))
  end

  test "what was saved is shown as it was", %{folder: folder} do
    path = Path.join(folder, "kept")
    {text, 7} = left(["--save", path])
    assert ctl(["show", path]) == {text, 0}
    assert Bitwise.band(File.stat!(path).mode, 0o777) == 0o600

    {collapsed, 0} = ctl(["show", "--flame-graph", path])
    assert collapsed =~ ";main;many;malloc 22704\n"

    {short, 0} = ctl(["show", "--no-lines", path])
    assert short =~ " outer +0x"
    refute short =~ "inlined"
    refute short =~ "left.c"
  end

  test "what was saved elsewhere is named from a folder of libraries", %{folder: folder} do
    program = Path.join(folder, "left")
    kept = Path.join(folder, "kept")
    File.cp!(Program.path("left"), program)
    {_, 7} = ctl(["run", "--no-lines", "--save", kept, program])
    File.rm!(program)
    {text, 0} = ctl(["show", kept])
    refute text =~ "left.c"
    {text, 0} = ctl(["show", "--libraries", Path.dirname(Program.path("left")), kept])
    assert text =~ ~r" inner \(inlined\) programs/left\.c:\d+"
    {text, 0} = ctl(["show", "--libraries", folder, kept])
    assert text =~ "left: the file is not there any more"
  end

  test "two runs are compared", %{folder: folder} do
    path = Path.join(folder, "kept")
    {_, 7} = left(["--save", path])
    {text, 7} = left(["--diff", path], ["more"])
    assert [{many, frames}] = stacks(text)

    assert many ==
             " #1 === [grew: +3.696 KB] [size: 22.704 KB -> 26.400 KB] [count: 43 -> 50]"

    assert Enum.any?(frames, &(&1 =~ " many +0x"))
    assert text =~ "same  : 2 stacks, +0 bytes"
    assert text =~ "in all: 27.000 KB -> 30.696 KB (+3.696 KB), 46 -> 53 chunks"

    {_, 9} = left(["--diff", path, "--error-exitcode", "9"], ["more"])
    {text, 7} = left(["--diff", path, "--error-exitcode", "9"])
    assert stacks(text) == []
    assert text =~ "same  : 3 stacks, +0 bytes"
  end

  test "bad input gets one sentence, and the program is not started", %{folder: folder} do
    foreign = Path.join(folder, "foreign")
    File.write!(foreign, "hello")

    for {options, sentence} <- [
          {["--sort", "colour"], "cannot sort by colour: it is size, count, age or allocs"},
          {["--top", "-1"], "--top -1 is no number of stacks: 0 shows all"},
          {["--top"], "--top wants a value"},
          {["--leaks-only", "soon"], "--leaks-only soon is no age: write 500ms, 10s, 5m or 2h"},
          {["--ignore", Path.join(folder, "absent")],
           "cannot be read: No such file or directory"},
          {["--diff", foreign], "was not written by"},
          {["--diff", folder], "is no plain file"},
          {["--pprof", Path.join(folder, "no/profile")], "cannot be written: No such file"},
          {["--save", ""], "--save wants a value"}
        ] do
      run = if options == ["--top"], do: ctl(["run", "--top"]), else: left(options)
      assert {text, status} = run
      assert status in [1, 2], inspect({options, run})
      assert text =~ sentence
      assert [_] = String.split(text, "\n", trim: true)
    end

    assert {text, 1} = ctl(["show", foreign])
    assert text =~ "foreign was not written by mtracectl run --save FILE"
    assert {_, 2} = ctl(["show"])
    assert {text, 2} = ctl(["show", "--colour", foreign])
    assert text =~ "there is no option --colour"
    assert {text, 0} = ctl(["show", "--help"])
    assert Enum.all?(String.split(text, "\n"), &(String.length(&1) <= 80))
  end

  test "no name reaches a terminal as it is", %{folder: folder} do
    program = Path.join(folder, "le\e[31mft\n\xff")
    File.cp!(Program.path("left"), program)
    {text, 7} = ctl(["run", program])
    assert length(stacks(text)) == 3
    refute text =~ ~r/[\x00-\x09\x0b-\x1f\x7f]/
    assert String.valid?(text)
    assert text =~ "(le\\x1b[31mft\\x0a\\xff)"
  end
end
