defmodule Mtrace.Memory.Mappings do
  # What each mapping is used for, and how much of it is resident.
  @moduledoc false

  alias Mtrace.Memory.Proc

  @type resident :: {anonymous :: non_neg_integer, file :: non_neg_integer, non_neg_integer}

  @type sums :: %{
          heaps: non_neg_integer,
          stacks: non_neg_integer,
          jit: non_neg_integer,
          jit_shared: non_neg_integer,
          copies: non_neg_integer,
          other: non_neg_integer,
          files: %{binary => non_neg_integer},
          shared: %{binary => non_neg_integer}
        }

  # A thread's stack has a guard below it that cannot be touched. glibc's is one page, others
  # take more.
  @guard 1_048_576
  # What joins a stack, or the data of a library, from above may be one mapping with it, or be
  # taken for it: no more than this is believed to be the stack's, or the library's variables.
  @stack 8_388_608
  @variables 524_288

  # Not part of RSS.
  @kernel ["[vvar]", "[vvar_vclock]", "[vdso]", "[vsyscall]"]

  @doc "Those worth asking about: what cannot be read, written or executed holds no page of ours."
  @spec used([Proc.mapping()]) :: [Proc.mapping()]
  def used(mappings), do: Enum.reject(mappings, &(none?(&1) or &1.path in @kernel))

  @doc "Whether pages of it are a file's, or shared memory's."
  @spec file?(Proc.mapping()) :: boolean
  def file?(mapping), do: mapping.inode != "0"

  @doc """
  Sums of resident bytes over all mappings. `resident` has `{anonymous, file, in malloc's
  arenas}` for the start of each that was asked about.

    * `heaps` - malloc's: brk's, and the arenas
    * `stacks` - of threads
    * `jit`, `jit_shared` - anonymous and shared memory that is executed
    * `copies` - pages of files that were written to, and variables without a value in the file
    * `other` - the rest of anonymous memory
    * `files`, `shared` - a map from the path
  """
  @spec sums([Proc.mapping()], %{non_neg_integer => resident}) :: sums
  def sums(mappings, resident) do
    executed = executed(mappings)

    sums = %{
      heaps: 0,
      stacks: 0,
      jit: 0,
      jit_shared: 0,
      copies: 0,
      other: 0,
      files: %{},
      shared: %{}
    }

    {sums, _} =
      Enum.reduce(mappings, {sums, nil}, fn mapping, {sums, below} ->
        {add(purpose(mapping, below, executed), mapping, resident[mapping.start], sums),
         mapping}
      end)

    sums
  end

  @doc "The size of shared memory that is executed: what of it can be resident."
  @spec jit_size([Proc.mapping()]) :: non_neg_integer
  def jit_size(mappings) do
    executed = executed(mappings)

    for(m <- mappings, MapSet.member?(executed, {m.inode, m.path}), do: m.end - m.start)
    |> Enum.sum()
  end

  # Shared memory that is mapped to be executed (and once more to be written) is the JIT's.
  defp executed(mappings) do
    for %{permissions: <<_, _, "xs">>} = m <- mappings,
        into: MapSet.new(),
        do: {m.inode, m.path}
  end

  defp purpose(mapping, below, executed) do
    cond do
      none?(mapping) or mapping.path in @kernel -> :none
      file?(mapping) -> file_purpose(mapping, executed)
      mapping.path == "[heap]" -> :heap
      String.starts_with?(mapping.path, ["[stack", "[anon: glibc: pthread stack"]) -> :stack
      executable?(mapping) -> :jit
      joins?(mapping, below) and data?(below) -> :copies
      joins?(mapping, below) and guard?(below) -> :stack
      true -> :other
    end
  end

  defp file_purpose(mapping, executed) do
    cond do
      MapSet.member?(executed, {mapping.inode, mapping.path}) -> :jit_shared
      shared_memory?(mapping.path) -> :shared
      true -> :file
    end
  end

  defp none?(mapping), do: String.starts_with?(mapping.permissions, "---")
  defp executable?(%{permissions: <<_, _, x, _>>}), do: x == ?x
  defp joins?(_, nil), do: false
  defp joins?(mapping, below), do: below.end == mapping.start
  defp data?(below), do: file?(below) and below.permissions == "rw-p"

  defp guard?(below),
    do: none?(below) and not file?(below) and below.end - below.start <= @guard

  defp shared_memory?(path),
    do: String.starts_with?(path, ["/memfd:", "/dev/shm/", "/dev/zero", "/SYSV"])

  defp add(:none, _, _, sums), do: sums
  defp add(_, _, nil, sums), do: sums

  defp add(purpose, mapping, {anonymous, file, arenas}, sums) do
    sums = %{sums | heaps: sums.heaps + arenas}
    rest = anonymous - arenas

    case purpose do
      :heap ->
        %{sums | heaps: sums.heaps + rest}

      :jit ->
        %{sums | jit: sums.jit + rest}

      :other ->
        %{sums | other: sums.other + rest}

      :stack ->
        part(sums, :stacks, rest, @stack)

      :copies ->
        part(sums, :copies, rest, @variables)

      :jit_shared ->
        %{sums | jit_shared: sums.jit_shared + file + rest}

      :file ->
        %{sums | copies: sums.copies + rest, files: plus(sums.files, mapping.path, file)}

      :shared ->
        %{sums | copies: sums.copies + rest, shared: plus(sums.shared, mapping.path, file)}
    end
  end

  defp part(sums, key, bytes, most) do
    sums
    |> Map.update!(key, &(&1 + min(bytes, most)))
    |> Map.update!(:other, &(&1 + max(bytes - most, 0)))
  end

  defp plus(map, path, bytes), do: Map.update(map, path, bytes, &(&1 + bytes))
end
