defmodule Mtrace.Memory.Sources do
  # What each line is called, and where its figure comes from.
  @moduledoc false

  alias Mtrace.Frame
  alias Mtrace.Memory.Line

  @doc "The line of this kind; `figures` as in `Mtrace.Memory.Balance`, or `nil` for nested lines"
  def line(kind, bytes, figures) do
    %Line{kind: kind, name: name(kind, figures), source: source(kind, figures), bytes: bytes}
  end

  @doc "A line that is called by what somebody else wrote: a path, the name of an application"
  def named(kind, name, bytes) do
    %Line{kind: kind, name: text(name), source: source(kind, nil), bytes: bytes}
  end

  @doc "What may be shown on a terminal of somebody else's bytes."
  # String.printable?/1 holds escape and its kin for printable.
  def text(bytes),
    do: bytes |> Frame.printable() |> String.replace(~r/[\x{0}-\x{1f}\x{7f}-\x{9f}]/u, "?")

  @doc "What is known where there is no /proc: the emulator's own sum, if that"
  def elsewhere(%{emulator: emulator}) do
    memory = (emulator && emulator.memory) || [total: (emulator && emulator.blocks) || 0]

    parts =
      for kind <- [:processes, :binary, :ets, :atom, :code], n = memory[kind] do
        %{line(kind, n, nil) | source: ":erlang.memory(#{inspect(kind)})"}
      end

    other = memory[:total] - (parts |> Enum.map(& &1.bytes) |> Enum.sum())
    parts = if parts == [], do: [], else: parts ++ [line(:other, other, nil)]

    %Line{
      kind: :erlang,
      name: "Erlang data",
      bytes: memory[:total],
      source: ":erlang.memory(:total)",
      lines: parts
    }
  end

  defp name(:erlang, %{emulator: nil}), do: "Erlang data, not told apart"
  defp name(:erlang, _), do: "Erlang data"
  defp name(:carriers, _), do: "unused room in Erlang's carriers"
  defp name(:native, %{sums: nil}), do: "native, not told apart"
  defp name(:native, %{heap: nil}), do: "native memory"
  defp name(:native, _), do: "malloc, in use"
  defp name(:fragmentation, _), do: "malloc, free but kept"
  defp name(:mapped, _), do: "mapped by libraries themselves"
  defp name(:stacks, _), do: "thread stacks"
  defp name(:files, _), do: "mapped files"
  defp name(:jit, _), do: "JIT code"
  defp name(:shared, _), do: "shared memory"
  defp name(:mtrace, _), do: "Mtrace itself"
  defp name(:unexplained, _), do: "unexplained"
  defp name(:processes, _), do: "processes"
  defp name(:binary, _), do: "binaries"
  defp name(:ets, _), do: "ETS tables"
  defp name(:atom, _), do: "atoms"
  defp name(:code, _), do: "code, without the JIT's"
  defp name(:other, _), do: "other data of the emulator"
  defp name(:untouched, _), do: "taken, but not resident"
  defp name(:unseen, _), do: "not seen by Mtrace"
  defp name(:copies, _), do: "variables and changed pages"
  defp name(:other_files, _), do: "other files"

  defp source(:erlang, %{emulator: nil}) do
    "what is anonymous and not malloc's: the emulator did not answer, so Erlang's data, its " <>
      "unused " <>
      "room and what libraries mapped by themselves are one sum"
  end

  defp source(:erlang, _) do
    "blocks in use of all alloc_util allocators, :erlang.system_info({:allocator, _}); taken " <>
      "as " <>
      "resident as far as there is resident memory for them"
  end

  defp source(:carriers, _) do
    "what erts has mapped (erts_mmap, cached segments included) or taken from malloc " <>
      "(carriers of " <>
      "sys_alloc), less the blocks in use; less what is not resident of it all"
  end

  defp source(:native, %{sums: nil}) do
    "RssAnon of /proc/self/status less the lines above: the mappings could not be looked at, " <>
      "so " <>
      "that malloc's memory, stacks and variables of libraries are one sum"
  end

  defp source(:native, %{heap: nil, allocator: allocator}) do
    "anonymous mappings less Erlang's: #{allocator(allocator)} serves malloc, and keeps its " <>
      "account " <>
      "otherwise than glibc, so that what is free of it, and what libraries map by " <>
      "themselves, is in this sum"
  end

  defp source(:native, _) do
    "mallinfo2(3) of glibc: uordblks and hblkhd, less carriers of sys_alloc, and less what " <>
      "is not " <>
      "resident"
  end

  defp source(:fragmentation, %{heap: nil}),
    do: "not known: mallinfo2(3) is glibc's, and does not describe this malloc or was not asked"

  defp source(:fragmentation, _) do
    "resident bytes of malloc's heaps (mincore(2) on brk's and the arenas') beyond those in " <>
      "use, at " <>
      "most fordblks of mallinfo2(3). malloc_trim(0) gives back at most that"
  end

  defp source(:mapped, _) do
    "resident anonymous mappings that neither erts nor malloc accounts for"
  end

  defp source(:stacks, _) do
    "resident bytes of [stack], and of anonymous mappings directly above a guard " <>
      "(PROT_NONE); at " <>
      "most 8 MiB of each"
  end

  defp source(:files, _) do
    "RssFile of /proc/self/status: pages of libraries and of other mapped files, which the " <>
      "kernel can " <>
      "drop; and copies of those that were written to, by /proc/self/pagemap"
  end

  defp source(:jit, _) do
    "resident bytes of mappings that are executed and no file's; shared memory counts for " <>
      "each of its " <>
      "two mappings, as in RSS"
  end

  defp source(:shared, _), do: "RssShmem of /proc/self/status, less the JIT's"

  defp source(:mtrace, _),
    do: "own_bytes and naming_bytes of Mtrace.status/0: mapped, not all of it need be resident"

  defp source(:unexplained, _) do
    "what is left of VmRSS. It may be negative: the figures are of different moments, and " <>
      "some pages " <>
      "are counted by the one source and not by the other"
  end

  defp source(:app, _) do
    "live_bytes of Mtrace.snapshot/0's sites, by the application of the culprit (of its " <>
      "library, " <>
      "where it has none): estimates, of what was allocated while Mtrace traced"
  end

  defp source(:unseen, _) do
    "the rest: allocated before Mtrace came, by libraries whose calls it does not see, " <>
      "malloc's own " <>
      "overhead; negative where the estimates above are too high"
  end

  defp source(:code, _),
    do:
      ":erlang.memory(:code), less what :erlang.memory(:total) has beyond the allocators' blocks"

  defp source(:other, _), do: "the rest of the blocks"

  defp source(:untouched, _),
    do: "what of the blocks cannot be resident, because the mappings have less"

  defp source(:file, _), do: "/proc/self/pagemap, or smaps"

  defp source(:copies, _) do
    "anonymous pages of file mappings and of the anonymous mappings directly above their data"
  end

  defp source(:other_files, _), do: "the rest"
  defp source(kind, _), do: ":erlang.memory(#{inspect(kind)})"

  defp allocator(nil), do: "another allocator"
  defp allocator(path), do: path |> Path.basename() |> text()
end
