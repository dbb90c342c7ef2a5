defmodule Mtrace.Test.Library do
  # NIF libraries of test/nif/names, made in every way that a package may bring them: each in an
  # application of its own, with a module to call it.
  @moduledoc false

  @names Path.expand("../nif/names", __DIR__)

  defstruct [:folder, :file, :module, :source, :app]

  # A file is changed before it is loaded: what is written into a mapped file changes the program.
  @doc """
  Builds `source` (leak.c, leak.cc, leak.rs) with these flags, runs the shell line `after_build` in the
  library's folder with $LIB set, and defines the module that loads it.
  """
  def make(source, flags, after_build \\ ":") do
    n = System.unique_integer([:positive])
    app = "shop#{n}"
    folder = Path.join(System.tmp_dir!(), "mtrace-names-#{System.pid()}/#{app}-1.2.3")
    for dir <- ["ebin", "priv"], do: File.mkdir_p!(Path.join(folder, dir))
    module = Module.concat(Mtrace.Test, "Names#{n}")
    file = Path.join(folder, "priv/leak.so")

    library = %__MODULE__{
      folder: folder,
      file: file,
      module: module,
      source: Path.join(@names, source),
      app: {String.to_atom(app), "1.2.3"}
    }

    compile(library, flags)
    sh!(library, after_build)
    Code.append_path(Path.join(folder, "ebin"))
    define(library)
    library
  end

  def rust?, do: System.find_executable("rustc") != nil

  defp compile(library, flags) do
    nif =
      "-shared -fPIC -Wl,--build-id -I\"$ERTS\" -DNIF_MODULE=#{library.module} #{@names}/nif.c"

    case Path.extname(library.source) do
      ".c" -> sh!(library, "gcc #{flags} -o $LIB #{nif} #{library.source}")
      ".cc" -> sh!(library, "g++ #{flags} -o $LIB -x c #{nif} -x c++ #{library.source}")
      ".rs" -> compile_rust(library, flags, nif)
    end
  end

  defp compile_rust(library, flags, nif) do
    sh!(library, """
    rustc --edition 2021 --crate-type cdylib --crate-name leak #{flags} -o libleak_rust.so #{library.source} &&
    gcc -o $LIB #{nif} -L. -lleak_rust -Wl,-rpath,'$ORIGIN'
    """)
  end

  defp define(library) do
    path = library.file |> Path.rootname() |> String.to_charlist()

    Module.create(
      library.module,
      quote do
        @on_load :load
        def load, do: :erlang.load_nif(unquote(path), 0)
        def leak(_size), do: :erlang.nif_error(:not_loaded)
      end,
      Macro.Env.location(__ENV__)
    )
  end

  def sh!(library, line) do
    erts = Path.join([:code.root_dir(), "usr", "include"])

    {output, status} =
      System.cmd("sh", ["-ec", line],
        cd: Path.dirname(library.file),
        env: [{"LIB", library.file}, {"ERTS", erts}, {"LD_PRELOAD", nil}],
        stderr_to_stdout: true
      )

    if status != 0, do: raise("#{line} failed:\n#{output}")
    output
  end

  @doc "The number of the line in the source that ends with this comment."
  def line(library, comment) do
    library.source
    |> File.read!()
    |> String.split("\n")
    |> Enum.find_index(&(&1 =~ comment))
    |> Kernel.+(1)
  end

  def unload(library) do
    :code.delete(library.module)
    :code.purge(library.module)
    await_unmapped(library.file, 100)
  end

  defp await_unmapped(file, tries) do
    if File.read!("/proc/self/maps") =~ file do
      if tries == 0, do: raise("#{file} is still mapped")
      Process.sleep(20)
      await_unmapped(file, tries - 1)
    end
  end
end
