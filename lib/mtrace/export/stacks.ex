defmodule Mtrace.Export.Stacks do
  # The stacks of a snapshot, as exported files show them, and what they weigh.
  @moduledoc false

  alias Mtrace.{Chunk, Frame, Site, Snapshot}

  @values [:live_bytes, :live, :allocated_bytes, :allocated]

  @type value :: :live_bytes | :live | :allocated_bytes | :allocated

  @doc "What a stack may weigh."
  def values, do: @values

  @doc """
  The stack without the hook, that is, without Mtrace's own frames at its inner end. It is never empty:
  where nothing else was recorded, it is one frame that says so.
  """
  @spec shown([Frame.t()]) :: [Frame.t(), ...]
  def shown(stack) do
    with [] <- Enum.drop_while(stack || [], &hook?/1),
         do: [%Frame{symbol: "[no stack]", address: 0}]
  end

  defp hook?(%Frame{kind: :native, library: library}) when is_binary(library),
    do: Path.basename(library) == "mtrace.so"

  defp hook?(_), do: false

  @doc "The sites, each with what `f` makes of the stack that is shown of it."
  @spec keyed(Snapshot.t(), ([Frame.t(), ...] -> key)) :: [{key, Site.t()}] when key: term
  def keyed(%Snapshot{sites: sites}, f),
    do: for(site <- sites, do: {f.(shown(site.stack)), site})

  @doc "Each different key with the sum of its sites' values, largest first; those of 0 are left out."
  @spec weighed([{key, Site.t()}], value) :: [{key, pos_integer}] when key: term
  def weighed(keyed, value) when value in @values do
    sums =
      for {key, site} <- keyed, reduce: %{} do
        sums -> Map.update(sums, key, Map.fetch!(site, value), &(&1 + Map.fetch!(site, value)))
      end

    sums
    |> Enum.filter(fn {_, sum} -> sum > 0 end)
    |> Enum.sort_by(fn {key, sum} -> {-sum, key} end)
  end

  @doc "A map from what identifies a site (`site_key/1`) to its chunks."
  @spec chunks(Snapshot.t()) :: %{term => [Chunk.t()]}
  def chunks(%Snapshot{chunks: chunks}), do: Enum.group_by(chunks, &site_key/1)

  # Whole frames take long to compare, and these two tell one from another.
  @spec site_key(Chunk.t() | Site.t()) :: term
  def site_key(%{stack: stack, allocator: allocator, caller: caller}),
    do: {Enum.map(stack, &[&1.address | &1.symbol]), allocator, caller}
end
