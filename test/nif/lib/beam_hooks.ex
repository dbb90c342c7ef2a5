defmodule Mtrace.Test.BeamHooks do
  @moduledoc "The core's hooks of the BEAM, without those of malloc; see test/nif/c_src/beam_hooks.c."

  @on_load :load

  def load, do: :erlang.load_nif(path("beam_hooks"), 0)

  @doc "The path of a fixture library, without its ending."
  def path(name),
    do:
      [__DIR__, "../../build/nif", name] |> Path.join() |> Path.expand() |> String.to_charlist()

  def start, do: :erlang.nif_error(:not_loaded)
  def stop, do: :erlang.nif_error(:not_loaded)
  def wrap_loaded, do: :erlang.nif_error(:not_loaded)
  def calibrate, do: :erlang.nif_error(:not_loaded)
  def lacks, do: :erlang.nif_error(:not_loaded)
  def live, do: :erlang.nif_error(:not_loaded)
  def count(_name), do: :erlang.nif_error(:not_loaded)
  def probe_address, do: :erlang.nif_error(:not_loaded)
  def nested, do: :erlang.nif_error(:not_loaded)
  def probe, do: :erlang.nif_error(:not_loaded)
  def context, do: :erlang.nif_error(:not_loaded)

  @doc "Calibrates from `depth` calls further down."
  def calibrate(0), do: calibrate()
  def calibrate(depth), do: calibrate(depth - 1) == true

  @doc "Defines a module that loads the fixture library of this name (beam_user.c)."
  def define(module, library) do
    path = path(library)

    Module.create(
      module,
      quote do
        @on_load :load
        def load, do: :erlang.load_nif(unquote(path), unquote(probe_address()))
        def set_probe(_), do: :erlang.nif_error(:not_loaded)
        def call, do: :erlang.nif_error(:not_loaded)
        def call_dirty, do: :erlang.nif_error(:not_loaded)
        def call_dirty_io, do: :erlang.nif_error(:not_loaded)
        def nothing(_), do: :erlang.nif_error(:not_loaded)
        def schedule(_), do: :erlang.nif_error(:not_loaded)
        def thread, do: :erlang.nif_error(:not_loaded)
        def alloc(_), do: :erlang.nif_error(:not_loaded)
        def realloc(_, _), do: :erlang.nif_error(:not_loaded)
        def free(_), do: :erlang.nif_error(:not_loaded)
        def binary(_, _), do: :erlang.nif_error(:not_loaded)
        def env(_), do: :erlang.nif_error(:not_loaded)
        def resource(_, _), do: :erlang.nif_error(:not_loaded)
        def destroyed, do: :erlang.nif_error(:not_loaded)
        def version, do: :erlang.nif_error(:not_loaded)
      end,
      Macro.Env.location(__ENV__)
    )
  end
end
