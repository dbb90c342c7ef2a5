defmodule Mtrace.PackageTest do
  # Mtrace as a dependency: of a fresh application, its release, an umbrella, and where building is
  # not straightforward. Each case works in a folder of its own.
  use ExUnit.Case
  @moduletag :plain

  @root File.cwd!()

  setup do
    dir = Path.join(System.tmp_dir!(), "mtrace-package-#{System.unique_integer([:positive])}")
    File.mkdir_p!(dir)
    on_exit(fn -> File.rm_rf!(dir) end)
    {:ok, dir: dir}
  end

  # The commands of a newcomer, who has none of our settings.
  defp sh!(command, dir, env \\ []) do
    env = [{"MIX_ENV", nil}, {"LD_PRELOAD", nil}, {"CC", nil} | env]

    {output, status} =
      System.cmd("sh", ["-c", command], cd: dir, env: env, stderr_to_stdout: true)

    assert status == 0, "#{command}:\n#{output}"
    output
  end

  defp new_app(dir, name, dependency, options \\ "") do
    sh!("mix new #{name} #{options}", dir)
    add_dependency(Path.join([dir, name]), dependency)
  end

  defp add_dependency(app, dependency) do
    mix = Path.join(app, "mix.exs")
    deps = "defp deps do\n      [#{dependency}]\n    end\n\n  defp unused_deps do"
    File.write!(mix, String.replace(File.read!(mix), "defp deps do", deps, global: false))
    app
  end

  # The checkout as it is now, without what was built.
  defp copy(dir) do
    to = Path.join(dir, "mtrace")
    File.mkdir_p!(Path.join(to, "priv"))

    for name <- ~w(lib c_src priv/report rel mix.exs Makefile.vars .formatter.exs),
        do: File.cp_r!(Path.join(@root, name), Path.join(to, name))

    built = Path.wildcard(Path.join(to, "c_src/**/*.o")) ++ [Path.join(to, "c_src/settings.mk")]
    Enum.each(built, &File.rm/1)
    to
  end

  @ask ~S|IO.inspect({Mtrace.status().active, is_map(Mtrace.status())})|

  defp preloaded_answer(app, env \\ []) do
    [so | _] = Path.wildcard(Path.join(app, "_build/*/lib/mtrace/priv/mtrace.so"))
    sh!("mix run -e '#{@ask}'", app, [{"LD_PRELOAD", so} | env])
  end

  # The sources of mtracectl's rooms were left out.
  test "what the package lists is all that its build needs", %{dir: dir} do
    for pattern <- Mix.Project.config()[:package][:files],
        path <- Path.wildcard(pattern, match_dot: true),
        file <- [path | Path.wildcard(Path.join(path, "**"))],
        File.regular?(file) do
      File.mkdir_p!(Path.join(dir, Path.dirname(file)))
      File.cp!(file, Path.join(dir, file))
    end

    sh!("mix compile --warnings-as-errors", dir)
    assert sh!("priv/mtracectl --version", dir) =~ ~r/^mtracectl/
  end

  test "a fresh application uses it from a path", %{dir: dir} do
    app = new_app(dir, "fresh", "{:mtrace, path: #{inspect(@root)}}")
    assert sh!("mix run -e '#{@ask}'", app) =~ "{:inactive, true}"
    assert preloaded_answer(app) =~ "{:preloaded, true}"
  end

  test "a fresh application uses it from git, compiled for prod alone", %{dir: dir} do
    repository = copy(dir)
    git = "git -c user.name=t -c user.email=t@example.invalid"
    sh!("git init -q . && git add -A && #{git} commit -qm all", repository)
    app = new_app(dir, "fresh", "{:mtrace, git: #{inspect(repository)}}")
    sh!("mix deps.get && MIX_ENV=prod mix deps.compile", app)
    assert File.exists?(Path.join(app, "_build/prod/lib/mtrace/priv/mtrace.so"))
    assert preloaded_answer(app, [{"MIX_ENV", "prod"}]) =~ "{:preloaded, true}"
  end

  test "two applications of an umbrella use it", %{dir: dir} do
    sh!("mix new house --umbrella && cd house/apps && mix new one && mix new two", dir)

    for app <- ~w(one two),
        do:
          add_dependency(
            Path.join([dir, "house/apps", app]),
            "{:mtrace, path: #{inspect(copy(dir))}}"
          )

    house = Path.join(dir, "house")
    sh!("mix compile --warnings-as-errors", house)
    assert preloaded_answer(house) =~ "{:preloaded, true}"
  end

  test "beside a dependency with a make compiler of its own both are built", %{dir: dir} do
    other = Path.join(dir, "other")
    File.mkdir_p!(Path.join(other, "lib"))

    File.write!(Path.join(other, "mix.exs"), """
    defmodule Mix.Tasks.Compile.Make do
      use Mix.Task.Compiler
      def run(_), do: {File.touch!(Path.join(#{inspect(other)}, "made")), []}
    end

    defmodule Other.MixProject do
      use Mix.Project
      def project, do: [app: :other, version: "0.1.0", compilers: [:make] ++ Mix.compilers()]
    end
    """)

    app =
      new_app(
        dir,
        "both",
        "{:other, path: #{inspect(other)}}, {:mtrace, path: #{inspect(copy(dir))}}"
      )

    sh!("mix compile", app)
    assert File.exists?(Path.join(other, "made"))
    assert preloaded_answer(app) =~ "{:preloaded, true}"
  end

  test "where the dependency's folder is read-only it is built in the application's", %{
    dir: dir
  } do
    source = copy(dir)
    app = new_app(dir, "app", "{:mtrace, path: #{inspect(source)}}")

    sh!(
      "chmod -R a-w #{source} && chmod -R a+rX #{source} && chmod 777 #{dir} && chmod -R a+rwX #{app}",
      dir
    )

    run =
      if unprivileged?(),
        do: "",
        else: "setpriv --reuid=65534 --clear-groups env HOME=#{dir} TMPDIR=#{dir} "

    for _ <- 1..2 do
      sh!("#{run}mix compile", app)
      so = Path.join(app, "_build/dev/lib/mtrace/priv/mtrace.so")
      assert File.exists?(so)

      assert sh!("#{run}mix run -e '#{@ask}'", app, [{"LD_PRELOAD", so}]) =~
               "{:preloaded, true}"
    end

    assert Path.wildcard(Path.join(source, "c_src/**/*.o")) == []
    sh!("chmod -R u+w #{source}", dir)
  end

  defp unprivileged?, do: System.cmd("id", ["-u"]) |> elem(0) |> String.trim() != "0"

  test "it is built again when the compiler is another, and only then", %{dir: dir} do
    source = copy(dir)
    so = Path.join(source, "priv/mtrace.so")
    compile = fn env -> sh!("mix compile", source, env) && File.stat!(so).inode end
    first = compile.([])
    assert compile.([]) == first
    gcc = Path.join(dir, "another-cc")
    File.write!(gcc, "#!/bin/sh\nexec cc \"$@\"\n")
    File.chmod!(gcc, 0o755)
    second = compile.([{"CC", gcc}])
    assert second != first or File.read!(Path.join(source, "c_src/settings.mk")) =~ "another"
    assert compile.([{"CC", gcc}]) == second
  end

  test "it is built again for another version of Erlang's headers", %{dir: dir} do
    source = copy(dir)
    include = Path.join(dir, "include")
    File.cp_r!(Path.join([:code.root_dir(), "usr", "include"]), include)
    env = [{"ERTS_INCLUDE_DIR", include}]
    sh!("mix compile", source, env)
    %{mtime: before} = File.stat!(Path.join(source, "c_src/serve/nif.o"))
    Process.sleep(1100)
    header = Path.join(include, "erl_nif.h")
    text = File.read!(header)
    other = Regex.replace(~r/(define ERL_NIF_MINOR_VERSION) \d+/, text, "\\1 15")
    assert other != text
    File.write!(header, other)
    sh!("mix compile", source, env)
    assert File.stat!(Path.join(source, "c_src/serve/nif.o")).mtime > before
  end

  # Who has no Erlang has no erl_nif.h either.
  test "without Erlang's headers it is built for programs that are no BEAM", %{dir: dir} do
    mtrace = copy(dir)
    sh!("make -s -C c_src ERTS_INCLUDE_DIR=none", mtrace)
    refute sh!("nm -D priv/mtrace.so", mtrace) =~ "nif_init"
    leaky = Mtrace.Test.Program.path("ctl_left")
    assert sh!("priv/mtracectl run #{leaky}", mtrace) =~ "10 chunks known, 0 ignored"
    sh!("make -s -C c_src", mtrace)
    assert sh!("nm -D priv/mtrace.so", mtrace) =~ "nif_init"
  end

  test "what is missing is named in one sentence with its package", %{dir: dir} do
    source = copy(dir)
    empty = Path.join(dir, "empty")
    File.mkdir_p!(empty)

    for {env, sentence} <- [
          {[{"CC", "no-such-compiler"}], "no C compiler (no-such-compiler)"},
          {[{"ERTS_INCLUDE_DIR", empty}], "apt-get install erlang-dev"}
        ] do
      {output, status} =
        System.cmd("mix", ["compile"],
          cd: source,
          env: [{"MIX_ENV", nil} | env],
          stderr_to_stdout: true
        )

      assert status != 0
      assert output =~ sentence
      assert output =~ "mtrace: its core was not built"
    end
  end

  test "for a target without glibc it is compiled without its core", %{dir: dir} do
    source = copy(dir)
    cc = Path.join(dir, "musl-cc")
    File.write!(cc, "#!/bin/sh\necho x86_64-linux-musl\n")
    File.chmod!(cc, 0o755)
    output = sh!("mix compile", source, [{"CC", cc}])
    assert output =~ "musl instead of glibc"
    refute File.exists?(Path.join(source, "priv/mtrace.so"))
  end

  test "other systems are named as not supported" do
    alias Mtrace.InactiveError
    assert InactiveError.unsupported({:unix, :linux}, "x86_64-pc-linux-gnu") == nil
    assert InactiveError.unsupported({:unix, :linux}, "aarch64-unknown-linux-gnu") == nil
    assert InactiveError.unsupported({:unix, :linux}, "x86_64-pc-linux-musl") =~ "musl"
    assert InactiveError.unsupported({:unix, :darwin}, "aarch64-apple-darwin") =~ "darwin"
    assert InactiveError.unsupported({:unix, :freebsd}, "amd64-portbld-freebsd") =~ "freebsd"
  end

  describe "the lines of rel/env.sh.eex" do
    defp preload_for(command, dir, before) do
      env = Path.join(@root, "rel/env.sh.eex")
      script = ". #{env}; echo \"${LD_PRELOAD-}\""
      settings = [{"RELEASE_COMMAND", command}, {"RELEASE_ROOT", dir}, {"LD_PRELOAD", before}]
      {output, 0} = System.cmd("sh", ["-euc", script], env: settings)
      String.trim(output)
    end

    test "act for the commands that start a node only, and keep what is there", %{dir: dir} do
      so = Path.join(dir, "lib/mtrace-0.1.0/priv/mtrace.so")
      File.mkdir_p!(Path.dirname(so))
      File.cp!(Path.join(@root, "priv/mtrace.so"), so)

      for command <- ~w(start start_iex daemon daemon_iex) do
        assert preload_for(command, dir, "") == so
      end

      libc = Path.join(@root, "test/build/programs/loaded.so")
      assert preload_for("start", dir, libc) == "#{so}:#{libc}"

      for command <- ~w(eval rpc remote stop pid version restart install) do
        assert preload_for(command, dir, libc) == libc
      end
    end

    test "do nothing where the file is missing", %{dir: dir} do
      assert preload_for("start", dir, "") == ""
    end
  end

  describe "a release" do
    setup %{dir: dir} do
      app = new_app(dir, "shop", "{:mtrace, path: #{inspect(copy(dir))}}", "--sup")
      File.mkdir_p!(Path.join(app, "rel"))
      sh!("MIX_ENV=prod mix release", app)
      {:ok, app: app, release: Path.join(app, "_build/prod/rel/shop")}
    end

    test "boots with the preload, answers by rpc, and starts clean programs", context do
      env_sh = Path.join(context.release, "releases/0.1.0/env.sh")
      File.write!(env_sh, File.read!(Path.join(@root, "rel/env.sh.eex")))
      # -heart: the emulator starts heart, a program that would start the next node
      File.write!(Path.join(context.release, "releases/0.1.0/vm.args"), "-heart\n", [:append])
      with_node(context, [], &check_node/1)
    end

    test "boots with the first generation's line, for every command", context do
      env_sh = Path.join(context.release, "releases/0.1.0/env.sh")
      File.write!(env_sh, "export LD_PRELOAD=$(ls $RELEASE_ROOT/lib/mtrace-*/priv/mtrace.so)\n")
      with_node(context, [], &check_node/1)
    end

    defp check_node(rpc) do
      assert rpc.("IO.inspect(Mtrace.stats().malloc_cnt > 10_000)") =~ "true"
      assert rpc.("IO.inspect(Mtrace.status().active)") =~ ":preloaded"
      assert rpc.("IO.inspect(length(Mtrace.olds(3, true)))") =~ "3"

      children = """
      System.cmd("sh", ["-c", "cat /proc/$$/environ"]) |> elem(0) |> String.contains?("mtrace.so")
      |> IO.inspect(label: "shell")
      me = System.pid()
      for "/proc/" <> _ = file <- Path.wildcard("/proc/[0-9]*/stat"),
          {:ok, stat} <- [File.read(file)],
          [_, rest] = String.split(stat, ") ", parts: 2),
          Enum.at(String.split(rest), 1) == me,
          {:ok, environ} <- [File.read(Path.join(Path.dirname(file), "environ"))],
          do: IO.inspect(String.contains?(environ, "mtrace.so"), label: "child")
      """

      output = rpc.(children)
      assert output =~ "shell: false"
      assert output =~ "child: false"
      refute output =~ "true"
    end

    # Starts the release, hands over a function that asks it, and stops it.
    defp with_node(context, env, ask) do
      node = "shop#{System.unique_integer([:positive])}@127.0.0.1"

      env =
        [{"RELEASE_DISTRIBUTION", "name"}, {"RELEASE_NODE", node}, {"LD_PRELOAD", nil}] ++
          [{"HEART_BEAT_TIMEOUT", "60"} | env]

      bin = Path.join(context.release, "bin/shop")
      task = Task.async(fn -> System.cmd(bin, ["start"], env: env, stderr_to_stdout: true) end)

      try do
        await_pid(bin, env, task, 100)
        ask.(fn expression -> sh_status(bin, ["rpc", expression], env) end)
      after
        System.cmd(bin, ["stop"], env: env, stderr_to_stdout: true)
        Task.await(task, 60_000)
      end
    end

    defp sh_status(bin, args, env) do
      {output, status} = System.cmd(bin, args, env: env, stderr_to_stdout: true)
      assert status == 0, output
      output
    end

    defp await_pid(bin, env, task, tries) do
      case System.cmd(bin, ["pid"], env: env, stderr_to_stdout: true) do
        {_, 0} ->
          :ok

        {output, _} when tries > 0 ->
          if ended = Task.yield(task, 100),
            do: flunk("the node ended: #{inspect(ended)} #{output}")

          await_pid(bin, env, task, tries - 1)

        {output, _} ->
          flunk("the node does not answer: #{output}")
      end
    end
  end
end
