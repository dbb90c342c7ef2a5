defmodule Mtrace.CtlAttachTest do
  # mtracectl attach and detach, with gdb. One at a time: a debugger stops what it holds.
  use ExUnit.Case, async: false
  @moduletag :plain

  import Mtrace.Test.Control
  alias Mtrace.Test.Program

  defp program, do: Program.path("ctl_attached")

  defp gdb?, do: System.find_executable("gdb") != nil

  defp allocated?(pid) do
    {report, "", 0} = run(["report", "#{pid}"])
    report =~ ~r/\] leave \+0x\w+ \(ctl_attached\)/
  end

  defp eventually(condition, tries \\ 500) do
    condition.() or
      (tries > 0 and Process.sleep(20) == :ok and eventually(condition, tries - 1))
  end

  test "a busy process is attached to, asked, detached from, again, and ends well" do
    if gdb?() do
      {port, pid} = start(program(), [])

      for options <- [[], ["--sample"], ["--depth", "4"]] do
        assert {out, "", 0} = run(["attach"] ++ options ++ ["#{pid}"])
        assert out =~ "#{pid} is traced from now on"
        assert eventually(fn -> allocated?(pid) end)
        assert {"", sentence, 1} = run(["attach", "#{pid}"])
        assert sentence =~ "is traced already"
        {last, "", 0} = run(["detach", "#{pid}"])
        assert last =~ "] leave +0x"
        assert {"", sentence, 1} = run(["detach", "#{pid}"])
        assert sentence =~ "is not traced any more"
      end

      assert finish(port) == {"well\n", 0}
    end
  end

  test "attaching and detaching leave no chunk in the program" do
    if gdb?() do
      {port, pid} = start(Program.path("ctl_left"), ["wait"])

      for _ <- 1..2 do
        {_, "", 0} = run(["attach", "#{pid}"])
        assert {"", "", 0} = run(["detach", "#{pid}"])
      end

      finish(port)
    end
  end

  @tag :tmp_dir
  test "a log begins with an attach, in our folder, and ends with the detach; so does the next",
       %{tmp_dir: folder} do
    if gdb?() do
      {port, pid} = start(program(), [])

      for {name, i} <- Enum.with_index(["one", "two", "%p"]) do
        script = ~s(cd "$1" && exec "$0" attach --log "$2" "$3")
        {out, 0} = System.cmd("sh", ["-c", script, path(), folder, name, "#{pid}"])
        assert out =~ "#{pid} is logged from now on into #{name}"
        Process.sleep(200)
        {_, "", 0} = run(["detach", "#{pid}"])
        file = Path.join(folder, String.replace(name, "%p", "#{pid}"))
        {summary, _, 0} = run(["log", file])
        assert summary =~ "told to trace no more"
        refute summary =~ "could not be written"
        {left, _, 0} = run(["log", "--report", file])
        assert left =~ "leave"
        # The table in between, with what was left then alone.
        if i == 0 do
          {_, "", 0} = run(["attach", "--sample", "#{pid}"])
          assert eventually(fn -> allocated?(pid) end)
          {report, "", 0} = run(["report", "#{pid}"])
          assert report =~ "estimated"
          {_, "", 0} = run(["detach", "#{pid}"])
          {_, "", 0} = run(["attach", "#{pid}"])
          assert eventually(fn -> allocated?(pid) end)
          {report, "", 0} = run(["report", "#{pid}"])
          assert report =~ "exact"
          {_, "", 0} = run(["detach", "#{pid}"])
        end
      end

      assert {"", sentence, 1} = run(["attach", "--log", "/no/such/folder/x", "#{pid}"])
      assert sentence =~ "/no/such/folder/x cannot be written"
      assert finish(port) == {"well\n", 0}
    end
  end

  test "a process that is stopped is left alone, and why is said" do
    if gdb?() do
      {port, pid} = start(program(), [])
      System.cmd("kill", ["-STOP", "#{pid}"])
      assert eventually(fn -> File.read!("/proc/#{pid}/status") =~ ~r/State:\s+T/ end)
      assert {"", sentence, 1} = run(["attach", "#{pid}"])
      assert sentence =~ "#{pid} is stopped, and nothing can be called in it: let it go on"
      assert File.read!("/proc/#{pid}/status") =~ ~r/State:\s+T/
      System.cmd("kill", ["-CONT", "#{pid}"])
      assert finish(port) == {"well\n", 0}
    end
  end

  test "the tables' descriptor is high, closed on exec, and the only one that is left" do
    if gdb?() do
      {port, pid} = start(program(), [])
      before = File.ls!("/proc/#{pid}/fd")
      {_, "", 0} = run(["attach", "#{pid}"])
      assert [fd] = File.ls!("/proc/#{pid}/fd") -- before
      assert String.to_integer(fd) >= 100
      assert File.read!("/proc/#{pid}/fdinfo/#{fd}") =~ ~r/flags:\s+0[1-7]?2[0-7]{6}/
      assert finish(port) == {"well\n", 0}
    end
  end

  test "an old process whose mtracectl is killed in the middle goes on" do
    if gdb?() do
      {port, pid} = start(program(), [])

      for ms <- [20, 60, 120, 200, 300] do
        asked =
          Port.open({:spawn_executable, path()}, [
            :binary,
            :exit_status,
            args: ["attach", "#{pid}"]
          ])

        {:os_pid, mtracectl} = Port.info(asked, :os_pid)
        Process.sleep(ms)
        System.cmd("kill", ["-KILL", "#{mtracectl}"], stderr_to_stdout: true)
        # gdb, whose input has ended with it, lets go.
        assert eventually(fn -> File.read!("/proc/#{pid}/status") =~ ~r/TracerPid:\s+0\n/ end)
      end

      assert finish(port) == {"well\n", 0}
    end
  end

  test "what is statically linked is left alone" do
    if gdb?() do
      folder = Path.join(System.tmp_dir!(), "static-#{System.unique_integer([:positive])}")
      File.mkdir_p!(folder)
      source = Path.expand("../programs/ctl_left.c", __DIR__)
      {_, 0} = System.cmd("cc", ["-static", "-o", Path.join(folder, "static"), source])
      {port, pid} = start(Path.join(folder, "static"), ["wait"])
      assert {"", sentence, 1} = run(["attach", "#{pid}"])
      assert sentence =~ "#{pid} cannot be traced: it is statically linked"
      assert {"", 0} = finish(port)
      File.rm_rf!(folder)
    end
  end

  test "what mtracectl run has started cannot be detached, nor attached to" do
    {port, pid} = start(path(), ["run", "--outfile", "/dev/null", program()])
    assert {"", sentence, 1} = run(["detach", "#{pid}"])
    assert sentence =~ "was started by mtracectl run"
    assert {"", sentence, 1} = run(["attach", "#{pid}"])
    assert sentence =~ "is traced already"
    assert finish(port) == {"well\n", 0}
  end

  test "without gdb there is a sentence" do
    {port, pid} = start(program(), [])
    assert {"", sentence, 1} = run(["attach", "#{pid}"], env: [{"PATH", "/surely/not"}])
    assert sentence =~ "gdb is not installed"
    assert finish(port) == {"well\n", 0}
  end
end
