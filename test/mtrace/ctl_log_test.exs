defmodule Mtrace.CtlLogTest do
  # mtracectl log, on logs that are made here by the format alone, read by what people read them with.
  use ExUnit.Case, async: true
  @moduletag :plain

  import Mtrace.Test.EventLog
  alias Mtrace.Test.{JsonReader, Program}

  @ctl Path.expand("../../priv/mtracectl", __DIR__)
  @base 0x555555000000

  setup do
    folder = Path.join(System.tmp_dir!(), "mtrace-log-#{System.unique_integer([:positive])}")
    File.mkdir_p!(folder)
    on_exit(fn -> File.rm_rf!(folder) end)
    %{folder: folder}
  end

  defp written(folder, blocks, name \\ "a.log") do
    path = Path.join(folder, name)
    File.write!(path, bytes(blocks))
    path
  end

  # Output, status and what it said of the log.
  defp log(args) do
    errors =
      Path.join(System.tmp_dir!(), "mtrace-log-#{System.unique_integer([:positive])}.err")

    {output, status} =
      System.cmd("sh", ["-c", ~s("$0" log "$@" 2>"$ERRORS"), @ctl | args],
        env: [{"ERRORS", errors}, {"TZ", "UTC"}]
      )

    said = File.read!(errors)
    File.rm!(errors)
    {output, status, said}
  end

  defp log!(args) do
    {output, 0, ""} = log(args)
    output
  end

  # A program of test/programs as the file that is mapped, and return addresses in its functions.
  defp program, do: Program.path("family")

  defp build_id do
    {notes, 0} = System.cmd("readelf", ["-n", program()], env: [{"LC_ALL", "C"}])

    case Regex.run(~r/Build ID: ([0-9a-f]+)/, notes) do
      [_, id] -> Base.decode16!(id, case: :lower)
      nil -> ""
    end
  end

  defp object_of(path \\ nil) do
    object(@base, @base + 0x100000, @base, path || program(), build_id())
  end

  defp address(function) do
    {symbols, 0} = System.cmd("nm", [program()])
    [_, hex] = Regex.run(~r/^([0-9a-f]+) [tT] #{function}$/m, symbols)
    @base + String.to_integer(hex, 16) + 4
  end

  defp hex(address), do: "0x" <> String.downcase(Integer.to_string(address, 16))

  # Two threads; left at the end: 0x2000 (200 bytes, by check, of thread 101) and 0x5000 (50, by main).
  defp small do
    [
      block(
        [
          {:alloc, 2_000_000, 0x1000, 100, 1},
          {:alloc, 3_000_000, 0x2000, 200, 2},
          {:free, 4_000_000, 0x1000},
          {:alloc, 6_000_000, 0x4000, 40, 1},
          {:realloc_from, 7_000_000, 0x4000},
          {:realloc_to, 7_500_000, 0x5000, 50, 1}
        ],
        [
          start(["/bin/a program", "--with", "arguments"]),
          thread(1, 101, "main"),
          object_of(),
          stack(1, [address("traced_find"), address("main")]),
          stack(2, [address("traced_find"), address("check"), address("main")])
        ]
      ),
      block([{:free, 5_000_000, 0x9000, 0, 2}], [thread(2, 102, "worker"), ending()],
        thread: 2,
        end: 2_000_000_000
      )
    ]
  end

  defp python(script, args) do
    {output, 0} = System.cmd("python3", ["-c", script | args])
    output
  end

  test "the summary tells the program, its time, its events and what is left", %{folder: folder} do
    output = log!(["--depth", "2", written(folder, small())])
    assert output =~ "/bin/a program --with arguments\n"
    assert output =~ "pid 4711, from 2023-11-14 22:13:20 for 1.999 secs, 2 threads\n"
    assert output =~ "7 events in 2 blocks"
    assert output =~ "The program ended."
    assert output =~ ~r/allocations +4 +390 bytes, 1 by realloc/
    assert output =~ ~r/frees +3 +1 by realloc, 1 of nothing/
    assert output =~ ~r/peak +2 +300 bytes/
    assert output =~ ~r/left at the end +2 +250 bytes/
    assert output =~ "#1: 1 block, 200 bytes, age 1.997 secs"
    assert output =~ "check"
  end

  test "--jsonl is what py_malloc_trace writes", %{folder: folder} do
    main = hex(address("main"))
    check = hex(address("check"))

    assert log!(["--jsonl", written(folder, small())]) == """
           {"op":1,"p":"0x1000","p2":"(nil)","size":100,"return_addr":["#{main}"]}
           {"op":1,"p":"0x2000","p2":"(nil)","size":200,"return_addr":["#{check}"]}
           {"op":2,"p":"0x1000","p2":"(nil)","size":0,"return_addr":["0x0"]}
           {"op":2,"p":"0x9000","p2":"(nil)","size":0,"return_addr":["#{check}"]}
           {"op":1,"p":"0x4000","p2":"(nil)","size":40,"return_addr":["#{main}"]}
           {"op":3,"p":"0x4000","p2":"0x5000","size":50,"return_addr":["#{main}"]}
           """
  end

  test "--jsonl makes two of a realloc whose chunk is another thread's before it returned",
       %{folder: folder} do
    path =
      written(folder, [
        block(
          [
            {:alloc, 2000, 0x1000, 1, 0},
            {:realloc_from, 3000, 0x1000},
            {:realloc_to, 3200, 0x2000, 2, 0}
          ],
          [start(["a"])]
        ),
        block([{:alloc, 3100, 0x1000, 3, 0}], [ending()], thread: 2)
      ])

    ops =
      for line <- String.split(log!(["--jsonl", path]), "\n", trim: true),
          do: JsonReader.read(line)

    assert Enum.map(ops, &{&1["op"], &1["p"]}) == [
             {1, "0x1000"},
             {2, "0x1000"},
             {1, "0x1000"},
             {1, "0x2000"}
           ]
  end

  test "--jsonl=long has all fields and the names of the stack", %{folder: folder} do
    lines = String.split(log!(["--jsonl=long", written(folder, small())]), "\n", trim: true)
    events = Enum.map(lines, &JsonReader.read/1)
    assert length(events) == 7
    event = Enum.find(events, &(&1["address"] == "0x2000"))

    assert %{"op" => "alloc", "called" => "malloc", "thread" => 101, "thread_name" => "main"} =
             event

    assert event["ns"] == 1_700_000_000_000_000_000 + 2_999_000
    assert event["size"] == 200
    functions = for frame <- event["stack"], !frame["inlined"], do: frame["function"]
    assert functions == ["traced_find", "check", "main"]
    assert Enum.all?(event["stack"], &(&1["object"] == program()))
    assert %{"from" => "0x4000", "op" => "realloc_to"} = List.last(events)
  end

  test "--csv is read by Python's csv and json", %{folder: folder} do
    csv = Path.join(folder, "a.csv")
    File.write!(csv, log!(["--csv", written(folder, small())]))

    script = """
    import csv, json, sys
    for row in csv.reader(open(sys.argv[1]), delimiter=';'):
        stack = json.loads(row[5])
        assert all(set(f) == {'f', 's', 'l'} for f in stack)
        print(*row[:5], *[f['f'] for f in stack if f['f'] in ('main', 'check')])
    """

    assert python(script, [csv]) == """
           malloc 101 4096 100 1700000000001 main
           malloc 101 8192 200 1700000000002 check main
           free 101 4096 0 1700000000003
           free 102 36864 0 1700000000004 check main
           malloc 101 16384 40 1700000000005 main
           freerealloc 101 16384 0 1700000000006
           realloc 101 20480 50 1700000000007 main
           """
  end

  test "--sql makes the table that sqlite3 imports the rows into", %{folder: folder} do
    if System.find_executable("sqlite3") do
      File.write!(
        Path.join(folder, "malloc_trace.csv"),
        log!(["--csv", written(folder, small())])
      )

      File.write!(Path.join(folder, "in.sql"), log!(["--sql"]))

      query =
        "select function, thread, address, size, json_extract(stack, '$[#-1].f') from malloc_trace " <>
          "where size > 0 order by ms;"

      {output, 0} =
        System.cmd("sh", ["-c", ~s(sqlite3 t.db < in.sql && sqlite3 t.db "$0"), query],
          cd: folder,
          stderr_to_stdout: true
        )

      assert output == """
             malloc|101|4096|100|main
             malloc|101|8192|200|main
             malloc|101|16384|40|main
             realloc|101|20480|50|main
             """
    end
  end

  test "names of any bytes leave JSON, CSV and the terminal whole", %{folder: folder} do
    bad = "/tmp/\e]0;x\a\"q\";\n\\\xFF\u202E.so"

    path =
      written(folder, [
        block([{:alloc, 2000, 0x1000, 1, 1}, {:alloc, 2100, 0x2000, 1, 1}], [
          start([bad, bad]),
          thread(1, 7, bad),
          object(@base, @base + 4096, @base, bad),
          stack(1, [@base + 16, @base + 32]),
          ending()
        ])
      ])

    for args <- [[], ["--remaining"], ["--orphans", "0"], ["--timeline"], ["--report"]] do
      {output, 0, _} = log(args ++ [path])
      assert String.valid?(output)
      refute output =~ ~r/[\x00-\x09\x0b-\x1f\x7f\x{202e}]/u
    end

    {json, 0, said} = log(["--jsonl=long", path])
    assert said =~ ~r/^mtracectl: no names from [^\x00-\x1f\x7f]*\n$/

    for line <- String.split(json, "\n", trim: true) do
      event = JsonReader.read(line)
      assert event["thread_name"] =~ "\"q\";\n\\\uFFFD"
      assert hd(event["stack"])["object"] =~ "\e]0;x\a"
    end

    csv = Path.join(folder, "bad.csv")
    {rows, 0, _} = log(["--csv", path])
    File.write!(csv, rows)

    script = """
    import csv, json, sys
    for row in csv.reader(open(sys.argv[1]), delimiter=';'):
        print(len(row), json.loads(row[5])[1]['f'].endswith('.so+0x20'))
    """

    assert python(script, [csv]) == "6 True\n6 True\n"
  end

  test "--remaining sums what is left by library::symbol", %{folder: folder} do
    assert log!(["--remaining", written(folder, small())]) == """
           Num remaining memory blocks and total size:
           #{program()}::check : num blocks: 1 : total size: 200
           #{program()}::main : num blocks: 1 : total size: 50
           ---
           Total remaining size: 250
           """

    assert log!(["--remaining", "--depth", "2", written(folder, small())]) =~
             "#{program()}::check < #{program()}::main : num blocks: 1"
  end

  test "a log from elsewhere is named from a folder of its libraries, and a map of its memory",
       %{folder: folder} do
    File.mkdir_p!(Path.join(folder, "libs"))
    File.cp!(program(), Path.join(folder, "libs/moved"))

    blocks = fn definitions ->
      [
        block([{:alloc, 2000, 0x1000, 5, 1}], [
          start(["a"]),
          stack(1, [address("traced_find"), address("main")]),
          ending() | definitions
        ])
      ]
    end

    path = written(folder, blocks.([object_of("/not/here/moved")]))
    assert {output, 0, said} = log(["--remaining", path])
    assert output =~ "/not/here/moved::+0x"
    assert said =~ "no names from /not/here/moved"

    File.mkdir_p!(Path.join(folder, "empty"))
    output = log!(["--remaining", "--libraries", "#{folder}/empty:#{folder}/libs", path])
    assert output =~ "/not/here/moved::main : num blocks: 1"

    # By its whole path, as in a copy of the other machine's root.
    File.mkdir_p!(Path.join(folder, "root/not/here"))
    File.cp!(program(), Path.join(folder, "root/not/here/moved"))
    output = log!(["--remaining", "--libraries", "#{folder}/root", path])
    assert output =~ "/not/here/moved::main : num blocks: 1"

    # Without a list of files in the log.
    path = written(folder, blocks.([]), "bare.log")
    assert log!(["--remaining", path]) =~ "(unknown)::0x"
    maps = Path.join(folder, "maps")

    File.write!(maps, """
    555555000000-555555001000 r--p 00000000 fe:01 1234                       /not/here/moved
    555555001000-555555003000 r-xp 00001000 fe:01 1234                       /not/here/moved
    7ffff7fc9000-7ffff7fcb000 r-xp 00000000 00:00 0                          [vdso]
    """)

    args = ["--remaining", "--maps", maps, "--libraries", "#{folder}/libs", path]
    assert log!(args) =~ "/not/here/moved::main : num blocks: 1"

    File.write!(maps, "no map\n")
    assert {"", 1, said} = log(["--remaining", "--maps", maps, path])
    assert said =~ "no copy of a /proc/PID/maps"
  end

  test "--orphans has what is older, and frees without an allocation", %{folder: folder} do
    path = written(folder, small())
    text = log!(["--orphans", "1.993", path])
    assert text =~ "not freed:\n#1: 1 block, 200 bytes"
    assert text =~ "Freed without having been allocated:\n#1: 1 block\n"
    assert text =~ "1 block, 200 bytes in all, of 1 stack\n"

    assert [free, alloc] =
             String.split(log!(["--orphans=1.993", "--csv", path]), "\n", trim: true)

    assert free =~ ~r/^"free";102;36864;0;1700000000004;/
    assert alloc =~ ~r/^"malloc";101;8192;200;1700000000002;/

    rows = String.split(log!(["--orphans", "0", "--csv", path]), "\n", trim: true)

    assert Enum.map(rows, &hd(String.split(&1, ";"))) == [
             ~s("free"),
             ~s("malloc"),
             ~s("malloc")
           ]
  end

  test "--diff matches stacks by name and ranks what grew", %{folder: folder} do
    old = written(folder, small(), "old.log")

    # Elsewhere in memory, and check has more, main nothing.
    shift = 0x1000000

    new =
      written(
        folder,
        [
          block(
            for(i <- 1..5, do: {:alloc, 2000 + i, 0x1000 * i, 100, 9}),
            [
              start(["a"]),
              object(
                @base + shift,
                @base + shift + 0x100000,
                @base + shift,
                program(),
                build_id()
              ),
              stack(
                9,
                for(f <- ["traced_find", "check", "main"], do: address(f) + shift)
              ),
              ending()
            ]
          )
        ],
        "new.log"
      )

    output = log!(["--diff", old, new])
    assert output =~ "Left at the end: 250 bytes -> 500 bytes\n"
    assert output =~ "+300 bytes (+4 blocks)  200 bytes -> 500 bytes, 1 -> 5 blocks\n"
    assert output =~ "-50 bytes (-1 blocks)  50 bytes -> 0 bytes, 1 -> 0 blocks  (gone)\n"
    assert :binary.match(output, "+300") < :binary.match(output, "-50")
    assert log!(["--diff", old, old]) =~ "Nothing grew or shrank."
  end

  test "--timeline draws live bytes in 80 columns, with the peak and what is temporary",
       %{folder: folder} do
    events =
      for(i <- 1..100, do: {:alloc, 2000 + i * 1_000_000, 0x1000 * i, 1000, 1}) ++
        for(i <- 1..50, do: {:free, 200_000_000 + i, 0x1000 * i}) ++
        for i <- 1..20, op <- [:alloc, :free] do
          {op, 300_000_000 + i * 10 + if(op == :free, do: 1, else: 0), 0x900000, 8, 2}
        end

    path =
      written(folder, [
        block(events, [
          start(["a"]),
          object_of(),
          stack(1, [address("traced_find"), address("main")]),
          stack(2, [address("traced_find"), address("check")]),
          ending()
        ])
      ])

    output = log!(["--timeline", path])
    [graph, _] = String.split(output, "The peak")

    assert Enum.all?(
             String.split(graph, "
"),
             &(String.length(&1) <= 80)
           )

    assert output =~ "The peak: 100.000 KB in 100 blocks, after 100.001 ms"
    assert output =~ "made another: 20 of 120 (16.7 %)\n\n#1: 20 blocks\n"

    [first | _] =
      rows =
      String.split(log!(["--timeline", "--csv", "--points", "10", path]), "\n", trim: true)

    assert first == "ms;live_bytes;live_blocks;most_bytes;allocations;frees;temporary"
    assert length(rows) == 11
    assert List.last(rows) =~ ~r/^\d+\.\d+;50000;50;50008;20;20;20$/
  end

  test "what --ignore names is left out, and --thread, --leaks-only, --top do what they say",
       %{folder: folder} do
    path = written(folder, small())
    ignore = Path.join(folder, "ignore")
    File.write!(ignore, "# known\nleak:^check$\n")
    assert log!(["--remaining", "--ignore", ignore, path]) =~ "Total remaining size: 50\n"

    assert log!(["--orphans", "0", "--csv", "--ignore", ignore, path])
           |> String.split("\n", trim: true)
           |> length() == 1

    assert log!(["--remaining", "--thread", "worker", path]) =~ "Total remaining size: 0\n"
    assert log!(["--remaining", "--thread", "101", path]) =~ "Total remaining size: 250\n"

    assert log!(["--remaining", "--leaks-only", "1994ms", path]) =~
             "Total remaining size: 200\n"

    assert log!(["--remaining", "--top", "1", path]) =~ "(1 more, see --top)\n"
    assert {"", 1, said} = log(["--thread", "nobody", path])
    assert said =~ "has no thread nobody"
  end

  test "--flame-graph writes collapsed stacks of what is left", %{folder: folder} do
    lines = String.split(log!(["--flame-graph", written(folder, small())]), "\n", trim: true)
    assert Enum.any?(lines, &(&1 =~ ~r/main;check;traced_find 200$/))
  end

  test "a log that was cut by a kill is read up to there, with a note and status 0", %{
    folder: folder
  } do
    whole = bytes(small())
    [first, _] = small()
    path = Path.join(folder, "cut.log")
    File.write!(path, binary_part(whole, 0, byte_size(first) + 30))
    assert {output, 0, said} = log([path])
    assert output =~ "6 events in 1 block"
    assert said =~ ~r/^mtracectl: #{path} breaks off within a block, after 6 events: .*\n$/

    File.write!(path, first)
    assert {_, 0, said} = log([path])
    assert said =~ "has no end, it stops after 6 events: the program was killed, or still runs"
  end

  test "a damaged log is read around the damage, with a sentence and status 1", %{
    folder: folder
  } do
    [first, second] = small()
    path = Path.join(folder, "damaged.log")
    File.write!(path, [first, "rubbish!", second])
    assert {output, 1, said} = log(["--remaining", path])
    assert output =~ "Total remaining size: 250\n"

    assert said ==
             "mtracectl: #{path} is damaged in 1 place, the first at byte #{byte_size(first)}, behind 6 " <>
               "events: 8 bytes could not be read\n"
  end

  test "what is no log is refused with one sentence and status 1", %{folder: folder} do
    for {content, sentence} <- [
          {"", "is empty: nothing has been written to it yet"},
          {"#!/bin/sh\necho this is no log, but long enough for a header of a block to fit\n",
           "is no event log of Mtrace"},
          {bytes([block([], [start(["a"])], version: 9)]),
           "was written by another version of Mtrace (its format is 9, this mtracectl reads 1)"},
          {binary_part(bytes(small()), 0, 100),
           "breaks off within its first block: it has 0 events"}
        ] do
      path = Path.join(folder, "no.log")
      File.write!(path, content)
      assert {"", 1, said} = log([path])
      assert said =~ "mtracectl: #{path} " <> sentence
      assert length(String.split(said, "\n", trim: true)) == 1
    end

    assert {"", 1, said} = log([Path.join(folder, "none")])
    assert said =~ "cannot be read: No such file or directory"
    assert {"", 1, said} = log([folder])
    assert said =~ "is a folder"
    {said, 1} = System.cmd("sh", ["-c", "echo x | #{@ctl} log - 2>&1"])
    assert said =~ "cannot come through a pipe"
  end

  test "options that nobody knows, or that do not fit, are refused with status 2", %{
    folder: folder
  } do
    path = written(folder, small())

    for args <- [
          ["--nonsense", path],
          [],
          [path, path],
          ["--depth", "x", path],
          ["--orphans", "soon", path],
          ["--remaining", "--csv", path],
          ["--jsonl=wide", path],
          ["--csv", "--leaks-only", "5", path]
        ] do
      assert {"", 2, said} = log(args)
      assert length(String.split(said, "\n", trim: true)) == 1
    end

    assert {help, 0, ""} = log(["--help"])
    assert help =~ "--orphans TIME"
    assert Enum.all?(String.split(help, "\n"), &(String.length(&1) <= 80))
  end

  test "it ends silently where nobody reads on", %{folder: folder} do
    path = Path.join(folder, "large.log")
    {_, 0} = System.cmd(Program.path("log_events"), [path, "200000", "3", "1000", "50"])

    {output, 0} =
      System.cmd("bash", ["-c", "set -o pipefail; #{@ctl} log --csv #{path} 2>&1 | head -1"])

    assert output =~ ~r/\A"malloc";471\d;.*\n\z/

    {said, 1} = System.cmd("sh", ["-c", "#{@ctl} log --csv #{path} 2>&1 >/dev/full"])
    assert said == "mtracectl: the output cannot be written: No space left on device\n"
  end

  test "blocks of three threads and 200,000 events give the same in every form", %{
    folder: folder
  } do
    path = Path.join(folder, "large.log")
    {_, 0} = System.cmd(Program.path("log_events"), [path, "200000", "3", "5000", "50"])
    [_, count, size] = Regex.run(~r/left at the end +(\d+) +([\d.]+) MB/, log!([path]))
    json = Path.join(folder, "j")
    csv = Path.join(folder, "c")
    File.write!(json, log!(["--jsonl", path]))
    File.write!(csv, log!(["--csv", path]))

    script = """
    import csv, json, sys
    a, b = {}, {}
    for line in open(sys.argv[1]):
        d = json.loads(line)
        if d['op'] == 1:
            assert d['p'] not in a
            a[d['p']] = d['size']
        else: del a[d['p']]
    for row in csv.reader(open(sys.argv[2]), delimiter=';'):
        if row[0] == 'free': del b[row[2]]
        else: b[row[2]] = int(row[3])
    assert list(a.values()) == list(b.values())
    print(len(a), '%d.%03d' % divmod(sum(a.values()) // 1000, 1000))
    """

    assert python(script, [json, csv]) == "#{count} #{size}\n"
  end
end
