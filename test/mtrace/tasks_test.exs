defmodule Mtrace.TasksTest do
  # mix mtrace.leaks and mix mtrace.report, as commands, against nodes of their own. Everything is on
  # the loopback, with an epmd of its own that ends with the tests.
  use ExUnit.Case, async: true
  @moduletag :plain

  alias Mix.Tasks.Mtrace.{Leaks, Report}
  alias Mtrace.Remote.Progress

  @ebin Path.expand("ebin", Application.app_dir(:mtrace))
  @cookie "mtrace_tasks_test"

  setup_all do
    dir = Path.join(System.tmp_dir!(), "mtrace-tasks-#{System.pid()}")
    File.mkdir_p!(dir)
    on_exit(fn -> File.rm_rf!(dir) end)
    epmd = free_port()
    program("epmd", ["-port", "#{epmd}", "-address", "127.0.0.1"], [])
    await_port(epmd, 100)
    {:ok, dir: dir, epmd: epmd}
  end

  defp free_port do
    {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(socket)
    :gen_tcp.close(socket)
    port
  end

  defp await_port(port, tries) do
    case :gen_tcp.connect({127, 0, 0, 1}, port, []) do
      {:ok, socket} ->
        :gen_tcp.close(socket)

      {:error, _} when tries > 0 ->
        Process.sleep(20)
        await_port(port, tries - 1)
    end
  end

  # A program that runs until the tests are over.
  defp program(name, args, env) do
    path = System.find_executable(name)
    options = [:binary, :stderr_to_stdout, args: args, env: env, line: 1000]
    port = Port.open({:spawn_executable, path}, options)
    {:os_pid, pid} = Port.info(port, :os_pid)
    on_exit(fn -> System.cmd("kill", ["-9", "#{pid}"], stderr_to_stdout: true) end)
    port
  end

  defp env(context), do: [{~c"ERL_EPMD_PORT", ~c"#{context.epmd}"}, {~c"LD_PRELOAD", false}]

  # Starts a node that evaluates `script`, and returns its name.
  defp node!(context, script, options \\ []) do
    name = "shop#{System.unique_integer([:positive])}@127.0.0.1"
    paths = if options[:mtrace] == false, do: [], else: ["-pa", @ebin]

    args =
      paths ++
        ["--name", name, "--cookie", @cookie] ++
        ["--erl", "-kernel inet_dist_use_interface {127,0,0,1}"] ++
        ["--no-halt", "-e", script <> "\nIO.puts(\"ready\")"]

    port = program("elixir", args, env(context))
    assert_receive {^port, {:data, {:eol, "ready"}}}, 30_000
    name
  end

  # In a folder without a project, where mix finds the tasks on the code path.
  defp mix(context, args) do
    System.cmd("elixir", ["-pa", @ebin, "-S", "mix" | args],
      cd: context.dir,
      env: [{"ERL_EPMD_PORT", "#{context.epmd}"}, {"LD_PRELOAD", nil}, {"MIX_ENV", nil}],
      stderr_to_stdout: true
    )
  end

  defp reach(name), do: ["--name", name, "--cookie", @cookie]

  # One sentence, and not 0.
  defp refused(context, args) do
    {output, status} = mix(context, args)
    assert status == 1
    assert ["** (Mix) " <> sentence] = said(output)
    sentence
  end

  defp said(output) do
    for line <- String.split(output, "\n", trim: true),
        not (line =~ ~r/^(watching|.* writes its report)/),
        do: line
  end

  # A node whose Mtrace answers what a test needs, and writes down how it was called.
  defp stub(context, options) do
    log = Path.join(context.dir, "log#{System.unique_integer([:positive])}")
    version = options[:version] || Mtrace.status().version

    script = """
    Code.compiler_options(ignore_module_conflict: true)

    defmodule Mtrace do
      def status do
        log(:status)
        %{active: :persistent_term.get(:active, #{inspect(options[:active] || :preloaded)}),
          version: #{inspect(version)}, message: "Mtrace is not active in this node"}
      end

      def attach([]) do
        log(:attach)
        #{options[:attach] || "{:persistent_term.put(:active, :attached), {:ok, status()}} |> elem(1)"}
      end

      def detach, do: log(:detach)
      def log(what), do: File.write!(#{inspect(log)}, inspect(what) <> "\\n", [:append])

      def leaks(options) do
        log({:leaks, options, Node.list(), length(Node.list(:hidden))})
        frame = %Mtrace.Frame{address: 1, library: "/app/priv/shop.so", symbol: "shop_\\xFFput",
          file: "/src/shop.c", line: 12, app: {:shop, "1.2.3"}}
        other = %{frame | symbol: "shop_get", line: 99}
        site = %Mtrace.Site{stack: [frame], culprit: frame}
        leak = %Mtrace.Leak{verdict: :leak, site: site, culprit: frame, caller: {:"Elixir.Shop", :put, 2},
          processes: [%{pid: self(), bytes: 9, registered_name: :till, initial_call: nil,
                        current_function: nil, label: nil}],
          growth: 9, growth_bytes: 9, growth_bytes_error: 0, bytes_per_minute: 3_145_728,
          bytes_per_minute_error: 1024, allocations: 9, frees: 0, survival: 0.99, window_ms: 1000}
        site = %{site | stack: [other], culprit: other}
        growing = %{leak | verdict: :growing, site: site, culprit: other, caller: nil, processes: [],
          bytes_per_minute: 2048, bytes_per_minute_error: 0}
        _ = {leak, growing}
        #{options[:leaks] || "[leak, growing]"}
      end

      def memory, do: #{options[:memory] || ":explained"}

      def report(:iodata, options) do
        log({:report, options})
        #{options[:report] || ~S({:ok, ["<html>", [?a | "page"], "</html>"]})}
      end
    end
    """

    {node!(context, script), fn -> log |> File.read!() |> String.split("\n", trim: true) end}
  end

  describe "mix mtrace.leaks" do
    test "prints what leaks, most first, with all that helps to find it", context do
      {name, log} = stub(context, [])

      {output, 0} =
        mix(context, ["mtrace.leaks", "--window", "1000", "--top", "5" | reach(name)])

      assert ["watching " <> watching | lines] = String.split(output, "\n", trim: true)
      assert watching == "#{name} for 1 s"

      assert [
               conclusion,
               "1. leak, 3.0 MiB ± 1.0 KiB a minute, 99 % survive",
               "   shop_?put at shop.c:12 in shop.so (shop 1.2.3)",
               "   called as Shop.put/2",
               "   for #PID<" <> process,
               "2. growing, 2.0 KiB a minute, 99 % survive",
               "   shop_get at shop.c:99 in shop.so (shop 1.2.3)"
             ] = lines

      assert conclusion == "#{name}, 1 s: 1 place that leaks, and 1 whose memory grows"
      assert process =~ ~r/^\d+\.\d+\.\d+> \(till\)$/

      # a hidden node asked, and watching was left to Mtrace there, without its progress
      assert [":status", asked] = log.()
      assert {:leaks, [window: 1000, top: 5, progress: false], [], 1} = evaluated(asked)
    end

    defp evaluated(line), do: line |> Code.eval_string() |> elem(0)

    test "adds up by what one asks for", context do
      {name, _} = stub(context, [])

      for {by, expected} <- [
            {"app", ["1. 3.0 MiB ± 1.0 KiB a minute, 2 places: shop 1.2.3"]},
            {"library", ["1. 3.0 MiB ± 1.0 KiB a minute, 2 places: /app/priv/shop.so"]},
            {"caller",
             [
               "1. 3.0 MiB ± 1.0 KiB a minute, 1 place: Shop.put/2",
               "2. 2.0 KiB a minute, 1 place: no NIF"
             ]},
            {"function",
             [
               "1. 3.0 MiB ± 1.0 KiB a minute, 1 place: shop_?put in shop.so (shop 1.2.3)",
               "2. 2.0 KiB a minute, 1 place: shop_get in shop.so (shop 1.2.3)"
             ]}
          ] do
        {output, 0} =
          mix(context, ["mtrace.leaks", "--window", "100", "--by", by | reach(name)])

        assert [_ | ^expected] = said(output)
      end
    end

    test "says that nothing leaks", context do
      {name, _} = stub(context, leaks: "[]")
      {output, 0} = mix(context, ["mtrace.leaks", "--window", "1500" | reach(name)])
      assert said(output) == ["#{name}, 1.5 s: no place was seen to leak"]
    end

    test "says what the node could not do", context do
      {name, _} = stub(context, leaks: "{:error, :reset}")
      assert refused(context, ["mtrace.leaks" | reach(name)]) =~ "somebody emptied the table"

      {name, _} = stub(context, leaks: "{:error, :detached}")
      assert refused(context, ["mtrace.leaks" | reach(name)]) =~ "somebody detached"

      {name, _} = stub(context, leaks: ~S|raise ArgumentError, "a \xFFreason"|)
      assert refused(context, ["mtrace.leaks" | reach(name)]) == "#{name} says: a ?reason"

      {name, _} = stub(context, leaks: "exit(:boom)")

      assert refused(context, ["mtrace.leaks" | reach(name)]) =~
               "Mtrace.leaks failed on #{name}"

      {name, _} = stub(context, leaks: "System.halt(0)")

      assert refused(context, ["mtrace.leaks" | reach(name)]) =~
               "connection to #{name} was lost"
    end

    test "goes on with another version if its answers have the same shape, and says so",
         context do
      {name, _} = stub(context, version: "7.7.7")
      {output, 0} = mix(context, ["mtrace.leaks" | reach(name)])
      assert ["#{name} has Mtrace 7.7.7, this is #{Mtrace.status().version}"] == note(output)
      assert output =~ "shop_get at shop.c:99"

      for odd <- ["%{leak | site: Map.delete(leak.site, :culprit)}", "Map.put(leak, :more, 1)"] do
        {name, _} = stub(context, version: "7.7.7", leaks: "[leak, #{odd}]")
        {output, 1} = mix(context, ["mtrace.leaks" | reach(name)])
        assert [_, "** (Mix) what Mtrace 7.7.7 on " <> sentence] = said(output)
        assert sentence =~ "run the task of the same version"
      end
    end

    defp note(output), do: Enum.filter(said(output), &(&1 =~ "has Mtrace"))

    test "attaches for its own time, and only if it is told to", context do
      {name, log} = stub(context, active: :inactive)
      sentence = refused(context, ["mtrace.leaks" | reach(name)])
      assert sentence =~ "with --attach it is for as long as this command takes"
      assert sentence =~ "It says: Mtrace is not active in this node"
      refute ":attach" in log.()

      {output, 0} = mix(context, ["mtrace.leaks", "--attach" | reach(name)])
      assert output =~ "1 place that leaks"
      assert [":status", ":status", ":attach", ":status", "{:leaks" <> _, ":detach"] = log.()

      {name, log} = stub(context, active: :inactive, leaks: "raise \"boom\"")
      assert refused(context, ["mtrace.leaks", "--attach" | reach(name)]) =~ "boom"
      assert List.last(log.()) == ":detach"

      {name, _} = stub(context, active: :inactive, attach: "{:error, :off}")
      sentence = refused(context, ["mtrace.leaks", "--attach" | reach(name)])
      assert sentence =~ "cannot be attached to: Mtrace is switched off"

      # one that is traced anyway goes on being traced
      {name, log} = stub(context, active: :preloaded)
      {_, 0} = mix(context, ["mtrace.leaks", "--attach" | reach(name)])
      assert [":status", "{:leaks" <> _] = log.()
    end

    test "finds a leak with Mtrace as it is, attached to and then detached from", context do
      leak = """
      leak = fn leak ->
        Mtrace.Test.Leaky.leak(:malloc, 5000, 1)
        Process.sleep(10)
        leak.(leak)
      end

      spawn(fn -> leak.(leak) end)
      """

      name = node!(context, leak)
      args = ["mtrace.leaks", "--attach", "--window", "3000" | reach(name)]
      {output, 0} = mix(context, args)

      assert [conclusion, "1. leak, " <> _, "   leak_by_malloc at leaky.c:" <> _ | more] =
               said(output)

      assert conclusion == "#{name}, 3 s: 1 place that leaks"
      assert "   called as Mtrace.Test.Leaky.leak/3" in more

      ask = "IO.inspect(:erpc.call(:\"#{name}\", Mtrace, :status, []).active)"
      options = ["--name", "asks@127.0.0.1", "--cookie", @cookie, "-e", ask]
      env = [{"ERL_EPMD_PORT", "#{context.epmd}"}, {"LD_PRELOAD", nil}]
      assert {":detached\n", 0} = System.cmd("elixir", options, env: env)
    end
  end

  describe "a node that cannot be asked" do
    test "is explained: what is not there, or does not let us in", context do
      name = node!(context, "", mtrace: false)

      sentence = refused(context, ["mtrace.leaks" | reach("nobody@127.0.0.1")])

      assert sentence =~
               "nobody@127.0.0.1 is not reached: epmd on 127.0.0.1 knows no node nobody"

      assert sentence =~ name |> String.split("@") |> hd()

      sentence = refused(context, ["mtrace.leaks", "--name", name, "--cookie", "wrong"])
      assert sentence =~ "it is there, and refuses the connection: is the cookie the right one"

      sentence = refused(%{context | epmd: free_port()}, ["mtrace.leaks" | reach(name)])
      assert sentence =~ "no epmd answers on 127.0.0.1"

      sentence = refused(context, ["mtrace.leaks" | reach("shop@host.invalid")])
      assert sentence =~ "no address is known for the host host.invalid"
    end

    test "is explained: no Mtrace, or another program's, or an older one", context do
      name = node!(context, "", mtrace: false)
      sentence = refused(context, ["mtrace.leaks" | reach(name)])
      assert sentence =~ "#{name} has no Mtrace on its code path: have it in the deps"
      assert sentence =~ "bin/pack"

      name = node!(context, "defmodule Mtrace, do: def(status, do: :fine)", mtrace: false)
      assert refused(context, ["mtrace.leaks" | reach(name)]) =~ "another program's"

      old = ~S|defmodule Mtrace, do: def(status, do: %{active: :preloaded, version: "0.0.1"})|
      name = node!(context, old, mtrace: false)
      {output, 1} = mix(context, ["mtrace.leaks" | reach(name)])
      assert output =~ "** (Mix) Mtrace 0.0.1 on #{name} has no leaks/1: have "
    end
  end

  describe "mix mtrace.report" do
    test "watches, and writes the page here in place of what was there", context do
      {name, log} = stub(context, [])
      File.write!(Path.join(context.dir, "page.html"), "what was there, which was longer")

      args = ["mtrace.report", "page.html", "--window", "100" | reach(name)]
      {output, 0} = mix(context, args)
      assert said(output) == ["page.html: the report of #{name}, 18 B"]
      assert File.read!(Path.join(context.dir, "page.html")) == "<html>apage</html>"

      # what the node found out is handed to its report as it was
      assert [
               ":status",
               "{:leaks, [window: 100, progress: false]" <> _,
               "{:report, [leaks: " <> r
             ] = log.()

      assert r =~ "memory: :explained"
    end

    test "shows what is there if it is not to watch, from an older Mtrace, too", context do
      {name, log} = stub(context, memory: "raise UndefinedFunctionError")
      args = ["mtrace.report", "page.html", "--window", "0" | reach(name)]
      assert {_, 0} = mix(context, args)
      assert log.() == [":status", "{:report, []}"]
    end

    test "says why it could not watch, and writes nothing", context do
      {name, _} = stub(context, leaks: "{:error, :reset}")
      sentence = refused(context, ["mtrace.report", "none.html" | reach(name)])
      assert sentence =~ "somebody emptied the table"
      refute File.exists?(Path.join(context.dir, "none.html"))
    end

    test "writes nothing if there is no page", context do
      for {report, sentence} <- [
            {"{:error, :enomem}", "made no report: :enomem"},
            {"{:ok, %{}}", "answers what is no page"},
            {":odd", "answers what is no page"},
            {"raise \"boom\"", "says: boom"}
          ] do
        {name, _} = stub(context, report: report)

        assert refused(context, ["mtrace.report", "none.html", "--window", "0" | reach(name)]) =~
                 sentence

        refute File.exists?(Path.join(context.dir, "none.html"))
      end
    end

    test "says before it asks that it cannot write", context do
      sentence = refused(context, ["mtrace.report", "nowhere/page.html" | reach("a@b.c")])
      assert sentence == "there is no folder nowhere to write nowhere/page.html to"
    end
  end

  test "arguments that make no sense are named in one sentence" do
    for {args, sentence} <- [
          {["mtrace.leaks"], "which node? Name it with --name"},
          {["mtrace.leaks", "--name", "a@b.c", "--sname", "a@b"], "give one"},
          {["mtrace.leaks", "--name", "shop"], "is no name of a node"},
          {["mtrace.leaks", "--name", "shop@host"], "for one without: --sname shop@host"},
          {["mtrace.leaks", "--sname", "a@b.c"], "for one with: --name a@b.c"},
          {["mtrace.leaks", "--nonsense"], "does not take --nonsense"},
          {["mtrace.leaks", "--window", "soon"], "does not take --window soon"},
          {["mtrace.leaks", "--window", "99"], "at least 100"},
          {["mtrace.leaks", "--by", "colour"], "one of function, library, app, caller"},
          {["mtrace.leaks", "all"], "takes options only, got: all"},
          {["mtrace.report"], "takes a path and options"},
          {["mtrace.report", "a.html", "b.html"], "takes a path and options"},
          {["mtrace.report", "a.html", "--window", "99"], "at least 100"}
        ] do
      {[task], args} = Enum.split(args, 1)
      run = %{"mtrace.leaks" => &Leaks.run/1, "mtrace.report" => &Report.run/1}[task]
      assert Exception.message(assert_raise(Mix.Error, fn -> run.(args) end)) =~ sentence
    end
  end

  test "progress says how much of the time is over" do
    assert Progress.line("watching", 30_000, 12_345) == "watching: 12 of 30 s"
    assert Progress.line("watching", 30_000, 30_001) == "watching: naming what was found"
    assert Progress.line("asking", 0, 500) == "asking"
  end
end
