defmodule Mtrace.Memory.Emulator do
  # What the emulator says of its own memory: its allocators take carriers from the kernel or from
  # malloc, and put blocks into them.
  @moduledoc false

  # Each scheduler answers for itself: one that is in a long NIF keeps the others waiting.
  @patience_ms 2_000

  @type t :: %{
          memory: keyword(non_neg_integer) | nil,
          blocks: non_neg_integer,
          carriers: non_neg_integer,
          from_malloc: non_neg_integer,
          mapped: non_neg_integer | nil,
          disabled: [atom]
        }

  @doc """
  `memory` as `:erlang.memory/0` has it, `nil` where the emulator does not know. Sums of bytes
  over all allocators: `blocks` in use, `carriers` that hold them, the part of those
  `from_malloc`. `mapped`: what the emulator has taken from the kernel by itself and not given
  back, cached segments included. `disabled`: allocators that are switched off, whose blocks are
  malloc's.

  `{:error, :busy}` if a scheduler does not answer within #{@patience_ms} ms.
  """
  @spec ask(timeout) :: {:ok, t} | {:error, :busy}
  def ask(patience \\ @patience_ms) do
    {pid, monitor} = spawn_monitor(fn -> exit({:figures, figures()}) end)

    # The answer comes by the monitor: what comes too late for it never reaches the caller.
    answer =
      receive do
        {:DOWN, ^monitor, :process, _, {:figures, figures}} -> {:ok, figures}
        {:DOWN, ^monitor, :process, _, _} -> {:error, :busy}
      after
        patience -> {:error, :busy}
      end

    Process.demonitor(monitor, [:flush])
    Process.exit(pid, :kill)
    answer
  end

  defp figures do
    names = :erlang.system_info(:alloc_util_allocators)
    infos = for name <- names, do: {name, :erlang.system_info({:allocator, name})}
    mmap = info(:erts_mmap)
    sums(infos, mmap) |> Map.put(:memory, memory())
  end

  defp info(name) do
    :erlang.system_info({:allocator, name})
  rescue
    ArgumentError -> nil
  end

  # Where an allocator is switched off there is no sum.
  defp memory do
    :erlang.memory()
  rescue
    ErlangError -> nil
  end

  @doc "The sums, from what `:erlang.system_info({:allocator, name})` says of each, and of erts_mmap."
  def sums(infos, mmap) do
    carriers =
      for {_, instances} <- infos,
          is_list(instances),
          {:instance, _, parts} <- instances,
          {kind, part} when kind in [:mbcs, :mbcs_pool, :sbcs] <- parts,
          do: part

    %{
      blocks: carriers |> Enum.map(&blocks/1) |> Enum.sum(),
      carriers: carriers |> Enum.map(&size(&1, :carriers_size)) |> Enum.sum(),
      from_malloc: carriers |> Enum.map(&size(&1, :sys_alloc_carriers_size)) |> Enum.sum(),
      mapped: mapped(mmap),
      disabled: for({name, info} <- infos, not is_list(info), do: name)
    }
  end

  defp blocks(part) do
    case List.keyfind(part, :blocks, 0) do
      {:blocks, list} when is_list(list) ->
        for({_, b} <- list, do: size(b, :size)) |> Enum.sum()

      # Before OTP 25: the blocks of all types together.
      _ ->
        size(part, :blocks_size)
    end
  end

  # {name, now}, or {name, now, most since a while ago, most}.
  defp size(part, name) do
    case List.keyfind(part, name, 0) do
      nil -> 0
      tuple -> elem(tuple, 1)
    end
  end

  # Of each mapper, os and supercarrier have sizes.
  defp mapped(mappers) when is_list(mappers) do
    for({_, parts} <- mappers, {_, part} <- parts, is_list(part), do: part[:sizes][:used] || 0)
    |> Enum.sum()
  end

  defp mapped(_), do: nil
end
