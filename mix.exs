defmodule Mix.Tasks.Compile.MtraceCore do
  # Builds priv/mtrace.so with make. It has a name of its own and stands here, not in lib, because
  # it must exist before anything is compiled, and beside other packages' compilers.
  @moduledoc false
  use Mix.Task.Compiler

  @impl true
  def run(_args) do
    case unsupported() do
      nil -> build()
      why -> skip(why)
    end
  end

  @impl true
  def clean do
    if writable?(), do: make(source(), source_priv(), ["clean"])
    File.rm_rf!(copy())
    :ok
  end

  defp skip(why) do
    Mix.shell().info("mtrace: #{why}, where its core does not run: Mtrace answers :unsupported")
    {:noop, []}
  end

  # The core needs Linux with glibc; a cross compiler in CC decides for its target.
  defp unsupported do
    machine = machine()

    cond do
      :os.type() != {:unix, :linux} -> "this is #{elem(:os.type(), 1)}"
      machine =~ "musl" -> "this system has musl instead of glibc (#{machine})"
      true -> nil
    end
  end

  defp machine do
    with cc when is_binary(cc) <- System.get_env("CC"),
         [command | args] <- String.split(cc),
         path when is_binary(path) <- System.find_executable(command),
         {machine, 0} <- System.cmd(path, args ++ ["-dumpmachine"], stderr_to_stdout: true) do
      String.trim(machine)
    else
      _ -> to_string(:erlang.system_info(:system_architecture))
    end
  end

  # In the checkout, or, where that is read-only, in a copy inside the build folder.
  defp build do
    if writable?() do
      File.mkdir_p!(source_priv())
      Mix.Project.build_structure()
      make(source(), source_priv(), [])
    else
      Mix.Project.build_structure()
      copy_source()
      make(Path.join(copy(), "c_src"), own_priv(), [])
    end
  end

  defp make(dir, priv, targets) do
    object = Path.join(priv, "mtrace.so")
    before = File.stat(object)

    args = [
      "-s",
      "-j#{System.schedulers_online()}",
      "PRIV=#{Path.relative_to(priv, Path.dirname(dir)) |> from(dir, priv)}" | targets
    ]

    {output, status} =
      System.cmd(find_make(), args, cd: dir, env: env(), stderr_to_stdout: true)

    if output != "", do: Mix.shell().info(String.trim_trailing(output))

    if status != 0,
      do: Mix.raise("mtrace: its core was not built, for the reason in the lines above")

    if File.stat(object) == before, do: {:noop, []}, else: {:ok, []}
  end

  # Seen from c_src where the two lie side by side, so that folders may have spaces in their names.
  defp from(relative, dir, priv) do
    if Path.join(Path.dirname(dir), relative) == priv, do: "../" <> relative, else: priv
  end

  defp env do
    case System.get_env("ERTS_INCLUDE_DIR") do
      nil -> [{"ERTS_INCLUDE_DIR", Path.join([:code.root_dir(), "usr", "include"])}]
      _ -> []
    end
  end

  defp find_make do
    Enum.find_value(["make", "gmake", "bmake"], &System.find_executable/1) ||
      Mix.raise("mtrace: no make: install one, on Debian: apt-get install make")
  end

  # Only what changed is written, so that make builds only that; and written, not copied, because a
  # copy would be as read-only as the original.
  defp copy_source do
    for file <-
          Path.wildcard(Path.join(source(), "**/*.{c,h,sh,map}")) ++ [makefile(), values()] do
      write_anew(file, Path.join(copy(), Path.relative_to(file, __DIR__)))
    end

    # Mix links the read-only priv here: it becomes a folder of our own with the same files.
    if match?({:ok, _}, File.read_link(own_priv())), do: File.rm!(own_priv())
    File.mkdir_p!(own_priv())

    for file <- Path.wildcard(Path.join(source_priv(), "**")),
        File.regular?(file) and Path.basename(file) not in ["mtrace.so", "mtracectl"] do
      write_anew(file, Path.join(own_priv(), Path.relative_to(file, source_priv())))
    end
  end

  defp write_anew(file, to) do
    text = File.read!(file)
    File.mkdir_p!(Path.dirname(to))
    if File.read(to) != {:ok, text}, do: File.write!(to, text)
  end

  defp writable? do
    probe = Path.join(source(), ".writable-#{System.pid()}")
    result = File.touch(probe)
    File.rm(probe)
    result == :ok
  end

  defp source, do: Path.join(__DIR__, "c_src")
  defp makefile, do: Path.join(source(), "Makefile")
  defp values, do: Path.join(__DIR__, "Makefile.vars")
  defp source_priv, do: Path.join(__DIR__, "priv")
  defp own_priv, do: Path.join(Mix.Project.app_path(), "priv")
  defp copy, do: Path.join(Mix.Project.app_path(), "core")
end

defmodule Mtrace.MixProject do
  use Mix.Project

  @version "0.1.0"

  def project do
    [
      app: :mtrace,
      version: @version,
      elixir: "~> 1.14",
      compilers: [:mtrace_core] ++ Mix.compilers(),
      elixirc_paths: elixirc_paths(Mix.env()),
      test_ignore_filters: [~r"^test/(corpus|support)/"],
      description: "Finds native memory leaks in a running BEAM",
      package: package(),
      docs: docs(),
      deps: []
    ]
  end

  # Nothing is started: the calls work with the modules alone.
  def application, do: [extra_applications: []]

  defp elixirc_paths(:test), do: ["lib", "test/support", "test/nif/lib"]
  defp elixirc_paths(_), do: ["lib"]

  defp package do
    [
      licenses: ["Apache-2.0"],
      files:
        ~w(lib c_src/**/*.c c_src/**/*.h c_src/Makefile c_src/settings.sh c_src/exports.map Makefile.vars
                priv/.gitkeep priv/report rel docs mix.exs README.md CHANGELOG.md LICENSE NOTICE)
    ]
  end

  # For `mix docs`, where ex_doc is installed (Debian: elixir-ex-doc).
  defp docs do
    [
      main: "readme",
      extras: [
        "README.md",
        "docs/find-a-leak.md",
        "docs/test-a-nif.md",
        "docs/read-the-numbers.md",
        "docs/releases-and-containers.md",
        "docs/any-program.md",
        "docs/corpus.md",
        "docs/compare.md",
        "bench/RESULTS.md": [title: "What it costs"],
        "CHANGELOG.md": [],
        NOTICE: [title: "Notice"],
        LICENSE: [title: "Licence"]
      ],
      groups_for_extras: [Guides: ~r"^docs/"],
      groups_for_modules: [
        "What the calls return": [
          Mtrace.Chunk,
          Mtrace.Frame,
          Mtrace.Group,
          Mtrace.Growth,
          Mtrace.Leak,
          Mtrace.Memory,
          Mtrace.Memory.Line,
          Mtrace.Site,
          Mtrace.Snapshot
        ],
        "Tests and releases": [Mtrace.Assertions, Mtrace.Release],
        Errors: [Mtrace.InactiveError]
      ]
    ]
  end
end
