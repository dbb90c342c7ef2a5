defmodule Mtrace.CtlRunTest do
  # mtracectl run and report, from outside.
  use ExUnit.Case, async: true
  @moduletag :plain

  import Mtrace.Test.Control
  alias Mtrace.Test.Program

  @moduletag :tmp_dir

  defp left, do: Program.path("ctl_left")

  # A program that starts others, by the shell's own means.
  defp shell(options \\ [], script, env \\ []) do
    run(["run"] ++ options ++ ["--", "sh", "-c", script], env: env)
  end

  describe "on a full disk" do
    test "a report that is not whole, and rows that are lost, are failures" do
      assert {"", said, 1} = trace(["--outfile", "/dev/full"], "ctl_left", [])
      assert said =~ "the report is not whole in /dev/full: No space left on device"
      assert {_, _, 7} = trace(["--outfile", "/dev/full"], "ctl_left", ["exit", "7"])

      {port, _} =
        start(
          path(),
          ~w(run --outfile /dev/null --orphans 1 --csv /dev/full) ++ [left(), "wait"]
        )

      said = await(port, "", ~r/not written any further/)
      assert said =~ "/dev/full is not written any further: No space left on device"
      assert {_, 1} = finish(port)
    end
  end

  describe "a program with file capabilities" do
    test "is refused for who would not be given them under a preload" do
      folder =
        Path.join(System.tmp_dir!(), "mtrace-capable-#{System.unique_integer([:positive])}")

      File.mkdir_p!(folder)
      on_exit(fn -> File.rm_rf!(folder) end)

      for file <- [path(), Program.object(), left()],
          do: {_, 0} = System.cmd("cp", [file, folder])

      File.chmod!(folder, 0o755)
      [ours, capable] = for name <- ~w(mtracectl ctl_left), do: Path.join(folder, name)
      nobody = ~w(--reuid=65534 --regid=65534 --clear-groups)

      if Enum.all?(~w(setcap setpriv), &System.find_executable/1) and
           match?(
             {_, 0},
             System.cmd("setcap", ["cap_net_raw+ep", capable], stderr_to_stdout: true)
           ) do
        {said, 1} =
          System.cmd("setpriv", nobody ++ [ours, "run", capable], stderr_to_stdout: true)

        assert said =~ "#{capable} cannot be traced: it has file capabilities"
      end
    end
  end

  describe "a BEAM" do
    test "and what its start script runs is reported with the programs that it starts" do
      out = ["run", "--children", "--outfile", "/dev/stderr", "--", "erl", "-noshell", "-eval"]
      {"", report, 0} = run(out ++ ["halt()."])
      assert report =~ ~r/chunks not freed at the end of process \d+ \(\S*beam\.smp /
      {"", said, 0} = run(["run", "--", "erl", "-noshell", "-eval", "halt()."])
      assert said =~ "has executed another program in its place, beam.smp"
      assert said =~ "give --children"
    end

    test "knows that it runs under mtracectl, and answers all the same" do
      ebin = Path.join(:code.lib_dir(:mtrace), "ebin")

      asks =
        "IO.puts(inspect({Mtrace.status().notes, length(Mtrace.olds(3)), Mtrace.attach()}))"

      {said, _, 0} =
        run(~w(run --children --outfile /dev/null -- elixir -pa) ++ [ebin, "-e", asks])

      assert said =~ ~r/mtracectl runs this node .* mtracectl report \d+ tells/
      assert said =~ ", 3, {:error, :preloaded}}"
    end
  end

  describe "in a container" do
    test "a process is found by its number outside, whatever it calls itself" do
      if match?(
           {_, 0},
           System.cmd("unshare", ~w(-pf --mount-proc true), stderr_to_stdout: true)
         ) do
        inside =
          ~w(-pf --mount-proc) ++ [path(), "run", "--outfile", "/dev/null", left(), "wait"]

        {port, number} = start(System.find_executable("unshare"), inside)
        {found, 0} = System.cmd("pgrep", ["-f", "^#{left()} wait$"])

        outside =
          for pid <- String.split(found),
              File.read!("/proc/#{pid}/status") =~ ~r/^NSpid:.*\t#{number}$/m,
              do: pid

        assert [pid | _] = outside
        refute pid == "#{number}"
        assert {report, "", 0} = run(["report", pid])
        assert report =~ "10 chunks not freed"
        assert report =~ "by process #{pid} "
        assert {_, 0} = finish(port)
      end
    end
  end

  describe "at the end" do
    test "what was not freed is reported by stack, every chunk, with names and totals" do
      {"", report, 0} = trace("ctl_left", [])
      assert report =~ "=== backtrace #1 === [count/peak: 10/10] [size/peak: 1.000 KB/1.000 KB]"
      assert report =~ ~r/\] leak \+0x\w+ \(ctl_left\) .*ctl_left\.c:\d+\n/
      assert report =~ ~r/\] main \+0x/
      assert report =~ "coverage                   : exact; 10 chunks known, 0 ignored"
      assert report =~ ~r{VSS/RSS/shared\)   : \d.* / \d.* / \d}
    end

    test "a library that came to lie where another one did has rows and names of its own" do
      [a, b] = for x <- ~w(a b), do: Program.path("replaced_#{x}.so")

      for libraries <- [[a, b], [b, a, b], [a, a, a, b]] do
        {"1\n", report, 0} = trace("ctl_replaced", libraries)

        for {library, name} <- [{a, "in_a"}, {b, "in_b"}] do
          n = 10 * Enum.count(libraries, &(&1 == library))

          assert [block] = for(part <- String.split(report, " === "), part =~ name, do: part)
          assert block =~ "[count/peak: #{n}/"
          assert block =~ ~r/left_there .*replaced_#{String.last(name)}\.so/
        end
      end
    end

    test "nothing is printed where everything was freed" do
      assert {"", "", 0} = trace("ctl_left", ["clean"])
      assert {"", "", 0} = trace(["--error-exitcode", "9"], "ctl_left", ["clean"])
    end

    test "the program's exit status is ours" do
      assert {_, _, 7} = trace("ctl_left", ["exit", "7"])
      assert {_, _, 9} = trace(["--error-exitcode", "9"], "ctl_left", [])
    end

    # From outside: sh says 128 + the number of what was ended by it.
    test "the signal that ended it ends us, and the report says so" do
      for number <- [6, 9, 11] do
        script = ~s("$0" run "$1" signal #{number} 2>&1; echo "status $?")
        {out, 0} = System.cmd("sh", ["-c", script, path(), left()], stderr_to_stdout: true)
        assert out =~ "status #{128 + number}\n"
        assert out =~ "[count/peak: 10/10]"
        assert out =~ ~r/ctl_left\.c:\d+/
        assert out =~ "was ended by signal #{number} ("
      end
    end

    test "after _exit the tables are read all the same" do
      {_, report, 5} = trace("ctl_left", ["_exit", "5"])
      assert report =~ "[count/peak: 10/10]"
      assert report =~ "ended by _exit"
    end

    test "a sample and other depths and slots are what they say" do
      {_, report, 0} = trace(["--sample"], "ctl_left", [])
      assert report =~ "coverage                   : estimated"
      {_, report, 0} = trace(["--depth", "2", "--slots", "16"], "ctl_left", [])
      assert report =~ ~r/^ 1 \[0x/m
      refute report =~ ~r/^ 2 \[0x/m
    end
  end

  describe "the program" do
    test "has its own standard input and output, folder and arguments" do
      script =
        ~s|cd /; echo "in it" \| "$0" run --outfile /dev/null sh -c 'cat; pwd; echo "$1"' x "a  b"|

      assert {"in it\n/\na  b\n", 0} = System.cmd("sh", ["-c", script, path()])
    end

    test "has no descriptor of ours, and what it starts has neither our object nor variables" do
      {plain, 0} = System.cmd("sh", ["-c", "ls /proc/self/fd; env; true"])
      {traced, _, 0} = shell(["--outfile", "/dev/null"], "ls /proc/self/fd; env; true")

      variables =
        &(&1 |> String.split("\n") |> Enum.reject(fn line -> line =~ ~r/^(_|ERRORS)=/ end))

      assert Enum.sort(variables.(traced)) == Enum.sort(variables.(plain))
    end

    test "keeps an LD_PRELOAD that is there", %{tmp_dir: folder} do
      other = Path.join(folder, "other.so")
      File.write!(Path.join(folder, "other.c"), "int other;\n")
      {_, 0} = System.cmd("cc", ["-shared", "-fPIC", "-o", other, Path.join(folder, "other.c")])

      {out, _, 0} =
        shell(["--outfile", "/dev/null"], "echo $LD_PRELOAD", [{"LD_PRELOAD", other}])

      assert out == other <> "\n"
    end

    test "may be found on the PATH, by a script's interpreter, or through env" do
      assert {_, report, 0} = run(["run", "sort", "/dev/null"])
      refute report =~ "not traced"
      file = Path.join(System.tmp_dir!(), "script-#{System.unique_integer([:positive])}")
      File.write!(file, "#!/bin/sh\nexit 3\n")
      File.chmod!(file, 0o755)
      assert {_, report, 3} = run(["run", file])
      refute report =~ "not traced"
      File.rm!(file)
      assert {_, report, 0} = run(["run", "env", "A=1", left()])
      assert report =~ "[count/peak: 10/10]"
    end

    test "that executes another in its place is said not to be followed" do
      {_, report, 0} = shell(~s(exec "#{left()}"))
      assert report =~ "sh has executed another program in its place, ctl_left"
      refute report =~ "backtrace"
    end

    # Without handlers of ours it was judged by its name.
    test "that calls itself something else is not taken for another one" do
      for options <- [[], ["--no-signals"], ["--signals"]] do
        {_, report, 0} = run(["run"] ++ options ++ [left(), "renamed"])
        assert report =~ "[count/peak: 10/10]"
        refute report =~ "executed another program in its place"
      end

      ignoring = ~s(trap "" QUIT; exec "$0" run "$1" renamed 2>&1)
      {report, 0} = System.cmd("sh", ["-c", ignoring, path(), left()])
      assert report =~ "[count/peak: 10/10]"
      assert report =~ ~r/\d+ ended by _exit: its tables tell/
    end

    test "that has no memory for our tables says so itself, and nothing else is said" do
      limited = ~s(ulimit -v 60000; exec "$0" run "$1" 2>&1)
      {said, 0} = System.cmd("sh", ["-c", limited, path(), left()])
      assert said =~ "mtrace: no memory that can be shared"
      assert said =~ "was not traced: our object was loaded into it, but had no tables to share"
      refute said =~ "was not loaded"
    end

    test "finds behind its variables what the kernel put there" do
      {_, _, 0} = run(["run", left(), "vector"])
      {_, _, 0} = run(["run", left(), "vector"], env: [{"LD_PRELOAD", "/surely/not/there.so"}])
      {_, _, 0} = run(["run", "env", "-i", left(), "vector"])
    end

    test "that has given up most system calls ends as it would without us" do
      {_, report, 0} = run(["run", left(), "strict"])
      assert report =~ "[count/peak: 10/10]"
    end

    test "goes on, and ends well, when mtracectl is killed", %{tmp_dir: folder} do
      file = Path.join(folder, "held")
      script = ~s("$0" run --outfile /dev/null "$1" held "$2" & echo "by $!"; wait)

      port =
        Port.open({:spawn_executable, "/bin/sh"}, [
          :binary,
          :exit_status,
          args: [
            "-c",
            ~s(exec 3<&0; ) <> String.replace(script, "& echo", "<&3 & echo"),
            path(),
            left(),
            file
          ]
        ])

      out = await(port, "", ~r/by \d+\n(.*\n)*\d+\n|^\d+\n(.*\n)*by \d+\n/m)
      [_, mtracectl] = Regex.run(~r/by (\d+)/, out)
      {_, 0} = System.cmd("kill", ["-KILL", mtracectl])
      Port.command(port, "x")
      assert eventually(fn -> File.read(file) == {:ok, "went on"} end)
    end
  end

  defp eventually(condition, tries \\ 1000) do
    cond do
      condition.() -> true
      tries == 0 -> false
      true -> Process.sleep(10) && eventually(condition, tries - 1)
    end
  end

  describe "--children" do
    test "each program that is started reports at its end" do
      {_, report, 0} =
        shell(["--children"], ~s("#{left()}"; "#{left()}" exit 0; "#{left()}" clean; true))

      assert length(Regex.scan(~r/end of process \d+ \(\S*ctl_left\)/, report)) == 1
      assert report =~ ~r/end of process \d+ \(\S*ctl_left exit 0\)/
      refute report =~ "ctl_left clean"
    end

    # Each report had all files read anew, one after the other, and who waited was not looked at.
    test "those that end together are reported whole, and files are read for them once", %{
      tmp_dir: folder
    } do
      read = fn n ->
        out = Path.join(folder, "of#{n}")
        children = String.duplicate(~s("#{left()}" & ), n)
        script = "#{children} wait; exec #{left()} wait"
        {port, _} = start(path(), ~w(run --children --outfile #{out} -- sh -c) ++ [script])
        leak = ~r/\] leak \+0x\w+ \(ctl_left\) \S*ctl_left\.c:\d+\n/
        assert eventually(fn -> length(Regex.scan(leak, File.read!(out))) == n end)
        assert length(Regex.scan(~r/VSS.* \d/, File.read!(out))) == n
        {:os_pid, pid} = Port.info(port, :os_pid)
        [_, bytes] = Regex.run(~r/rchar: (\d+)/, File.read!("/proc/#{pid}/io"))
        finish(port)
        String.to_integer(bytes)
      end

      assert read.(40) < 10 * read.(1)
    end

    test "one that is executed in the same process is followed" do
      {_, report, 0} = shell(["--children"], ~s(exec "#{left()}"))
      assert report =~ "[count/peak: 10/10]"
    end

    test "%p and %c make a file for each, for its owner alone", %{tmp_dir: folder} do
      pattern = Path.join(folder, "%c.%p.%%")

      {_, "", 0} =
        shell(["--children", "--outfile", pattern], ~s("#{left()}"; "#{left()}"; true))

      files = Path.wildcard(Path.join(folder, "ctl_left.*.%"))
      assert length(files) == 2
      for file <- files, do: assert(Bitwise.band(File.stat!(file).mode, 0o777) == 0o600)
    end
  end

  describe "while it runs" do
    test "SIGUSR1 and SIGUSR2 ask for a report, by size and by count" do
      {port, pid} = start(path(), ["run", left(), "wait"])
      System.cmd("kill", ["-USR1", "#{pid}"])
      assert await(port, "", ~r/==\n\z/) =~ ~r/after .* by process #{pid} .*, by size/
      System.cmd("kill", ["-USR2", "#{pid}"])
      assert await(port, "", ~r/calls .*\n/) =~ ~r/, by count/
      assert {report, 0} = finish(port)
      assert report =~ "at the end of process #{pid}"
    end

    test "what is sent to mtracectl is passed on" do
      {port, _} = start(path(), ["run", left(), "wait"])
      {:os_pid, mtracectl} = Port.info(port, :os_pid)
      System.cmd("kill", ["-TERM", "#{mtracectl}"])
      assert {report, 143} = ending(port, "")
      assert report =~ "was ended by signal 15"
    end

    test "SIGQUIT: what was there before does not count" do
      {_, report, 0} = trace("ctl_left", ["reset"])
      assert report =~ "=== backtrace #1 === [count/peak: 1/1] [size/peak: 30 bytes/30 bytes]"
      refute report =~ "#2"
    end

    test "the program's own handler comes first" do
      assert {"own handler\n", report, 0} = trace("ctl_left", ["own"])
      refute report =~ "by process"
    end

    test "the child of a fork is ended by a signal as without us" do
      assert {_, _, 10} = trace("ctl_left", ["fork", "10"])
      assert {_, _, 3} = trace("ctl_left", ["fork", "3"])
    end

    test "--no-signals leaves them alone; --signals takes ignored ones, too" do
      assert {_, report, _} = trace(["--no-signals"], "ctl_left", ["signal", "10"])
      assert report =~ "was ended by signal 10"
      ignoring = ~s(trap "" USR1; exec "$0" run $1 "$2" signal 10 2>&1)
      sh = fn option -> System.cmd("sh", ["-c", ignoring, path(), option, left()]) end
      {report, 0} = sh.("--no-lines")
      refute report =~ "by process"
      {report, 0} = sh.("--signals")
      assert report =~ "by process"
    end

    test "report PID tells what it holds, while it sleeps or is stopped" do
      {port, pid} = start(path(), ["run", "--outfile", "/dev/null", left(), "wait"])
      System.cmd("kill", ["-STOP", "#{pid}"])
      {report, "", 0} = run(["report", "#{pid}"])
      assert report =~ "[count/peak: 10/10]"
      {collapsed, "", 0} = run(["report", "--flame-graph", "#{pid}"])
      assert collapsed =~ ~r/main.*;leak.* \d+\n/
      System.cmd("kill", ["-CONT", "#{pid}"])
      assert {_, 0} = finish(port)
    end
  end

  # In the program alone a constructor that runs before ours tells its number and waits.
  @late """
  #include <stdio.h>
  #include <string.h>
  #include <unistd.h>
  __attribute__((constructor)) static void late(void) {
      char path[4096] = "";
      if (readlink("/proc/self/exe", path, sizeof path - 1) < 0) return;
      if (!strstr(path, "/ctl_left")) return;
      dprintf(1, "%d\\n", (int)getpid());
      if (read(0, path, 1) < 0) return;
  }
  """

  describe "report PID" do
    # It was said to share no tables with anybody.
    test "waits for a program that is being started, and says so where it takes long", %{
      tmp_dir: folder
    } do
      [source, late] = for name <- ~w(late.c late.so), do: Path.join(folder, name)
      File.write!(source, @late)
      {_, 0} = System.cmd("cc", ["-shared", "-fPIC", "-o", late, source])
      run = ["LD_PRELOAD=#{late}", path(), "run", "--outfile", "/dev/null", left(), "wait"]
      {port, pid} = start(System.find_executable("env"), run)
      assert {"", sentence, 1} = run(["report", "#{pid}"])
      assert sentence =~ "#{pid} is being started by mtracectl run and has not handed over"
      asking = Task.async(fn -> run(["report", "#{pid}"]) end)
      Port.command(port, "x")
      # what has just begun may have nothing yet: then there is nothing to report
      by = "by process #{pid} "
      assert {report, "", 0} = Task.await(asking, 30_000)
      assert report == "" or report =~ by
      assert eventually(fn -> elem(run(["report", "#{pid}"]), 0) =~ by end)
      finish(port)
    end

    test "says what else there may be: a fork's child, mtracectl itself, no keeper any more" do
      script = ["sh", "-c", "(sh -c 'echo $PPID'; head -c 1 >/dev/null; :); :"]
      {port, forked} = start(path(), ["run", "--outfile", "/dev/null" | script])
      assert {"", sentence, 1} = run(["report", "#{forked}"])
      assert sentence =~ "#{forked} was forked by a process that is traced"
      finish(port)
      {port, pid} = start(path(), ["run", "--outfile", "/dev/null", left(), "wait"])
      {:os_pid, mtracectl} = Port.info(port, :os_pid)
      assert {"", sentence, 1} = run(["report", "#{mtracectl}"])
      assert sentence =~ "#{mtracectl} is mtracectl itself"
      {_, 0} = System.cmd("kill", ["-KILL", "#{mtracectl}"])

      assert eventually(fn ->
               File.ls("/proc/#{mtracectl}/fd") in [{:ok, []}, {:error, :enoent}]
             end)

      assert {"", sentence, 1} = run(["report", "#{pid}"])
      assert sentence =~ "#{pid} is traced, but the mtracectl that kept its tables has ended"
      {_, 0} = System.cmd("kill", ["-KILL", "#{pid}"])
    end
  end

  describe "bad input is one sentence and a status that is not 0:" do
    test "programs that are not there, or no programs", %{tmp_dir: folder} do
      file = Path.join(folder, "file")
      File.write!(file, "#!/nowhere/interpreter\n")

      for {program, why} <- [
            {"surely-not-there", "in the folders of PATH"},
            {"/surely/not/there", "it is not there"},
            {folder, "it is a folder"},
            {"/etc/passwd", "it is not executable"}
          ] do
        assert {"", sentence, 1} = run(["run", program])
        assert sentence =~ why
        assert length(String.split(sentence, "\n", trim: true)) == 1
      end

      File.chmod!(file, 0o755)
      assert {"", sentence, 1} = run(["run", file])

      assert sentence =~
               "is a script for /nowhere/interpreter: /nowhere/interpreter cannot be run"

      File.write!(file, <<127, "ELF", 0, 0>>)
      assert {"", sentence, 1} = run(["run", file])
      assert sentence =~ "its header is cut off"
    end

    test "programs that we cannot be preloaded into", %{tmp_dir: folder} do
      source = Path.join(folder, "one.c")
      program = Path.join(folder, "one")
      File.write!(source, "int main(void) { return 0; }\n")
      {_, 0} = System.cmd("cc", ["-static", "-o", program, source])
      assert {"", sentence, 1} = run(["run", program])
      assert sentence =~ "it is statically linked"
      {_, 0} = System.cmd("cc", ["-o", program, source])
      elf = File.read!(program)
      <<begin::binary-size(4), _class, rest::binary>> = elf
      File.write!(program, [begin, 1, rest])
      assert {"", sentence, 1} = run(["run", program])
      assert sentence =~ "it is a 32-bit program"
      <<begin::binary-size(18), _machine::16, rest::binary>> = elf
      File.write!(program, [begin, <<2::little-16>>, rest])
      assert {"", sentence, 1} = run(["run", program])
      assert sentence =~ "it is for another machine"
      loader = :binary.replace(elf, "/ld-linux", "/ld-musl-")
      File.write!(program, loader)
      assert {"", sentence, 1} = run(["run", program])
      assert sentence =~ "its C library is musl"
    end

    test "options and arguments" do
      for args <- [
            ["run"],
            ["run", "--"],
            ["run", "--bogus", "true"],
            ["run", "--dept", "5", "true"],
            ["run", "--depth", "1", "true"],
            ["run", "--depth"],
            ["run", "--slots=1e3", "true"],
            ["run", "--children=yes", "true"],
            ["run", "--outfile", "", "true"],
            ["run", "--csv", "x", "true"],
            ["run", "--log-full", "over", "true"],
            ["run", "--log", "x", "--log-limit", "many", "true"],
            ["report"],
            ["report", "x"],
            ["report", "0"],
            ["report", "1", "2"],
            ["attach", "--outfile", "x", "1"],
            ["run", "-x", "true"],
            ["run", "-x5", "true"],
            ["run", "-s", "true"],
            ["run", "-sbogus", "true"],
            ["log", "-x5", "file"],
            ["show", "-x5", "file"],
            ["nonsense"]
          ] do
        assert {"", sentence, 2} = run(args)
        assert length(String.split(sentence, "\n", trim: true)) == 1, inspect({args, sentence})
      end
    end

    # A folder that was mistyped was not searched, and nobody was told.
    test "folders of --libraries that are not there, are none, or may not be searched", %{
      tmp_dir: folder
    } do
      for command <- [["run", "echo"], ["report", "1"], ["show", "x"], ["log", "x"]],
          {folders, why} <- [
            {"/surely/not/there", "--libraries /surely/not/there: there is no such folder"},
            {"#{folder}:/surely", "--libraries /surely: there is no such folder"},
            {"/etc/passwd", "--libraries /etc/passwd: it is no folder"},
            {"/etc/passwd/x", "--libraries /etc/passwd/x: Not a directory"}
          ] do
        [name | arguments] = command
        assert {"", sentence, 2} = run([name, "--libraries", folders | arguments])
        assert sentence =~ why
        assert length(String.split(sentence, "\n", trim: true)) == 1
      end

      assert {"", _, 0} = run(["run", "--libraries", ":#{folder}:", left(), "clean"])
      closed = Path.join(folder, "closed")
      File.mkdir!(closed)
      File.chmod!(closed, 0o644)
      nobody = ~w(--reuid=65534 --regid=65534 --clear-groups)

      if System.find_executable("setpriv") &&
           match?({_, 0}, System.cmd("setpriv", nobody ++ ["test", "-x", path()])) do
        {said, 2} =
          System.cmd("setpriv", nobody ++ [path(), "run", "--libraries", closed, "true"],
            stderr_to_stdout: true
          )

        assert said =~ "--libraries #{closed}: the folder may not be searched"
      end
    end

    test "outfiles that cannot be written, before the program is started" do
      for file <- ["/surely/not/there", "/surely/not/%p", "/"] do
        assert {"", sentence, 1} = run(["run", "--outfile", file, "echo", "started"])
        assert sentence =~ file
        assert {"", _, 1} = run(["run", "--log", file, "echo", "started"])
      end
    end

    test "reports that become larger than what there is room for" do
      assert {"", sentence, 1} = run(["run", "--outfile", "/dev/full", left()])
      assert sentence =~ "the report is not whole in /dev/full: No space left on device"
      assert {"", _, 7} = run(["run", "--outfile", "/dev/full", left(), "exit", "7"])

      {port, pid} = start(path(), ["run", "--outfile", "/dev/null", left(), "wait"])
      full = ~s(exec "#{path()}" report #{pid} 2>&1 >/dev/full)
      assert {sentence, 1} = System.cmd("sh", ["-c", full])
      assert sentence =~ "the report is not whole in stdout: No space left on device"
      finish(port)
    end

    test "processes that are gone, or not traced" do
      {port, pid} = start(left(), ["wait"])
      assert {"", sentence, 1} = run(["report", "#{pid}"])
      assert sentence =~ "#{pid} is not traced: start it with mtracectl run"
      assert {"", sentence, 1} = run(["detach", "#{pid}"])
      assert sentence =~ "is not traced"
      finish(port)
      assert {"", sentence, 1} = run(["report", "#{pid}"])
      assert sentence =~ ~r/there is no process|has ended/
    end

    test "names with escape sequences reach no terminal" do
      {_, sentence, 1} = run(["run", "/no\e[31mwhere"])
      refute sentence =~ "\e"
    end
  end

  describe "--orphans" do
    # 1 s is the smallest; the program waits until a row for its chunks has come.
    test "what is older is written once, with its stack, and that it went, too", %{
      tmp_dir: folder
    } do
      csv = Path.join(folder, "orphans.csv")
      options = ["--orphans", "1", "--csv", csv, "--outfile", "/dev/null"]
      {port, pid} = start(path(), ["run"] ++ options ++ [left(), "freed"])
      rows = fn -> csv |> File.read!() |> String.split("\n", trim: true) end
      assert eventually(fn -> length(rows.()) == 10 end)

      assert Enum.all?(
               rows.(),
               &(&1 =~ ~r/^"malloc";#{pid};\d+;100;\d{13};".*""f"":""leak"".*"$/)
             )

      assert {_, 0} = finish(port)
      {freed, old} = Enum.split_with(rows.(), &String.starts_with?(&1, ~s("free")))

      addresses = fn rows ->
        rows |> Enum.map(&Enum.at(String.split(&1, ";"), 2)) |> Enum.sort()
      end

      assert length(old) == 10
      assert addresses.(freed) == addresses.(old)
      assert Bitwise.band(File.stat!(csv).mode, 0o777) == 0o600
    end

    # The file that was moved away was written on, and no new one was made.
    test "a file that was moved away is begun anew", %{tmp_dir: folder} do
      csv = Path.join(folder, "orphans.csv")
      moved = Path.join(folder, "moved.csv")
      options = ["--orphans", "1", "--csv", csv, "--outfile", "/dev/null"]
      {port, _} = start(path(), ["run"] ++ options ++ [left(), "freed"])
      lines = fn file -> file |> File.read!() |> String.split("\n", trim: true) end
      assert eventually(fn -> length(lines.(csv)) == 10 end)
      File.rename!(csv, moved)
      assert {_, 0} = finish(port)
      assert length(lines.(moved)) == 10
      assert [_ | _] = lines.(csv)
      assert Enum.all?(lines.(csv), &String.starts_with?(&1, ~s("free")))
    end

    test "needs every chunk, and a file that can be written" do
      assert {"", _, 2} = run(["run", "--sample", "--orphans", "1", "--csv", "x", "true"])

      assert {"", sentence, 1} =
               run(["run", "--orphans", "1", "--csv", "/surely/not", "echo", "x"])

      assert sentence =~ "/surely/not cannot be written"
    end
  end

  test "its version is that of the package" do
    assert {"mtracectl " <> version, "", 0} = run(["--version"])
    assert String.trim(version) == to_string(Application.spec(:mtrace, :vsn))
  end

  test "the help fits into 80 columns" do
    for command <- [
          ["--help"],
          ["run", "--help"],
          ["report", "--help"],
          ["attach", "-h"],
          ["detach", "-h"]
        ] do
      {help, "", 0} = run(command)
      assert help =~ "usage:"
      for line <- String.split(help, "\n"), do: assert(String.length(line) <= 80, line)
    end
  end
end
