defmodule Mtrace.ObjectTest do
  # What priv/mtrace.so is, seen from outside.
  use ExUnit.Case, async: true
  @moduletag :plain

  import Mtrace.Test.Program, only: [object: 0]

  @family ~w(malloc calloc realloc reallocarray free free_sized free_aligned_sized posix_memalign
    aligned_alloc memalign valloc pvalloc malloc_usable_size strdup strndup __strdup __strndup)

  defp readelf(args) do
    {output, 0} = System.cmd("readelf", args ++ [object()], env: [{"LC_ALL", "C"}])
    output
  end

  defp dynamic_symbols do
    for line <- String.split(readelf(["-W", "--dyn-syms"]), "\n"),
        [_, _, _, type, binding, visibility, index, name | _] <- [String.split(line)],
        type != "SECTION",
        do: %{
          binding: binding,
          visibility: visibility,
          index: index,
          name: hd(String.split(name, "@"))
        }
  end

  test "it exports the malloc family, two of the loader's, nif_init and its interfaces" do
    exported =
      for %{index: index, name: name} <- dynamic_symbols(),
          index not in ["UND", "Ndx"],
          do: name

    assert Enum.sort(exported) ==
             Enum.sort(
               @family ++
                 ~w(dl_iterate_phdr dlclose nif_init mtrace_core mtrace_attach mtrace_detach)
             )
  end

  test "every enif function is weak, so that it loads into any program" do
    enif =
      for %{name: "enif_" <> _ = name, binding: binding} <- dynamic_symbols(),
          do: {name, binding}

    assert length(enif) > 10
    assert Enum.reject(enif, &match?({_, "WEAK"}, &1)) == []
  end

  test "it needs libc and nothing else" do
    needed = Regex.scan(~r/NEEDED.*\[(.*)\]/, readelf(["-d"]), capture: :all_but_first)
    assert List.flatten(needed) -- ~w(libc.so.6 libdl.so.2 libpthread.so.0) == []
    assert readelf(["-d"]) =~ "NODELETE"
  end

  test "it takes at most 64 bytes of static thread-local storage" do
    [[size]] =
      Regex.scan(~r/^\s*TLS\s+\S+\s+\S+\s+\S+\s+\S+\s+(0x\S+)/m, readelf(["-lW"]),
        capture: :all_but_first
      )

    assert String.to_integer(String.trim_leading(size, "0x"), 16) <= 64
    refute readelf(["-rW"]) =~ ~r/DTPMOD|TLSDESC/
  end
end
