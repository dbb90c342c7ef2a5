defmodule Mtrace.NamesTest do
  # Names of libraries that were built, stripped, replaced and unloaded in every way.
  use ExUnit.Case
  @moduletag :preloaded

  alias Mtrace.{Frame, Site}
  alias Mtrace.Test.Library

  setup do
    Mtrace.configure(interval: 0)
    Mtrace.reset()

    on_exit(fn ->
      Mtrace.configure(interval: :adaptive)
      File.rm_rf!(Path.join(System.tmp_dir!(), "mtrace-names-#{System.pid()}"))
    end)
  end

  # Leaks by the library and returns the site of it.
  defp leak(library, size \\ 7777) do
    address = library.module.leak(size)
    {address, site(address)}
  end

  defp site(address) do
    chunk = chunk(address)
    Enum.find(Mtrace.sites(by: :stack), &(&1.stack == chunk.stack))
  end

  defp chunk(address), do: Enum.find(Mtrace.snapshot().chunks, &(&1.address == address))

  defp own(stack, library), do: Enum.filter(stack, &(&1.library == library.file))

  # What a program prints in a BEAM of its own, where everything is recorded from the start.
  defp preloaded(program, env, limit \\ "") do
    ebin = Path.dirname(to_string(:code.which(Mtrace)))

    env = [
      {"LD_PRELOAD", Mtrace.status().object},
      {"MTRACE_INTERVAL", "0"},
      {"MTRACE_SLOTS", "1048576"} | env
    ]

    {output, 0} =
      System.cmd("sh", ["-c", limit <> "exec elixir -pa \"$0\" -e \"$1\"", ebin, program],
        env: env
      )

    output
  end

  test "debug information gives lines and the functions that were inlined" do
    library = Library.make("leak.c", "-O2 -g")
    {address, site} = leak(library)
    inner = Library.line(library, "the innermost line")
    outer = Library.line(library, "the line of the call")
    source = library.source

    assert [
             %Frame{symbol: "inlined_leak", inlined: true, file: ^source, line: ^inner},
             %Frame{symbol: "static_leak", inlined: false, file: ^source, line: ^outer} = frame,
             %Frame{symbol: "fixture_leak", inlined: false},
             %Frame{symbol: "leak_nif", file: nif}
           ] = own(site.stack, library)

    assert Path.basename(nif) == "nif.c"
    assert frame.kind == :native and frame.app == library.app
    assert hd(site.stack).symbol == "malloc" and hd(site.stack).app == {:mtrace, vsn()}
    assert %Frame{symbol: "inlined_leak"} = site.culprit

    assert Enum.find(Mtrace.olds(4096, true), &(elem(&1, 2) == address))
           |> elem(4)
           |> Enum.at(1) ==
             {library.file, "static_leak"}
  end

  defp vsn, do: to_string(Application.spec(:mtrace, :vsn) || Mix.Project.config()[:version])

  test "without -g there are symbols, static functions too, and no lines" do
    library = Library.make("leak.c", "-O2")
    {_, site} = leak(library)

    assert ["static_leak", "fixture_leak", "leak_nif"] =
             Enum.map(own(site.stack, library), & &1.symbol)

    assert Enum.all?(own(site.stack, library), &(&1.file == nil and &1.line == nil))
    assert site.culprit.symbol == "static_leak"
  end

  test "of a stripped library only exported functions have names" do
    library = Library.make("leak.c", "-O2 -g", "strip $LIB")
    {_, site} = leak(library)

    assert [nil, "fixture_leak", nil] = Enum.map(own(site.stack, library), & &1.symbol)
    assert %Frame{symbol: "fixture_leak"} = site.culprit
    assert site.culprit.app == library.app
    offset = Enum.at(site.stack, 1).offset

    assert inspect(Enum.at(site.stack, 1)) =~
             "+0x#{String.downcase(Integer.to_string(offset, 16))}"

    # which nm and addr2line of the unstripped library would agree to
    assert offset in 0x1000..0x2000
  end

  test "a debug file beside the library is found by its link, and one of another build is not" do
    link =
      "objcopy --only-keep-debug $LIB leak.debug && strip --strip-all $LIB && objcopy --add-gnu-debuglink=leak.debug $LIB"

    library = Library.make("leak.c", "-O2 -g", link)
    {_, site} = leak(library)
    assert "inlined_leak" in Enum.map(own(site.stack, library), & &1.symbol)

    other =
      Library.make(
        "leak.c",
        "-O2 -g",
        link <> " && cp #{library.file |> Path.dirname()}/leak.debug ."
      )

    {_, site} = leak(other)
    assert [nil, "fixture_leak", nil] = Enum.map(own(site.stack, other), & &1.symbol)
  end

  test "a debug file in a folder of MTRACE_DEBUG_PATH is found by build id" do
    library =
      Library.make("leak.c", "-O2 -g", """
      id=$(readelf -n $LIB | sed -n 's/.*Build ID: //p')
      mkdir -p debug/.build-id/$(echo $id | cut -c1-2)
      file=debug/.build-id/$(echo $id | cut -c1-2)/$(echo $id | cut -c3-).debug
      objcopy --only-keep-debug $LIB $file
      strip --strip-all $LIB
      """)

    program = """
    defmodule :"#{library.module}" do
      @on_load :load
      def load, do: :erlang.load_nif(~c"#{Path.rootname(library.file)}", 0)
      def leak(_size), do: :erlang.nif_error(:not_loaded)
    end
    address = :"#{library.module}".leak(7777)
    chunk = Enum.find(Mtrace.snapshot().chunks, & &1.address == address)
    IO.puts(Enum.map_join(chunk.stack, " ", & &1.symbol))
    """

    path = "/nowhere:#{Path.join(Path.dirname(library.file), "debug")}"
    output = preloaded(program, [{"MTRACE_DEBUG_PATH", path}])
    assert output =~ "malloc inlined_leak static_leak fixture_leak leak_nif"
  end

  test "without libdw there are symbols, and status/0 says which package brings lines" do
    dir = Path.join(System.tmp_dir!(), "mtrace-names-#{System.pid()}/nothing")
    File.mkdir_p!(dir)
    File.write!(Path.join(dir, "libdw.so.1"), "")

    program = """
    address = Mtrace.Test.Leaky.leak(:malloc, 7777, 1)
    chunk = Enum.find(Mtrace.snapshot().chunks, & &1.address == address)
    IO.puts(Enum.map_join(chunk.stack, " ", &"\#{&1.symbol}:\#{&1.line}"))
    IO.puts(Mtrace.status().notes)
    """

    output = preloaded(program, [{"LD_LIBRARY_PATH", dir}])
    assert output =~ "malloc: leak_by_malloc: leak_nif: "
    assert output =~ "apt-get install libdw1"
  end

  test "names were lost for good after a moment without descriptors" do
    # Names are looked for again ten seconds later.
    program = """
    address = Mtrace.Test.Leaky.leak(:malloc, 7777, 1)
    show = fn chunks ->
      {_, _, _, _, stack} = List.keyfind(chunks, address, 2)
      IO.puts(Enum.map_join(stack, " ", fn frame -> frame && elem(frame, 1) || "-" end))
    end
    Mtrace.stats()
    open = fn open, files ->
      case :file.open(~c"/dev/null", [:read, :raw]) do
        {:ok, file} -> open.(open, [file | files])
        _ -> files
      end
    end
    files = open.(open, [])
    before = Mtrace.olds(1_000_000)
    Enum.each(files, &:file.close/1)
    show.(before)
    Process.sleep(11_000)
    show.(Mtrace.olds(1_000_000))
    """

    [before, later] =
      preloaded(program, [], "ulimit -n 300; ") |> String.split("\n", trim: true)

    refute before =~ "leak_by_malloc"
    assert later =~ "malloc leak_by_malloc leak_nif"
  end

  test "C++ templates appear demangled, and the language's own are not to blame" do
    library = Library.make("leak.cc", "-O2 -g")
    {_, site} = leak(library)
    line = Library.line(library, "the line of the leak")
    assert %Frame{symbol: "Cache<char>::fill(unsigned long)", line: ^line} = site.culprit
    assert Enum.any?(site.stack, &(&1.symbol =~ "std::vector<char" and &1.inlined))
  end

  test "Rust appears as it was written, below a panic that was caught" do
    if Library.rust?() do
      library = Library.make("leak.rs", "-O -g")
      {_, site} = leak(library)
      assert site.culprit.symbol =~ "leak_in_rust"
      assert Path.basename(site.culprit.file) == "leak.rs"
      assert site.culprit.line == Library.line(library, "the line of the leak")

      assert Enum.any?(
               site.stack,
               &(&1.symbol =~ ~r/leak::deep::Leaker<u64>::leak|Leaker<T>::leak/)
             )
    else
      IO.puts("(no rustc: names of Rust were not tried)")
    end
  end

  test "a library that was unloaded keeps its names, and gives them to nobody else" do
    renamed = &Library.make("leak.c", "-O2 -g", "objcopy --redefine-sym static_leak=#{&1} $LIB")

    library = renamed.("first_static")
    address = library.module.leak(7777)
    Library.unload(library)
    # takes the place of the first
    other = renamed.("other_static")
    other_address = other.module.leak(7777)

    assert ["inlined_leak", "first_static" | _] =
             Enum.map(own(chunk(address).stack, library), & &1.symbol)

    assert own(chunk(address).stack, other) == []

    assert ["inlined_leak", "other_static" | _] =
             Enum.map(own(chunk(other_address).stack, other), & &1.symbol)

    assert own(chunk(other_address).stack, library) == []
  end

  test "names never come from a file that replaced the library" do
    library = Library.make("leak.c", "-O2 -g -DFIRST")
    library.module.module_info()

    Library.sh!(
      library,
      "gcc -O2 -g -shared -fPIC -Dstatic_leak=replaced -Wl,--build-id -o new.so #{library.source} && mv new.so $LIB"
    )

    {_, site} = leak(library)
    refute "replaced" in Enum.map(site.stack, & &1.symbol)
    assert Enum.all?(own(site.stack, library), &(&1.symbol == nil and &1.file == nil))
    assert length(own(site.stack, library)) == 3
  end

  for {how, line} <- [
        deleted: "rm $LIB",
        truncated: "truncate -s 3000 $LIB.new",
        garbage: "head -c 20000 /dev/urandom > $LIB.new"
      ] do
    test "a #{how} file leaves its functions unknown" do
      library = Library.make("leak.c", "-O2 -g")
      library.module.module_info()
      # never written over: that would change what is mapped
      Library.sh!(
        library,
        "cp $LIB $LIB.new; #{unquote(line)}; test ! -e $LIB || mv $LIB.new $LIB"
      )

      {_, site} = leak(library)
      assert [nil, nil, nil] = Enum.map(own(site.stack, library), & &1.symbol)
    end
  end

  test "a NIF of the system's, without debug symbols, has its library's name and application" do
    case :code.lib_dir(:jiffy) do
      {:error, _} ->
        IO.puts("(no jiffy: a NIF of the system's was not tried)")

      dir ->
        json = apply(:jiffy, :encode, [Enum.to_list(1..1000)])
        Mtrace.reset()
        apply(:jiffy, :decode, [json])

        frames =
          for site <- Mtrace.sites(),
              %Frame{app: {:jiffy, _}, kind: :native} = frame <- site.stack,
              do: frame

        assert Enum.all?(frames, &String.starts_with?(&1.library, to_string(dir)))
    end
  end

  test "hostile names stay one line of text" do
    name = "\"$(printf 'a\\033[2J\\nb\\377')\""
    library = Library.make("leak.c", "-O2", "objcopy --redefine-sym static_leak=#{name} $LIB")
    {_, %Site{} = site} = leak(library)
    assert Enum.at(site.stack, 1).symbol == "a\e[2J\nb" <> <<255>>
    assert inspect(Enum.at(site.stack, 1)) =~ "a?[2J?b? in leak.so"
    assert String.printable?(inspect(site)) and String.printable?(inspect(site.stack))
    frame = %Frame{address: 1, library: "/a/b.so", symbol: "a\e[2J\nb" <> <<255>>}
    assert Frame.format(frame) == "a?[2J?b? in b.so"
  end
end
