defmodule Mtrace.Site do
  @moduledoc """
  What was allocated from one stack, estimated from the chunks that are recorded.

    * `id` - a number, by which the chunks of the same snapshot refer to it
    * `stack` - innermost first: a list of `Mtrace.Frame`
    * `culprit` - the frame to look at: the first in a library that an application brings (other than
      Mtrace), one whose name is known before others; without any, the same in another library than
      C's, C++'s, the allocator's or the BEAM; else the first Erlang function; `nil` if there is none
      of these. Where it is `nil`, shells show the frame behind the hook
    * `allocator`, `caller` - as in `Mtrace.Chunk`
    * `recorded` - chunks in the table
    * `live`, `live_bytes` - chunks and bytes that are allocated now; `live_error`,
      `live_bytes_error` their standard errors (0 where everything is recorded): the truth lies
      within twice that in 19 of 20 cases. (Not at a fixed interval once the table is full: what
      found no place is missing, and `Mtrace.status/0` says so)
    * `allocated`, `allocated_bytes` - since tracing began or the last `Mtrace.reset/0`, with
      `allocated_error`, `allocated_bytes_error`
    * `freed`, `freed_bytes` - what of it is not allocated any more: `allocated` less `live`, and
      never negative. The two are estimated from different chunks (all that were drawn, and those that are in the
      table), so `live` may come out as the larger by chance, and the errors of both add up
    * `peak_bytes` - the highest estimate of `live_bytes` so far; a maximum of estimates, hence rather
      too high

    * `youngest_ms`, `median_ms`, `oldest_ms` - ages of the chunks; half of those that they stand for are
      older than the median

  All are whole numbers. The estimator is that of Horvitz and Thompson (JASA 47, 1952): each chunk
  counts by the inverse of the probability with which it was recorded.
  """

  @type t :: %__MODULE__{
          id: non_neg_integer,
          stack: [Mtrace.Frame.t()],
          culprit: Mtrace.Frame.t() | nil,
          allocator: Mtrace.Chunk.allocator(),
          caller: Mtrace.Chunk.caller(),
          recorded: pos_integer,
          live: non_neg_integer,
          live_error: non_neg_integer,
          live_bytes: non_neg_integer,
          live_bytes_error: non_neg_integer,
          allocated: non_neg_integer,
          allocated_error: non_neg_integer,
          allocated_bytes: non_neg_integer,
          allocated_bytes_error: non_neg_integer,
          freed: non_neg_integer,
          freed_bytes: non_neg_integer,
          peak_bytes: non_neg_integer,
          youngest_ms: non_neg_integer,
          median_ms: non_neg_integer,
          oldest_ms: non_neg_integer
        }

  defstruct [
    :id,
    :stack,
    :culprit,
    :caller,
    :recorded,
    :live,
    :live_error,
    :live_bytes,
    :live_bytes_error,
    :allocated,
    :allocated_error,
    :allocated_bytes,
    :allocated_bytes_error,
    :freed,
    :freed_bytes,
    :peak_bytes,
    :youngest_ms,
    :median_ms,
    :oldest_ms,
    allocator: :malloc
  ]

  defimpl Inspect do
    alias Mtrace.{Culprit, Frame, Size}

    def inspect(site, options), do: Mtrace.Shown.as(site, options, &text/1)

    defp text(site) do
      where = Culprit.headline(site.stack)
      error = if site.live_bytes_error > 0, do: " ± #{Size.format(site.live_bytes_error)}"

      Frame.wrap(
        "#Mtrace.Site<#{Size.format(site.live_bytes)}#{error} in #{chunks(site.live)}" <>
          if(where, do: ", #{Frame.short(where)}>", else: ">")
      )
    end

    defp chunks(1), do: "1 chunk"
    defp chunks(n), do: "#{n} chunks"
  end
end
