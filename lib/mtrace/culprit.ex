defmodule Mtrace.Culprit do
  # Which frame of a stack is to blame.
  @moduledoc false

  alias Mtrace.Frame

  # By the start of the file's name, up to a dot or a dash: libc.so.6, libc-2.31.so, beam.smp.
  @system ~w(mtrace libc libstdc++ libc++ libc++abi libgcc_s libpthread libm libdl librt
             ld-linux ld linux-vdso beam libjemalloc libtcmalloc libtcmalloc_minimal libmimalloc)

  # Functions of a language's own library, which a compiler puts into whatever uses them.
  @language ~r/^(<?(std|core|alloc|hashbrown|__gnu_cxx|__cxxabiv1)::|<?(alloc|core|std)::|operator (new|delete)|__r(ust|g|dl)_|_?rust_|<.* as (core|alloc|std)::)/

  @doc """
  The first frame in the native library of an application that is not Mtrace; else the first outside
  of what every program has; else the first Erlang function. `nil`: none. In a library the first
  function whose name is known counts, and one of its own before those that its language's library
  put there.
  """
  @spec find([Frame.t()]) :: Frame.t() | nil
  def find(stack) do
    native = Enum.filter(stack, &(&1.kind == :native and &1.library != nil))
    own = Enum.filter(native, &application?/1)
    other = Enum.reject(native, &system?/1)

    programmed(own) || programmed(other) || Enum.find(stack, &erlang?/1)
  end

  defp programmed(frames) do
    named = Enum.filter(frames, & &1.symbol)
    Enum.find(named, &(not language?(&1))) || List.first(named) || List.first(frames)
  end

  @doc "What to show of a stack in one line: the culprit, or else the first frame behind the hook."
  @spec headline([Frame.t()]) :: Frame.t() | nil
  def headline(stack) do
    find(stack) || Enum.find(stack, List.first(stack), &(not ours?(&1)))
  end

  defp application?(%Frame{app: nil}), do: false
  defp application?(frame), do: not ours?(frame)

  # In a snapshot from elsewhere names may be texts.
  defp ours?(%Frame{app: {name, _}}), do: name in [:mtrace, "mtrace"]
  defp ours?(_), do: false

  defp erlang?(%Frame{kind: :erlang, app: app, symbol: symbol}),
    do: app != nil and symbol != nil

  defp erlang?(_), do: false

  defp language?(%Frame{symbol: symbol}), do: symbol =~ @language

  defp system?(%Frame{library: library} = frame) do
    ours?(frame) or stem(Path.basename(library)) in @system
  end

  defp stem(file) do
    case file do
      "ld-linux" <> _ -> "ld-linux"
      "linux-vdso" <> _ -> "linux-vdso"
      _ -> file |> String.split([".so", "-", ".smp"], parts: 2) |> hd()
    end
  end
end
