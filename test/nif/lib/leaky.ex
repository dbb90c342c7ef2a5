defmodule Mtrace.Test.Leaky do
  @moduledoc "NIFs that leak in known ways; see test/nif/c_src/leaky.c."

  @on_load :load

  def load do
    [__DIR__, "../../build/nif/leaky"]
    |> Path.join()
    |> Path.expand()
    |> String.to_charlist()
    |> :erlang.load_nif(0)
  end

  @doc "The ways to leak that return a chunk of the size that was asked for."
  def ways do
    ~w(malloc calloc realloc reallocarray posix_memalign aligned_alloc memalign valloc pvalloc
       new thread)a
  end

  def leak(_how, _size, _times), do: :erlang.nif_error(:not_loaded)
  def leak_dirty(_how, _size, _times), do: :erlang.nif_error(:not_loaded)
  def leak_dirty_io(_how, _size, _times), do: :erlang.nif_error(:not_loaded)
  def leak_again(_first, _second, _size), do: :erlang.nif_error(:not_loaded)
  def churn(_size, _times), do: :erlang.nif_error(:not_loaded)
  def give_back(_address), do: :erlang.nif_error(:not_loaded)
  def same(_term), do: :erlang.nif_error(:not_loaded)
  def resize(_address, _size), do: :erlang.nif_error(:not_loaded)
end
