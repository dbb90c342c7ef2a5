defmodule Mtrace.Test.JitNames do
  @moduledoc "The core's names for JIT code, asked of the live VM; see test/nif/c_src/jit_names.c."

  @on_load :load

  def load do
    [__DIR__, "../../build/nif/jit_names"]
    |> Path.join()
    |> Path.expand()
    |> String.to_charlist()
    |> :erlang.load_nif(0)
  end

  def names(_addresses), do: :erlang.nif_error(:not_loaded)
  def descriptor, do: :erlang.nif_error(:not_loaded)
  def returns, do: :erlang.nif_error(:not_loaded)
end
