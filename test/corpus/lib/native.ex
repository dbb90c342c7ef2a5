defmodule Mtrace.Corpus.Held do
  @moduledoc "A chunk that a workload holds: where it came from, by which allocator, and its size."
  @enforce_keys [:site, :way, :address, :size]
  defstruct [:site, :way, :address, :size]
end

defmodule Mtrace.Corpus.Native do
  @moduledoc """
  The NIFs of the corpus: allocate and free at sites that are C functions of their own; see
  test/corpus/c_src. Sites and ways are atoms, those of `sites.h`.
  """

  alias Mtrace.Corpus.Held

  @on_load :load

  def load, do: library() |> Path.rootname() |> String.to_charlist() |> :erlang.load_nif(0)

  @doc "The file that the sites are in."
  def library, do: Path.expand("../../build/corpus/corpus.so", __DIR__)

  @doc "Allocates `size` bytes at a site."
  def take(site, way, size), do: held(site, way, do_take(site, way, size), size)

  @doc "The same in a dirty NIF."
  def take_dirty(site, way, size), do: held(site, way, do_take_dirty(site, way, size), size)

  @doc "The same on a native thread of thread_start/0."
  def thread_take(thread, site, way, size),
    do: held(site, way, do_thread_take(thread, site, way, size), size)

  defp held(site, way, address, size),
    do: %Held{site: site, way: way, address: address, size: size}

  @doc "Reallocates a chunk to `size` bytes, or adds an element of `size` bytes to a container."
  def grow(%Held{} = held, size) do
    address = do_grow(held.site, held.way, held.address, held.size, size)
    %{held | address: address, size: size}
  end

  @doc "Frees a chunk."
  def give(%Held{} = held), do: do_give(held.site, held.way, held.address, held.size)

  @doc "The same on a native thread."
  def thread_give(thread, %Held{} = held),
    do: do_thread_give(thread, held.site, held.way, held.address, held.size)

  @doc """
  A resource with an inner part, which its destructor frees. With `forgets: true` it does not.
  """
  def resource(site, size, inner_site, inner_size, options \\ []),
    do: do_resource(site, size, inner_site, inner_size, options[:forgets] == true)

  @doc "Allocates and frees a chunk of each of these sizes, within one call."
  def churn(_site, _way, _sizes), do: :erlang.nif_error(:not_loaded)

  @doc "A binary that is handed over to the emulator (`:hand`), or that nobody frees (`:forget`)."
  def binary(_site, _size, _fate), do: :erlang.nif_error(:not_loaded)

  @doc "Starts a native thread and returns its number."
  def thread_start, do: :erlang.nif_error(:not_loaded)
  def thread_stop(_thread), do: :erlang.nif_error(:not_loaded)

  @doc "How many chunks and bytes a site holds, by the library's own book: `{chunks, bytes}`."
  def book(_site), do: :erlang.nif_error(:not_loaded)

  @doc "All sites."
  def sites, do: :erlang.nif_error(:not_loaded)

  defp do_take(_site, _way, _size), do: :erlang.nif_error(:not_loaded)
  defp do_take_dirty(_site, _way, _size), do: :erlang.nif_error(:not_loaded)
  defp do_grow(_site, _way, _address, _old_size, _size), do: :erlang.nif_error(:not_loaded)
  defp do_give(_site, _way, _address, _size), do: :erlang.nif_error(:not_loaded)
  defp do_resource(_site, _size, _inner, _size2, _forgets), do: :erlang.nif_error(:not_loaded)
  defp do_thread_take(_thread, _site, _way, _size), do: :erlang.nif_error(:not_loaded)
  defp do_thread_give(_thread, _site, _way, _address, _size), do: :erlang.nif_error(:not_loaded)
end
