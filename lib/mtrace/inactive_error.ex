defmodule Mtrace.InactiveError do
  @moduledoc """
  Raised by calls that need tracing in a node where nothing is traced: an answer of zeros or an
  empty list would read as "no leak".

  The message says why nothing is traced and what to do. `reason` is one of

    * `:inactive` - the object was not preloaded when the node started, nor was it attached to
    * `:detached` - it was attached to, and detached again; what was recorded before can be read, but
      nothing can be watched
    * `:off` - it was, with `MTRACE=0`
    * `:shadowed` - another allocator stands in front of it in `LD_PRELOAD`
    * `:late` - `LD_PRELOAD` names it, but it could not be loaded when the node started
    * `:no_memory` - its tables could not be mapped
    * `:no_allocator` - from `Mtrace.attach/1`: no library calls a malloc that it could stand in
      front of
    * `{:version, active, loaded}` - the object that was preloaded is of another release
    * `{:not_loaded, reason}` - the library could not be loaded as a NIF, or was not built

  `Mtrace.status/0` answers in all of these cases.
  """
  defexception [:reason, :message]

  @type reason ::
          :inactive
          | :detached
          | :off
          | :shadowed
          | :late
          | :no_memory
          | :no_allocator
          | {:version, non_neg_integer, non_neg_integer}
          | {:not_loaded, term}

  @type t :: %__MODULE__{reason: reason, message: String.t()}

  @impl true
  def exception(reason: reason), do: %__MODULE__{reason: reason, message: describe(reason)}

  @doc false
  @spec describe(reason) :: String.t()
  def describe(:inactive) do
    "Mtrace is not active in this node: its object was not preloaded, so it has seen no " <>
      "allocation. Mtrace.attach() traces from now on; from the start, with everything: start " <>
      "the node with LD_PRELOAD=#{object()}"
  end

  def describe(:detached) do
    "Mtrace is detached from this node: nothing that happens now is seen. Mtrace.attach() starts anew"
  end

  def describe(:off) do
    "Mtrace is switched off in this node: it was started with MTRACE=0. Start the node without " <>
      "that variable"
  end

  def describe(:shadowed) do
    "Mtrace sees no allocation in this node: another object in LD_PRELOAD, or the program " <>
      "itself, brings a malloc that stands in front of it. Name #{object()} first in LD_PRELOAD"
  end

  def describe(:late) do
    "Mtrace sees no allocation in this node: LD_PRELOAD names its object, but it was not there " <>
      "when the node started, or is named by a path that is not absolute. Build it (mix compile), " <>
      "and start the node again with LD_PRELOAD=#{object()}"
  end

  def describe(:no_memory) do
    "Mtrace found no memory for its tables when it was asked for. Where it happened at start, " <>
      "start the node with a smaller MTRACE_SLOTS, or with more memory"
  end

  def describe(:no_allocator) do
    "Mtrace found no library in this node that calls malloc through the dynamic linker: the " <>
      "program is linked statically, and can only be traced by an allocator of its own"
  end

  def describe({:version, active, loaded}) do
    "Mtrace's preloaded core speaks interface #{active} and this release of the package " <>
      "interface #{loaded}: restart the node to preload the new object"
  end

  def describe({:not_loaded, reason}) do
    case unsupported() do
      nil -> "Mtrace's library could not be loaded: #{explain(reason)}"
      why -> "Mtrace is not supported here: #{why}, and it needs Linux with glibc"
    end
  end

  # Why the core does not exist on such a system; nil where it does. As the compiler in mix.exs.
  @doc false
  @spec unsupported({atom, atom}, String.t()) :: String.t() | nil
  def unsupported(
        os \\ :os.type(),
        machine \\ to_string(:erlang.system_info(:system_architecture))
      ) do
    cond do
      os != {:unix, :linux} -> "this is #{elem(os, 1)}"
      machine =~ "musl" -> "this system has musl instead of glibc"
      true -> nil
    end
  end

  defp explain({kind, text}) when kind in [:load_failed, :bad_lib, :load, :upgrade] do
    if File.exists?(object()) do
      "#{text}. Build it again for this VM: mix compile --force"
    else
      "there is no #{object()}. Build it: mix compile"
    end
  end

  defp explain(other), do: inspect(other)

  defp object, do: "#{Mtrace.Native.path()}.so"
end
