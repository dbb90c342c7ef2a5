defmodule Mtrace.Chunk do
  @moduledoc """
  A chunk of memory that is recorded, as it was when the snapshot was taken.

    * `address`, `size` - in bytes; the size is the one that was asked for
    * `age_ms` - milliseconds since it was allocated
    * `born_ns` - when that was, by the system's monotonic clock, in nanoseconds. With `address` it tells
      a chunk from all others of this run of the node
    * `weight` - how many chunks of its kind it stands for: 1.0 where everything is recorded, else
      the inverse of the probability with which it came into the table
    * `allocator` - `:malloc`, for all of the malloc family; `:enif` (enif_alloc), `:binary`
      (enif_alloc_binary, until it is the emulator's), `:resource` (until its destructor has run),
      `:env` (enif_alloc_env, taken for 840 bytes, without its terms), `:driver` (driver_alloc and
      driver_alloc_binary)
    * `caller` - the NIF that was running, as `{module, function, arity}`; `{:load, {module, callback}}`
      or `{:destructor, {module, resource_type}}` for what the emulator calls by itself; `:thread` on
      a thread that is no scheduler's; else `nil`
    * `pid` - the Erlang process that it ran for; `nil` if none
    * `thread` - `%{id:, name:, kind:}`: the kernel's number of the thread, its name (`nil` if it has
      ended), and `:normal`, `:dirty_cpu`, `:dirty_io` for schedulers, `:async` or `:other`
    * `site` - the `id` of its `Mtrace.Site` in the same snapshot
    * `stack` - where it was allocated, innermost first: a list of `Mtrace.Frame`
  """

  @type allocator :: :malloc | :enif | :binary | :resource | :env | :driver

  @type caller ::
          {module, atom, arity}
          | {:load, {module, atom}}
          | {:destructor, {module, String.t()}}
          | :thread
          | nil

  @type t :: %__MODULE__{
          address: non_neg_integer,
          size: non_neg_integer,
          age_ms: non_neg_integer,
          born_ns: non_neg_integer,
          weight: float,
          allocator: Mtrace.Chunk.allocator(),
          caller: Mtrace.Chunk.caller(),
          pid: pid | String.t() | nil,
          thread: %{id: pos_integer, name: String.t() | nil, kind: atom},
          site: non_neg_integer,
          stack: [Mtrace.Frame.t()]
        }

  defstruct [
    :address,
    :size,
    :age_ms,
    :born_ns,
    :weight,
    :caller,
    :pid,
    :thread,
    :site,
    :stack,
    allocator: :malloc
  ]

  defimpl Inspect do
    def inspect(chunk, options), do: Mtrace.Shown.as(chunk, options, &text/1)

    defp text(chunk) do
      where = Mtrace.Culprit.headline(chunk.stack)

      Mtrace.Frame.wrap(
        "#Mtrace.Chunk<#{chunk.size} bytes, #{chunk.age_ms} ms old" <>
          if(where, do: ", #{Mtrace.Frame.short(where)}>", else: ">")
      )
    end
  end
end
