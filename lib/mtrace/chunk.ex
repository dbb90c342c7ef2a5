defmodule Mtrace.Chunk do
  @moduledoc """
  A chunk of memory that is recorded, as it was when the snapshot was taken.

    * `address`, `size` - in bytes; the size is the one that was asked for
    * `age_ms` - milliseconds since it was allocated
    * `weight` - how many chunks of its kind it stands for: 1.0 where everything is recorded, else
      the inverse of the probability with which it came into the table
    * `allocator` - `:malloc`, for all of the malloc family
    * `stack` - where it was allocated, innermost first: a list of `Mtrace.Frame`
  """

  @type t :: %__MODULE__{
          address: non_neg_integer,
          size: non_neg_integer,
          age_ms: non_neg_integer,
          weight: float,
          allocator: :malloc,
          stack: [Mtrace.Frame.t()]
        }

  defstruct [:address, :size, :age_ms, :weight, :stack, allocator: :malloc]

  defimpl Inspect do
    def inspect(chunk, _options) do
      where = Mtrace.Culprit.headline(chunk.stack)

      Mtrace.Frame.wrap(
        "#Mtrace.Chunk<#{chunk.size} bytes, #{chunk.age_ms} ms old" <>
          if(where, do: ", #{Mtrace.Frame.short(where)}>", else: ">")
      )
    end
  end
end
