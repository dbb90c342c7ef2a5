defmodule Mtrace.LogWriterTest do
  # The event log as the traced program's own threads write it: what test/programs/logged.c does to
  # it, and what test/programs/log_check.c, which knows the format alone, finds in it afterwards.
  use ExUnit.Case, async: true
  @moduletag :plain

  import Mtrace.Test.Program

  @workers 4
  @events 30_000

  setup do
    folder = Path.join(System.tmp_dir!(), "mtrace-log-#{System.unique_integer([:positive])}")
    File.mkdir_p!(folder)
    on_exit(fn -> File.rm_rf!(folder) end)
    %{folder: folder, log: Path.join(folder, "log")}
  end

  defp log(context, what, argument \\ nil, env \\ []) do
    args = ["#{@workers}", "#{@events}", what] ++ List.wrap(argument)

    trace("logged", args, env: [{"MTRACE_LOG", context.log}, {"LOG", context.log} | env])
  end

  # What log_check says, as a map.
  defp check(file) do
    {output, status} = System.cmd(path("log_check"), [file, "#{@events}"])
    assert status == 0, output

    output
    |> String.split()
    |> Enum.chunk_every(2)
    |> Map.new(fn [name, value] -> {String.to_atom(name), String.to_integer(value)} end)
  end

  @whole %{
    workers: @workers,
    partly: 0,
    dropped: 0,
    undefined: 0,
    begins: 1,
    ends: 1,
    ending: 0
  }

  test "each event of each thread is there once, in its order", context do
    assert {"", 0} = log(context, "nothing")
    assert %{mode: 600, reason: 0, generation: 0} = found = check(context.log)
    assert @whole = found
    assert found.objects >= 3
    assert found.bytes <= 40
  end

  test "the family is there, a realloc that failed and one that frees among them", context do
    assert {"", 0} = log(context, "family")
    found = check(context.log)
    assert @whole = found
    assert %{reallocs: 3, failed: 1, large: 1} = found
  end

  test "stacks of frees of any depth can be kept", context do
    for frees <- ["0", "1", "2", "7", "64"] do
      assert {"", 0} = log(context, "nothing", nil, [{"MTRACE_LOG_FREES", frees}])
      assert @whole = check(context.log)
    end
  end

  test "the child of a fork writes nothing", context do
    assert {"", 0} = log(context, "forks")
    assert %{doubtful: 0} = found = check(context.log)
    assert @whole = found
  end

  test "threads that end, thousands of them, have written all they had", context do
    assert {"", 0} = log(context, "threads", "3000")
    assert %{doubtful: 3000} = found = check(context.log)
    assert @whole = found
  end

  test "threads that are cancelled harm nothing", context do
    assert {"", 0} = log(context, "cancels")
    assert @whole = check(context.log)
  end

  test "signals interrupt nothing halfway", context do
    assert {"", 0} = log(context, "signals")
    assert @whole = check(context.log)
  end

  test "what handlers jump out of is lost and no more", context do
    assert {"", 0} = log(context, "jumps")
    assert %{partly: 0, workers: workers, ends: 1, undefined: 0} = check(context.log)
    assert workers == @workers + 1
  end

  # The first allocation of a thread gets it a block of ours, and calls this on its way.
  @adopts """
  #define _GNU_SOURCE
  #include <dlfcn.h>
  #include <pthread.h>
  #include <setjmp.h>
  #include <signal.h>
  #include <stdlib.h>

  static volatile sig_atomic_t armed;
  static sigjmp_buf out;

  int pthread_setspecific(pthread_key_t key, const void *value) {
      int (*next)(pthread_key_t, const void *) = dlsym(RTLD_NEXT, "pthread_setspecific");
      if (armed) armed = 0, raise(SIGALRM);
      return next(key, value);
  }

  static void jump(int signal) { siglongjmp(out, signal); }

  static void *allocate(void *unused) {
      armed = 1;
      if (sigsetjmp(out, 1) == 0) free(malloc(10));
      for (volatile int i = 0; i < 1000; i++) free(malloc(777));
      return armed ? unused : NULL;
  }

  int main(void) {
      pthread_t thread;
      void *missed = NULL;
      signal(SIGALRM, jump);
      pthread_create(&thread, NULL, allocate, &thread);
      pthread_join(thread, &missed);
      return missed ? 9 : 0;
  }
  """

  # It was deaf from then on.
  test "a thread whose first allocation a handler jumps out of is logged", context do
    [source, program] = for name <- ~w(adopts.c adopts), do: Path.join(context.folder, name)
    File.write!(source, @adopts)

    {_, 0} =
      System.cmd("cc", ["-rdynamic", "-fno-builtin", "-o", program, source, "-ldl", "-lpthread"])

    assert {"", 0} = trace(program, [], env: [{"MTRACE_LOG", context.log}])
    mtracectl = Path.join(:code.priv_dir(:mtrace), "mtracectl")
    {lines, 0} = System.cmd(mtracectl, ["log", "--jsonl", context.log])
    assert length(Regex.scan(~r/"size": *777\b/, lines)) == 1000
  end

  test "a program that closes all descriptors keeps its log, and its files their bytes",
       context do
    assert {"", 0} = log(context, "closes", Path.join(context.folder, "own"))
    assert @whole = check(context.log)
  end

  test "a relative path means the folder of the start", context do
    sub = Path.join(context.folder, "sub")
    File.mkdir!(sub)
    relative = Path.relative_to_cwd(context.log)
    relative = if Path.type(relative) == :absolute, do: up() <> context.log, else: relative
    assert {"", 0} = log(%{context | log: relative}, "folder", sub)
    assert @whole = check(context.log)
  end

  defp up, do: String.duplicate("../", length(Path.split(File.cwd!())) - 1) <> "."

  test "a file that is moved away stays readable, and a new one begins", context do
    moved = Path.join(context.folder, "moved")
    assert {"", 0} = log(context, "moves", moved)
    assert %{generation: 0, reason: 0, begins: 1, ends: 0, dropped: 0} = check(moved)

    assert %{generation: 1, reason: 2, begins: 1, ends: 1, undefined: 0} =
             found = check(context.log)

    assert found.objects >= 3
  end

  test "where the file is removed a new one begins", context do
    assert {"", 0} = log(context, "removes")
    assert %{generation: 1, reason: 2, begins: 1, ends: 1, undefined: 0} = check(context.log)
  end

  test "kill -9 leaves whole blocks, with the files that stacks lie in", context do
    assert {_, 137} = log(context, "killed")
    assert %{partly: @workers, begins: 1, ends: 0} = found = check(context.log)
    assert found.objects >= 3
  end

  test "what was written before a kill -9 has its stacks, whichever thread met them first",
       context do
    assert {_, 137} = log(context, "asleep")
    assert %{doubtful: 5, undefined: 0, ends: 0} = check(context.log)
  end

  test "what lay in buffers when the file was moved away is counted", context do
    moved = Path.join(context.folder, "moved")
    assert {"", 0} = log(context, "under", moved)
    before = check(moved)
    now = check(context.log)
    assert now.dropped > 0
    assert now.told == now.dropped
    # two for each malloc(4321) and free, and each worker's allocations
    assert before.events + now.events + now.dropped >= 2 * @workers * @events + 10
  end

  test "at exit what other threads have is written, which go on meanwhile", context do
    for _ <- 1..5 do
      assert {"", 0} = log(context, "exits")
      found = check(context.log)

      assert %{partly: workers, doubtful: 0, undefined: 0, dropped: 0, ends: 1, ending: 0} =
               found

      assert workers == @workers + 3
    end
  end

  for what <- ["limited", "none"] do
    test "events that cannot be written are counted, and later ones are there: #{what}",
         context do
      assert {"", 0} = log(context, unquote(what))
      found = check(context.log)
      assert Map.drop(@whole, [:dropped]) == Map.take(found, Map.keys(@whole) -- [:dropped])
      assert found.dropped > 30_000
      assert found.told == found.dropped
    end
  end

  test "a log that became full says so at its end", context do
    assert {"", 0} = log(context, "full")
    found = check(context.log)
    assert %{partly: @workers, begins: 1, ends: 1, ending: 0, undefined: 0} = found
    assert found.told > 100_000
  end

  test "libraries that come and go are told of, each time", context do
    assert {"", 0} = log(context, "loads", path("loaded.so"))
    assert %{gones: 200} = found = check(context.log)
    assert @whole = found
    assert found.objects >= 203
  end

  test "at the limit the file is emptied and begun anew", context do
    assert {"", 0} = log(context, "nothing", nil, [{"MTRACE_LOG_LIMIT", "512K"}])
    assert %{reason: 1, begins: 1, ends: 1, undefined: 0} = found = check(context.log)
    assert found.generation > 2
    assert File.stat!(context.log).size <= 512 * 1024 + 1024
  end

  test "or it ends there, and says so", context do
    limit = [{"MTRACE_LOG_LIMIT", "512K"}, {"MTRACE_LOG_FULL", "stop"}]
    assert {"", 0} = log(context, "nothing", nil, limit)
    assert %{generation: 0, begins: 1, ends: 1, ending: 1, undefined: 0} = check(context.log)
    assert File.stat!(context.log).size <= 512 * 1024 + 1024
  end

  test "%p and %c stand for the process and its name", context do
    assert {"", 0} = log(%{context | log: "#{context.folder}/%c.%p.%%"}, "nothing")
    assert [name] = File.ls!(context.folder)
    assert name =~ ~r/^logged\.\d+\.%$/
    assert @whole = check(Path.join(context.folder, name))
  end

  test "what was there is replaced, what a link leads to is left alone", context do
    other = Path.join(context.folder, "other")
    File.write!(other, "theirs")
    File.ln_s!(other, context.log)
    assert {"", 0} = log(context, "nothing")
    assert @whole = check(context.log)
    File.chmod!(context.log, 0o644)
    assert {"", 0} = log(context, "nothing")
    assert %{mode: 600} = found = check(context.log)
    assert @whole = found
    assert File.read!(other) == "theirs"
  end

  test "a program that another one starts does not take its log away", context do
    script = "#{path("logged")} 1 10 nothing; true"
    env = [{"MTRACE_LOG", context.log}]
    assert {"", 0} = trace("sh", ["-c", script], env: env)
    names = Enum.sort(File.ls!(context.folder))
    assert ["log", "log." <> pid] = names
    assert pid =~ ~r/^\d+$/
  end

  for {file, why} <- [
        {"/dev/full", "No space left on device"},
        {"/no/such/folder/log", "No such file or directory"},
        {"/tmp", "Invalid argument"},
        {"%q", "Invalid argument"}
      ] do
    test "#{file}: the program runs, and is told why there is no log", context do
      assert {output, 0} = log(%{context | log: unquote(file)}, "nothing")

      assert output ==
               "mtrace: MTRACE_LOG cannot be written: #{unquote(why)}: nothing is traced\n"
    end
  end

  test "without MTRACE=1 nothing is written", context do
    env = [{"MTRACE_LOG", context.log}]
    assert {"", 0} = run("logged", ["1", "10", "nothing"], env: env)
    refute File.exists?(context.log)
  end

  for {name, value} <- [
        {"MTRACE_LOG_LIMIT", "12Q"},
        {"MTRACE_LOG_LIMIT", "1K"},
        {"MTRACE_LOG_LIMIT", "99999999G"},
        {"MTRACE_LOG_FULL", "never"},
        {"MTRACE_LOG_FREES", "65"}
      ] do
    test "#{name}=#{value} is refused in one line, and the default stands", context do
      assert {output, 0} = log(context, "nothing", nil, [{unquote(name), unquote(value)}])
      assert output =~ ~r/\Amtrace: #{unquote(name)}=\S+ is not understood, .*\n\z/
      assert @whole = check(context.log)
    end
  end
end
