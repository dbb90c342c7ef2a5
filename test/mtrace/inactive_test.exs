defmodule Mtrace.InactiveTest do
  # In a BEAM that Mtrace is not preloaded into, or not in front of malloc.
  use ExUnit.Case, async: true
  @moduletag :plain

  alias Mtrace.Test.Program

  # Evaluates an expression in a BEAM of its own and returns what it prints.
  defp beam(expression, options) do
    ebin = Path.join(:code.lib_dir(:mtrace), "ebin")
    {output, status} = Program.run("elixir", ["-pa", ebin, "-e", expression], options)
    assert status == 0, output
    output
  end

  test "a name in LD_PRELOAD that could not be loaded is not taken for another allocator" do
    output =
      beam("IO.inspect(Mtrace.status().reason); IO.puts(Mtrace.status().message)",
        preload: ["nowhere/mtrace.so"]
      )

    assert output =~ ":late"
    assert output =~ ~r/it was not there when the node started/
    assert output =~ ~r"LD_PRELOAD=/.*/priv/mtrace\.so$"
  end

  test "each call says in one sentence that it is not active and what to do" do
    for call <- [
          &Mtrace.olds/0,
          fn -> Mtrace.olds(3, true) end,
          &Mtrace.stats/0,
          &Mtrace.reset/0,
          &Mtrace.snapshot/0,
          &Mtrace.sites/0,
          fn -> Mtrace.configure(depth: 10) end
        ] do
      error = assert_raise Mtrace.InactiveError, call
      assert error.reason == :inactive
      assert error.message =~ "was not preloaded"
      assert error.message =~ ~r"LD_PRELOAD=/.*/priv/mtrace\.so$"
    end
  end

  test "the remedy that the message names works" do
    %{message: message} = Mtrace.status()
    [_, path] = Regex.run(~r/LD_PRELOAD=(\S+)$/, message)
    assert beam("IO.inspect(Mtrace.status().active)", preload: [path]) == ":preloaded\n"
  end

  test "status/0 answers" do
    assert %{active: :inactive, reason: :inactive, message: _, object: object} = Mtrace.status()
    assert Path.basename(object) == "mtrace.so"
  end

  @callers """
  leak = fn -> address = Mtrace.Test.Leaky.leak(:malloc, 7171, 1)
    chunk = Enum.find(Mtrace.snapshot().chunks, & &1.address == address)
    IO.inspect({chunk.allocator, chunk.caller, chunk.pid == self()}) end
  """

  test "attach(only: [:malloc]) leaves the emulator alone, and attach() adds the rest" do
    output =
      beam(
        @callers <>
          "{:ok, _} = Mtrace.attach(only: [:malloc]); Mtrace.configure(interval: 0); leak.(); " <>
          "{:ok, _} = Mtrace.attach(); leak.()",
        preload: [],
        env: [{"MTRACE_SLOTS", "262144"}]
      )

    assert output ==
             "{:malloc, nil, false}\n{:malloc, {Mtrace.Test.Leaky, :leak, 3}, true}\n"
  end

  test "a first call from a process that was just spawned left the node without Erlang frames" do
    program =
      "spawn(fn -> Mtrace.reset() end); Process.sleep(300); IO.inspect(Mtrace.status().notes)"

    assert beam(program, preload: [Mtrace.status().object]) == "[]\n"
  end

  test "MTRACE_BEAM=0 leaves the emulator alone, attached or preloaded" do
    env = [{"MTRACE_BEAM", "0"}, {"MTRACE_INTERVAL", "0"}, {"MTRACE_SLOTS", "262144"}]
    attached = @callers <> "{:ok, _} = Mtrace.attach(); leak.()"
    assert beam(attached, env: env, preload: []) == "{:malloc, nil, false}\n"
    object = Mtrace.status().object
    assert beam(@callers <> "leak.()", env: env, preload: [object]) == "{:malloc, nil, false}\n"
  end

  test "arguments are checked before anything else" do
    assert_raise ArgumentError, fn -> Mtrace.olds(-1) end
  end

  test "MTRACE=0 switches it off, and it says so" do
    output =
      beam(
        ~S|IO.inspect({Mtrace.status().reason, System.get_env("LD_PRELOAD")}); Mtrace.stats()|
        |> then(&"try do #{&1} rescue e -> IO.puts(e.message) end"),
        env: [{"MTRACE", "0"}]
      )

    assert output =~ "{:off, nil}"
    assert output =~ "started with MTRACE=0"
  end

  test "an allocator that stands in front of it is named as the reason" do
    if jemalloc = Program.library("libjemalloc.so.2") do
      output =
        beam("IO.inspect(Mtrace.status().reason); IO.puts(Mtrace.status().message)",
          preload: [jemalloc, Program.object()]
        )

      assert output =~ ":shadowed"
      assert output =~ "first in LD_PRELOAD"
    end
  end

  test "an allocator that stands behind it is used, and status/0 says what is not seen" do
    for name <- ["libjemalloc.so.2", "libtcmalloc_minimal.so.4"], Program.library(name) do
      output =
        beam("s = Mtrace.status(); IO.inspect({s.active, s.allocator}); IO.puts(s.notes)",
          preload: [Program.object(), name]
        )

      assert output =~ ":preloaded"
      assert output =~ name
      assert output =~ "operator new is not seen"
    end
  end

  test "what the environment asks for is seen, and nonsense is named in one line" do
    output =
      beam("IO.inspect(Enum.sort(Mtrace.status().options))",
        env: [
          {"MTRACE_DEPTH", "12"},
          {"MTRACE_SLOTS", "lots"},
          {"MTRACE_INTERVAL", "65536"},
          {"MTRACE_BUDGET", "0.5"}
        ]
      )

    assert output =~ "[budget: 0.5, depth: 12, erlang_depth: 8, interval: 65536, slots: 4096]"
    assert [_] = Regex.scan(~r/mtrace: MTRACE_SLOTS=lots is not understood/, output)
  end

  test "stacks are no deeper than MTRACE_DEPTH" do
    output =
      beam("IO.inspect(Enum.max(for {_, _, _, _, s} <- Mtrace.olds(4096), do: length(s)))",
        env: [{"MTRACE_DEPTH", "4"}]
      )

    assert output == "4\n"
  end

  describe "a copy of the object" do
    setup do
      dir = Path.join(System.tmp_dir!(), "mtrace-copy-#{System.unique_integer([:positive])}")
      File.mkdir_p!(dir)
      on_exit(fn -> File.rm_rf!(dir) end)
      {:ok, copy: Path.join(dir, "mtrace.so")}
    end

    test "that is preloaded is found by the one that is loaded as a NIF", %{copy: copy} do
      File.cp!(Program.object(), copy)

      output =
        beam("IO.inspect({Mtrace.status().active, Mtrace.stats().malloc_cnt > 1000})",
          preload: [copy]
        )

      assert output == "{:preloaded, true}\n"
      assert beam("IO.inspect(length(Mtrace.olds(5, true)))", preload: [copy]) == "5\n"
    end

    test "that speaks another interface is refused with what to restart", %{copy: copy} do
      other_core(copy)

      output =
        beam("try do Mtrace.stats() rescue e -> IO.inspect(e.reason); IO.puts(e.message) end",
          preload: [copy]
        )

      assert output =~ ~r/{:version, 77, \d+}/
      assert output =~ "restart the node to preload the new object"
    end

    # The core of another release: the same sources with another version of the interface.
    defp other_core(object) do
      dir = Path.join(Path.dirname(object), "sources")
      File.mkdir_p!(dir)
      File.cp_r!("c_src", Path.join(dir, "c_src"))
      File.cp!("Makefile.vars", Path.join(dir, "Makefile.vars"))

      {output, status} =
        System.cmd("make", ["-s", "-C", Path.join(dir, "c_src"), "CFLAGS=-DMT_CORE_VERSION=77"],
          stderr_to_stdout: true
        )

      assert status == 0, output
      File.cp!(Path.join(dir, "priv/mtrace.so"), object)
    end
  end

  test "a library that is missing or broken is one sentence, not a module that cannot be called" do
    dir = Path.join(System.tmp_dir!(), "mtrace-broken-#{System.unique_integer([:positive])}")
    on_exit(fn -> File.rm_rf!(dir) end)
    File.mkdir_p!(Path.join(dir, "mtrace/priv"))
    File.cp_r!(Path.join(:code.lib_dir(:mtrace), "ebin"), Path.join(dir, "mtrace/ebin"))

    ask = fn ->
      {output, 0} =
        System.cmd("elixir", [
          "-pa",
          Path.join(dir, "mtrace/ebin"),
          "-e",
          "IO.inspect(Mtrace.status().active); try do Mtrace.olds() rescue e -> IO.puts(e.message) end"
        ])

      output
    end

    assert ask.() =~ ~r/:inactive\n.*there is no .*mtrace\.so. Build it: mix compile/
    File.write!(Path.join(dir, "mtrace/priv/mtrace.so"), "not an object")
    assert ask.() =~ "Build it again for this VM: mix compile --force"
  end
end
