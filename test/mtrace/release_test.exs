defmodule Mtrace.ReleaseTest do
  # The step for mix release: the lines that it writes, and a release that was made with it.
  use ExUnit.Case, async: true
  @moduletag :plain

  import ExUnit.CaptureIO

  @root File.cwd!()
  @object Path.join(@root, "priv/mtrace.so")

  setup do
    dir =
      Path.join(
        System.tmp_dir!(),
        "mtrace-release-#{System.pid()}-#{System.unique_integer([:positive])}"
      )

    on_exit(fn -> File.rm_rf!(dir) end)
    {:ok, dir: dir}
  end

  # As :assemble leaves a release.
  defp assembled(dir, env_sh) do
    release = %{
      version_path: Path.join(dir, "releases/1.0.0"),
      applications: %{mtrace: [vsn: ~c"0.1.0"], kernel: [vsn: ~c"9.0"]},
      options: [quiet: true]
    }

    File.mkdir_p!(release.version_path)
    if env_sh, do: File.write!(env_sh(release), env_sh)
    release
  end

  defp env_sh(release), do: Path.join(release.version_path, "env.sh")

  defp put_object(dir, source \\ @object) do
    so = Path.join(dir, "lib/mtrace-0.1.0/priv/mtrace.so")
    File.mkdir_p!(Path.dirname(so))
    File.cp!(source, so)
    so
  end

  # What LD_PRELOAD is after the script that starts a release has read env.sh, and what was printed.
  defp sourced(release, dir, options \\ []) do
    env = [
      {"RELEASE_COMMAND", options[:command] || "start"},
      {"RELEASE_ROOT", dir},
      {"LD_PRELOAD", options[:preload]}
    ]

    script = "set -eu; . '#{env_sh(release)}'; echo \"preload=${LD_PRELOAD-}\""
    shell = options[:shell] || "sh"
    {output, 0} = System.cmd(shell, ["-c", script], env: env, stderr_to_stdout: true)
    [_, printed, preload] = Regex.run(~r/\A(.*)preload=(.*)\n\z/s, output)
    {preload, printed}
  end

  describe "the lines" do
    test "preload the object for the commands that start a node, from wherever the release lies",
         %{dir: dir} do
      release = assembled(dir, "#!/bin/sh\n")
      so = put_object(dir)
      assert Mtrace.Release.preload(release) == release

      for command <- ~w(start start_iex daemon daemon_iex), shell <- ~w(sh bash) do
        assert sourced(release, dir, command: command, shell: shell) == {so, ""}
      end

      for command <- ~w(eval rpc remote stop pid version restart) do
        assert sourced(release, dir, command: command) == {"", ""}
      end

      moved = dir <> "-moved"
      on_exit(fn -> File.rm_rf!(moved) end)
      File.rename!(dir, moved)
      release = %{release | version_path: Path.join(moved, "releases/1.0.0")}

      assert sourced(release, moved) ==
               {Path.join(moved, "lib/mtrace-0.1.0/priv/mtrace.so"), ""}
    end

    test "stand once, however often the step runs, behind what was there", %{dir: dir} do
      release = assembled(dir, "export SHOP=open\necho \"the shop is $SHOP\"")
      put_object(dir)
      Mtrace.Release.preload(release)
      once = File.read!(env_sh(release))
      assert String.starts_with?(once, "export SHOP=open\necho \"the shop is $SHOP\"\n#")
      Mtrace.Release.preload(release)
      assert File.read!(env_sh(release)) == once
      assert {_, "the shop is open\n"} = sourced(release, dir)
      # what another tool appends behind them stays, too
      File.write!(env_sh(release), "echo behind\n", [:append])
      Mtrace.Release.preload(%{release | applications: %{mtrace: [vsn: ~c"0.2.0"]}})
      text = File.read!(env_sh(release))
      assert text =~ "echo behind\n"
      assert text =~ "mtrace-0.2.0/priv"
      refute text =~ "mtrace-0.1.0/priv"
    end

    test "keep an LD_PRELOAD that is set, and do not name the object twice", %{dir: dir} do
      other = Path.join(@root, "test/build/programs/loaded.so")
      release = assembled(dir, "#!/bin/sh\n")
      so = put_object(dir)
      Mtrace.Release.preload(release)
      assert sourced(release, dir, preload: other) == {"#{so}:#{other}", ""}
      assert sourced(release, dir, preload: "#{so}:#{other}") == {"#{so}:#{other}", ""}
      assert sourced(release, dir, preload: "#{other} #{so}") == {"#{other} #{so}", ""}
      # one that the project's own env.sh sets
      release = assembled(dir, "export LD_PRELOAD=#{other}\n")
      Mtrace.Release.preload(release)
      assert sourced(release, dir) == {"#{so}:#{other}", ""}
    end

    test "leave the environment alone and say why where the object cannot be preloaded", %{
      dir: dir
    } do
      release = assembled(dir, "#!/bin/sh\n")
      Mtrace.Release.preload(release)
      assert {"", "mtrace: " <> said} = sourced(release, dir)
      assert said =~ "mtrace.so is not preloaded: the file is missing"

      so = put_object(dir)
      File.write!(so, "of another machine")
      assert {"", "mtrace: " <> said} = sourced(release, dir)
      assert said =~ ~r/not preloaded: .*cannot be preloaded/

      spaced = Path.join(dir, "a shop")
      release = assembled(spaced, "#!/bin/sh\n")
      put_object(spaced)
      Mtrace.Release.preload(release)
      assert {"", "mtrace: " <> said} = sourced(release, spaced)
      assert said =~ "LD_PRELOAD cannot name a path with a space"
    end

    test "would end every program with an object that wants a newer libc, and do not", %{
      dir: dir
    } do
      release = assembled(dir, "#!/bin/sh\n")
      so = put_object(dir)
      # it asks for a version of a library that the library, as it is then, does not have
      File.write!(Path.join(dir, "f.c"), "int f(void) { return 0; }\n")
      File.write!(Path.join(dir, "g.c"), "extern int f(void); int g(void) { return f(); }\n")
      File.write!(Path.join(dir, "new"), "MTRACE_9.9 { f; };\n")
      File.write!(Path.join(dir, "old"), "MTRACE_1.0 { f; };\n")
      cc = "gcc -shared -fPIC -o"
      library = &"#{cc} libf.so f.c -Wl,--version-script=#{&1}"
      object = "#{cc} #{so} g.c -L. -lf -Wl,-rpath,#{dir}"
      line = "cd #{dir}; #{library.("new")}; #{object}; #{library.("old")}"
      assert {"", 0} = System.cmd("sh", ["-ec", line], stderr_to_stdout: true)
      # this is what would become of every program
      assert {_, 1} = System.cmd("true", [], env: [{"LD_PRELOAD", so}], stderr_to_stdout: true)
      Mtrace.Release.preload(release)
      assert {"", "mtrace: " <> said} = sourced(release, dir)
      assert said =~ "MTRACE_9.9"
    end

    test "pass shellcheck", %{dir: dir} do
      if shellcheck = System.find_executable("shellcheck") do
        release = assembled(dir, "#!/bin/sh\n")
        Mtrace.Release.preload(release)
        assert {"", 0} = System.cmd(shellcheck, [env_sh(release)], stderr_to_stdout: true)
      end
    end
  end

  test "a release without env.sh, or without Mtrace, is refused with what to do", %{dir: dir} do
    release = assembled(dir, nil)
    error = assert_raise ArgumentError, fn -> Mtrace.Release.preload(release) end
    assert error.message =~ "name the step behind :assemble"

    error =
      assert_raise ArgumentError, fn ->
        Mtrace.Release.preload(%{release | applications: %{}})
      end

    assert error.message =~ "have it in deps"
    error = assert_raise ArgumentError, fn -> Mtrace.Release.preload(:shop) end
    assert error.message =~ "steps: [:assemble, &Mtrace.Release.preload/1]"
  end

  test "the step says what it did, unless mix release is to be quiet", %{dir: dir} do
    release = assembled(dir, "#!/bin/sh\n")
    assert capture_io(fn -> Mtrace.Release.preload(release) end) == ""
    said = capture_io(fn -> Mtrace.Release.preload(%{release | options: []}) end)
    assert said =~ "* adding mtrace-0.1.0/priv/mtrace.so to LD_PRELOAD in releases/1.0.0/env.sh"
  end

  # What a user has: one line in mix.exs, an env.sh.eex of the project's own, and a tar.
  describe "a release of a fresh project" do
    @mix """
    defmodule Shop.MixProject do
      use Mix.Project

      def project do
        [
          app: :shop,
          version: "1.0.0",
          deps: [{:mtrace, path: "<%= mtrace %>"}],
          releases: [shop: [steps: [:assemble, &Mtrace.Release.preload/1, :tar]]]
        ]
      end

      def application, do: [mod: {Shop, []}]
    end
    """

    # Says how it is traced, and ends the node.
    @shop """
    defmodule Shop do
      use Application

      def start(_, _) do
        IO.puts("shop: \#{Mtrace.status().active} \#{System.get_env("SHOP")}")
        spawn(fn -> System.stop() end)
        Supervisor.start_link([], strategy: :one_for_one)
      end
    end
    """

    test "starts preloaded from its tar, and starts without the object", %{dir: dir} do
      app = project(dir)
      for _ <- 1..2, do: sh!("mix release --overwrite", app)
      place = Path.join(dir, "elsewhere")
      File.mkdir_p!(place)
      tar = Path.join(app, "_build/prod/shop-1.0.0.tar.gz")
      sh!("tar xzf #{tar}", place)
      # it is the tar's object that is to be preloaded
      File.rm_rf!(Path.join(app, "_build"))
      start = "RELEASE_DISTRIBUTION=none #{place}/bin/shop start"
      assert sh!(start, place) == "shop: preloaded open\n"
      assert sh!("MTRACE=0 #{start}", place) == "shop: inactive open\n"
      [so] = Path.wildcard(Path.join(place, "lib/mtrace-*/priv/mtrace.so"))
      File.rm!(so)
      output = sh!(start, place)
      assert output =~ "mtrace.so is not preloaded: the file is missing\n"
      assert output =~ "shop: inactive open\n"
    end

    defp project(dir) do
      app = Path.join(dir, "shop")
      for folder <- ~w(lib rel), do: File.mkdir_p!(Path.join(app, folder))
      File.write!(Path.join(app, "mix.exs"), EEx.eval_string(@mix, mtrace: checkout(dir)))
      File.write!(Path.join(app, "lib/shop.ex"), @shop)
      File.write!(Path.join(app, "rel/env.sh.eex"), "export SHOP=open\n")
      app
    end

    # The checkout as it is now, without what was built.
    defp checkout(dir) do
      to = Path.join(dir, "mtrace")
      File.mkdir_p!(Path.join(to, "priv"))

      for name <- ~w(lib c_src priv/report mix.exs Makefile.vars),
          do: File.cp_r!(Path.join(@root, name), Path.join(to, name))

      built =
        Path.wildcard(Path.join(to, "c_src/**/*.o")) ++ [Path.join(to, "c_src/settings.mk")]

      Enum.each(built, &File.rm/1)
      to
    end

    defp sh!(command, dir) do
      env = [{"MIX_ENV", "prod"}, {"LD_PRELOAD", nil}, {"CC", nil}]

      {output, status} =
        System.cmd("sh", ["-c", command], cd: dir, env: env, stderr_to_stdout: true)

      assert status == 0, "#{command}:\n#{output}"
      output
    end
  end
end
