defmodule Mtrace.Native do
  # One stub a NIF; see c_src/serve/nif.h for what they return. Loading this module never fails: where
  # the library cannot be loaded, every call returns the reason.
  @moduledoc false

  @on_load :load
  @answer {__MODULE__, :not_loaded}

  def load do
    case :erlang.load_nif(path(), 0) do
      :ok -> :persistent_term.erase(@answer)
      {:error, reason} -> :persistent_term.put(@answer, {:error, {:not_loaded, reason}})
    end

    :ok
  end

  def stats, do: not_loaded()
  def reset, do: not_loaded()
  def sharpen(_when), do: not_loaded()
  def olds(_n, _demangle), do: not_loaded()
  def snapshot, do: not_loaded()
  def configure(_interval, _budget_ppm, _depth, _erlang_depth), do: not_loaded()
  def status, do: not_loaded()
  def memory(_mappings), do: not_loaded()
  def calibrate(_anything), do: not_loaded()
  def attach(_parts), do: not_loaded()
  def detach, do: not_loaded()

  @doc "The library's file without its ending."
  def path do
    dir =
      case :code.priv_dir(:mtrace) do
        {:error, _} -> beside_ebin()
        dir -> dir
      end

    :filename.join(dir, ~c"mtrace")
  end

  defp beside_ebin do
    case :code.which(__MODULE__) do
      file when is_list(file) ->
        file |> :filename.dirname() |> :filename.dirname() |> :filename.join(~c"priv")

      _ ->
        ~c"."
    end
  end

  # The whole answer is kept there: written out here, Elixir 1.18's types would take it for the only
  # one, and warn of every caller that expects another.
  defp not_loaded, do: :persistent_term.get(@answer, {:error, {:not_loaded, :unknown}})
end
