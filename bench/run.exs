# The rows of bin/bench. Each program runs in turn without Mtrace, sampling and exact, and beside them
# with every other tool that is installed, round after round; the figures are the minimum and the
# median of the rounds, the ratios those of the minima.
defmodule Bench do
  @root File.cwd!()
  @object Path.join(@root, "priv/mtrace.so")
  @build Path.join(@root, "bench/build")

  # How a program is run: its environment, and what stands before its command.
  def plain, do: {"without", [], []}
  def sampling, do: {"sampling", [{"LD_PRELOAD", @object}, {"MTRACE", "1"}], []}

  def exact do
    {"exact",
     [
       {"LD_PRELOAD", @object},
       {"MTRACE", "1"},
       {"MTRACE_INTERVAL", "0"},
       {"MTRACE_DEPTH", "16"},
       {"MTRACE_SLOTS", "1048576"}
     ], []}
  end

  # Every event into a file, as mtracectl run --log.
  def log do
    {"log",
     [
       {"LD_PRELOAD", @object},
       {"MTRACE", "1"},
       {"MTRACE_DEPTH", "16"},
       {"MTRACE_LOG", Path.join(scratch(), "%c.%p.log")}
     ], []}
  end

  defp scratch do
    dir = Path.join(System.tmp_dir!(), "mtrace-bench")
    File.mkdir_p!(dir)
    dir
  end

  defp remove_logs, do: Enum.each(Path.wildcard(Path.join(scratch(), "*.log")), &File.rm/1)

  # As sampling, but switched on while the program runs; for the programs of bench/ alone, which
  # start no others.
  def attached do
    {"attached",
     [
       {"LD_PRELOAD", Path.join(@build, "attach.so")},
       {"MTRACE_OBJECT", @object}
     ], []}
  end

  # heaptrack is run without its interpreter, which works in another process.
  def others do
    dir = scratch()

    heaptrack =
      Enum.flat_map(["/usr/lib/heaptrack", "/usr/lib/*/heaptrack"], fn place ->
        Path.wildcard(Path.join(place, "libheaptrack_preload.so"))
      end)
      |> List.first("none")

    jemalloc = "prof:true,prof_active:true,lg_prof_sample:19,prof_prefix:#{dir}/je"

    [
      {"heaptrack", heaptrack, [{"DUMP_HEAPTRACK_OUTPUT", "/dev/null"}]},
      {"jemalloc's profiler", "libjemalloc.so.2", [{"MALLOC_CONF", jemalloc}]},
      {"tcmalloc's profiler", "libtcmalloc.so.4", [{"HEAPPROFILE", Path.join(dir, "tc")}]}
    ]
    |> Enum.flat_map(fn {name, library, env} ->
      env = [{"LD_PRELOAD", library} | env]
      if library?(library) and works?(env), do: [{name, env, []}], else: []
    end)
  end

  # Hundreds of times slower: on the smallest workload only.
  defp dhat do
    case System.find_executable("valgrind") do
      nil ->
        []

      path ->
        [{"valgrind's dhat", [], [path, "-q", "--tool=dhat", "--dhat-out-file=/dev/null"]}]
    end
  end

  defp fits?({"valgrind's dhat", _, _}, name), do: name =~ "pair"
  defp fits?({"attached", _, _}, name), do: name not in Enum.map(real(), &elem(&1, 0))
  defp fits?(_, _), do: true

  defp library?(name) do
    {output, 0} = System.cmd("sh", ["-c", "ldconfig -p 2>/dev/null || /sbin/ldconfig -p"])
    File.exists?(name) or output =~ name
  end

  # A jemalloc that was built without its profiler says so and goes on.
  defp works?(env) do
    System.cmd("env", pairs(env) ++ ["true"], stderr_to_stdout: true) == {"", 0}
  end

  # One run: what the program prints last, or the processor seconds it took.
  defp run({_, env, before}, {kind, command, args}) do
    traced = ["env" | pairs(env)] ++ before ++ [command | args]
    cpu = Path.join(@build, "cpu")

    [first | rest] =
      case kind do
        :prints -> traced
        :seconds -> [cpu | traced]
        :passed -> [cpu, "-w" | traced]
      end

    {output, status} = System.cmd(first, rest, stderr_to_stdout: true, cd: @build)
    if status != 0, do: raise("#{command} failed:\n#{output}")
    remove_logs()
    output |> String.split() |> Enum.flat_map(&number/1) |> List.last()
  end

  defp pairs(env), do: for({name, value} <- env, do: "#{name}=#{value}")

  defp number(word) do
    case Float.parse(word) do
      {n, ""} -> [n]
      _ -> []
    end
  end

  # All ways in turn, round after round: a machine that gets slower gets slower for all.
  def measure(program, ways, rounds) do
    rows = for _ <- 1..rounds, do: Enum.map(ways, &run(&1, program))

    rows
    |> Enum.zip_with(&{Enum.min(&1), Enum.at(Enum.sort(&1), div(length(&1), 2))})
    |> Enum.zip(Enum.map(ways, &elem(&1, 0)))
    |> Map.new(fn {figures, name} -> {name, figures} end)
  end

  def workload(name), do: {:prints, Path.join(@build, "workloads"), [name]}

  def programs do
    [
      {"malloc+free pair, 64 B", "ns", workload("pair")},
      {"10,000 live chunks, 10 frames deep", "ns", workload("live")},
      {"the same on 2 threads", "ns", workload("live2")},
      {"freed by another thread", "ns", workload("handoff")},
      {"realloc growth", "ns", workload("growth")},
      {"C++ containers", "ns", {:prints, Path.join(@build, "containers"), []}}
    ] ++ real()
  end

  @json "import json; [json.loads(json.dumps([{'a': i, 'b': [str(i)] * 3} for i in range(40000)])) for _ in range(8)]"
  @sql "create table t(a integer, b text); with recursive n(i) as (select 1 union all select i+1 from n where i<400000) insert into t select i, hex(i*7919) from n; create index x on t(b); select count(distinct b) from t where b like '%A%';"

  # Compiled where the objects may lie about.
  @sources Enum.flat_map(
             ["record", "name", "hook"],
             &Path.wildcard(Path.join(@root, "c_src/#{&1}/*.c"))
           )

  defp real do
    [
      {"python3, JSON", "python3", ["-c", @json]},
      {"gcc -O2", "gcc",
       ["-O2", "-c", "-I#{@root}/c_src", "-D_GNU_SOURCE", "-fPIC"] ++ @sources},
      {"sqlite3", "sqlite3", [":memory:", @sql]}
    ]
    |> Enum.flat_map(fn {name, command, args} ->
      case System.find_executable(command) do
        nil -> []
        path -> [{name, "s", {:seconds, resolved(command, path), args}}]
      end
    end)
    |> Kernel.++(beam())
  end

  # A version manager's shim is a shell script; measured is the program.
  defp resolved("python3", path) do
    case System.cmd(path, ["-c", "import sys; print(sys.executable)"]) do
      {output, 0} -> String.trim(output)
      _ -> path
    end
  end

  defp resolved(_, path), do: path

  defp beam do
    ebin = Path.join(@root, "_build/test/lib/mtrace/ebin")
    nif = "Mtrace.Test.Leaky.churn(100, 50_000_000)"

    [
      {"BEAM boot", "s", {:seconds, "erl", ["-noshell", "-eval", "halt()."]}},
      {"NIF that allocates", "s", {:seconds, "elixir", ["-pa", ebin, "-e", nif]}}
    ]
  end

  def ratio(figures, name) do
    with {min, median} <- figures[name],
         {base, base_median} <- figures["without"] do
      "#{round2(min / base)}× (#{round2(median / base_median)}×)"
    else
      _ -> "–"
    end
  end

  def round2(x) when x >= 10, do: :erlang.float_to_binary(x / 1, decimals: 1)
  def round2(x), do: :erlang.float_to_binary(x / 1, decimals: 2)

  def table(rounds, only) do
    ways = [plain(), sampling(), attached(), exact(), log() | others()] ++ dhat()
    names = tl(Enum.map(ways, &elem(&1, 0)))

    rows =
      for {name, unit, program} <- programs(), only == nil or name =~ only do
        figures = measure(program, Enum.filter(ways, &fits?(&1, name)), rounds)
        {min, _} = figures["without"]
        cells = Enum.map(names, &ratio(figures, &1))
        IO.puts(:stderr, "#{name}: #{round2(min)} #{unit}, " <> Enum.join(cells, ", "))
        "| #{name} | #{round2(min)} #{unit} | #{Enum.join(cells, " | ")} |"
      end

    [
      "| | without | #{Enum.join(names, " | ")} |",
      "|---|---|#{String.duplicate("---|", length(names))}" | rows
    ]
  end

  # The budget: a program that does nothing but allocate below 40 frames.
  def budgets(rounds) do
    fixed = {"fast path", elem(sampling(), 1) ++ [{"MTRACE_INTERVAL", "17592186044416"}], []}

    ways =
      [plain(), fixed] ++
        for b <- ["0.1", "1", "10"],
            do: {b <> " %", elem(sampling(), 1) ++ [{"MTRACE_BUDGET", b}], []}

    # a mean, not the best of many: it takes more of them
    figures = measure(workload("deep"), ways, 4 * rounds)
    {base, _} = figures["without"]

    [
      "| budget | ns a pair | slower than without |",
      "|---|---|---|"
      | for {name, _, _} <- ways do
          {min, _} = figures[name]
          "| #{name} | #{round2(min)} | #{round2(100 * (min / base - 1))} % |"
        end
    ]
  end

  # As their users run them: everything that the command does, by the clock.
  def commands(rounds) do
    ctl = Path.join(@root, "priv/mtracectl")
    file = &Path.join(scratch(), &1)

    heaptrack =
      case System.find_executable("heaptrack") do
        nil -> []
        path -> [{"heaptrack", [], [path, "-o", file.("heaptrack")]}]
      end

    ways =
      [
        plain(),
        {"mtracectl run", [], [ctl, "run", "--outfile", file.("report.txt"), "--"]},
        {"mtracectl run --log", [], [ctl, "run", "--log", file.("events.log"), "--"]}
      ] ++ heaptrack

    names = tl(Enum.map(ways, &elem(&1, 0)))

    rows =
      for {name, program} <- whole() do
        figures = measure(program, ways, rounds)
        {min, _} = figures["without"]
        cells = Enum.map(names, &ratio(figures, &1))
        IO.puts(:stderr, "#{name}: #{round2(min)} s, " <> Enum.join(cells, ", "))
        "| #{name} | #{round2(min)} s | #{Enum.join(cells, " | ")} |"
      end

    Enum.each(Path.wildcard(file.("heaptrack*")), &File.rm/1)

    [
      "| | without | #{Enum.join(names, " | ")} |",
      "|---|---|#{String.duplicate("---|", length(names))}" | rows
    ]
  end

  # gcc starts its compiler as another program, which heaptrack does not follow.
  defp whole do
    {cc1, 0} = System.cmd("gcc", ["-print-prog-name=cc1"])
    source = Path.join(@root, "c_src/name/objects.c")
    plain = Path.join(scratch(), "objects.i")
    {_, 0} = System.cmd("gcc", ["-E", "-D_GNU_SOURCE", "-I#{@root}/c_src", source, "-o", plain])
    compile = ["-quiet", "-fpreprocessed", "-O2", "-g", plain, "-o", "/dev/null"]

    [
      {"C++ containers", Path.join(@build, "containers"), []},
      {"gcc's cc1 -O2", String.trim(cc1), compile}
    ]
    |> Enum.map(fn {name, command, args} -> {name, {:passed, command, args}} end)
    |> Kernel.++(
      for {name, "s", {:seconds, command, args}} <- real(),
          name in ["python3, JSON", "sqlite3"] do
        {name, {:passed, command, args}}
      end
    )
  end

  def starts do
    start = Path.join(@build, "start")

    preloads = [
      {"nothing", []},
      {"an empty object", [Path.join(@build, "empty.so")]},
      {"Mtrace, not tracing", [@object]}
    ]

    best =
      for {name, args} <- preloads do
        us =
          for _ <- 1..5 do
            {output, 0} = System.cmd(start, ["400", "/bin/true" | args])
            output |> String.trim() |> String.to_float()
          end

        {name, Enum.min(us)}
      end

    {_, empty} = Enum.at(best, 1)

    ["| preloaded | µs a start of /bin/true | to the empty object |", "|---|---|---|"] ++
      for {name, us} <- best, do: "| #{name} | #{round2(us)} | #{round2(us / empty)}× |"
  end

  # In a BEAM of its own: the core's memory, and the names of a full table.
  def inside do
    ebin = Path.join(@root, "_build/test/lib/mtrace/ebin")

    expression = """
    Mtrace.configure(interval: 0); Mtrace.reset()
    Mtrace.Test.Leaky.leak(:malloc, 10, 6000)
    naming = fn -> :timer.tc(fn -> length(Mtrace.snapshot().chunks) end) end
    {cold, n} = naming.()
    warm = Enum.min(for _ <- 1..5, do: elem(naming.(), 0))
    status = Mtrace.status()
    IO.puts("\#{status.own_bytes} \#{n} \#{cold} \#{warm} \#{status.naming_bytes}")
    """

    {output, 0} =
      System.cmd("env", ["LD_PRELOAD=#{@object}", "elixir", "-pa", ebin, "-e", expression])

    [own, n, cold, warm, kept] = output |> String.split() |> Enum.map(&String.to_integer/1)

    [
      "- The core's own memory in a BEAM: #{round2(own / 1_048_576)} MiB mapped (`own_bytes`).",
      "- `Mtrace.snapshot/0` with the names of #{n} stacks: #{round2(cold / 1000)} ms the first " <>
        "time, #{round2(warm / 1000)} ms again; names keep #{round2(kept / 1024)} KiB " <>
        "(`naming_bytes`)."
    ]
  end

  # A call of a NIF that does nothing, with and without Mtrace's note of who called.
  def calls(rounds) do
    ebin = Path.join(@root, "_build/test/lib/mtrace/ebin")

    program = """
    defmodule Calls do
      def many(0), do: :ok
      def many(n) do
        Mtrace.Test.Leaky.same(n)
        many(n - 1)
      end
    end
    Mtrace.stats()
    best = Enum.min(for _ <- 1..500, do: elem(:timer.tc(fn -> Calls.many(20_000) end), 0))
    IO.puts(best / 20)
    """

    ways = for n <- ["0", "1"], do: {n, [{"LD_PRELOAD", @object}, {"MTRACE_BEAM", n}], []}
    figures = measure({:prints, "elixir", ["-pa", ebin, "-e", program]}, ways, rounds)
    {without, _} = figures["0"]
    {with, median} = figures["1"]

    "- A call of a NIF that does nothing, in a loop: #{round2(without)} ns with `MTRACE_BEAM=0`, " <>
      "#{round2(with)} ns (median #{round2(median)}) where callers are noted."
  end

  # A log of some million events: how large, and how fast it is read.
  def logs(rounds) do
    {_, env, _} = log()
    workload = Path.join(@build, "workloads")
    {_, 0} = System.cmd(workload, ["live"], env: env, stderr_to_stdout: true)
    [file] = Path.wildcard(Path.join(scratch(), "workloads.*.log"))
    mtracectl = Path.join(@root, "priv/mtracectl")
    read = fn option -> System.cmd(mtracectl, ["log", option, file], stderr_to_stdout: true) end

    {summary, 0} = read.("--top=0")
    [_, events] = Regex.run(~r/^(\d+) events/m, summary)
    events = String.to_integer(events)

    seconds =
      for _ <- 1..rounds do
        {us, {_, 0}} = :timer.tc(fn -> read.("--remaining") end)
        us / 1_000_000
      end

    bytes = File.stat!(file).size
    remove_logs()

    "- The event log of \"10,000 live chunks\": #{events} events, #{round2(bytes / events)} bytes an event; " <>
      "`mtracectl log --remaining` reads #{round2(events / Enum.min(seconds) / 1_000_000)} million " <>
      "events a second."
  end

  def machine do
    {kernel, 0} = System.cmd("uname", ["-r"])
    [kernel] = Regex.run(~r/^[0-9]+\.[0-9]+/, kernel)
    {machine, 0} = System.cmd("uname", ["-m"])
    {libc, 0} = System.cmd("getconf", ["GNU_LIBC_VERSION"])

    "#{System.schedulers()} processors, Linux #{kernel}, #{String.trim(machine)}, #{String.trim(libc)}, " <>
      "OTP #{System.otp_release()}, Elixir #{System.version()}"
  end

  def main(args) do
    {options, [], []} = OptionParser.parse(args, strict: [rounds: :integer, only: :string])
    rounds = options[:rounds] || 7

    case options[:only] do
      nil -> write(rounds)
      "commands" -> IO.puts(Enum.join(commands(rounds), "\n"))
      only -> IO.puts(Enum.join(table(rounds, only), "\n"))
    end
  end

  defp write(rounds) do
    text = """
    # What Mtrace costs

    Written by `bin/bench` on a machine with #{machine()}. Each figure is the minimum (in brackets:
    the median) of #{rounds} rounds in which all ways took turns, as a ratio to the same program
    without. The first column is the minimum without: for the programs of `bench/` nanoseconds per
    operation, for the others processor seconds in all.
    *Attached* is sampling that was switched on after the start (`Mtrace.attach/1`).
    *Exact* records every chunk with its stack (`MTRACE_INTERVAL=0 MTRACE_DEPTH=16
    MTRACE_SLOTS=1048576`, as `mtracectl run` has it); *log* writes every allocation and free into a
    file (`MTRACE_LOG`). heaptrack, which is preloaded without its interpreter, writes to /dev/null.

    #{Enum.join(table(rounds, nil), "\n")}

    Whole commands as they are typed, by the clock, with what they write into files:
    `mtracectl run PROGRAM` with its report, `mtracectl run --log FILE PROGRAM`, and `heaptrack
    PROGRAM`, whose interpreter and compressor work beside it:

    #{Enum.join(commands(rounds), "\n")}

    A program that allocates and frees 64 bytes below 40 frames, and nothing else, by budget; the
    fast path alone is an interval so large that nothing is drawn:

    #{Enum.join(budgets(rounds), "\n")}

    A process that merely inherits the preload:

    #{Enum.join(starts(), "\n")}

    #{Enum.join(inside() ++ [calls(rounds), logs(rounds)], "\n")}
    """

    File.write!(Path.join(@root, "bench/RESULTS.md"), text)
    IO.puts(text)
  end
end

Bench.main(System.argv())
