defmodule Mtrace.Group do
  @moduledoc """
  Sites that have something in common, as `Mtrace.sites/1` sums them up.

    * `by` - what they have in common, and `key` - its value:

      | `by` | `key` |
      |---|---|
      | `:function` | `{library, symbol}` of the culprit, file name and demangled name; `nil` for a part that is not known |
      | `:library` | the path of the culprit's library, `nil` where Erlang code or nothing is to blame |
      | `:app` | `{application, version}` of the culprit, or `nil` |
      | `:caller` | as in `Mtrace.Chunk` |
      | `:pid` | the process, or `nil` |
      | `:thread` | `%{id:, name:, kind:}`, as in `Mtrace.Chunk` |
      | `:allocator` | as in `Mtrace.Chunk` |

    * `recorded`, `live`, `live_error`, `live_bytes`, `live_bytes_error`, `allocated`,
      `allocated_error`, `allocated_bytes`, `allocated_bytes_error`, `freed`, `freed_bytes` - as in
      `Mtrace.Site`. What was allocated and freed is known by site, not by process or thread: `nil`
      there, and where a filter picks chunks out of a site
    * `peak_bytes` - the sum of the sites' peaks: no less than the peak of the sum
    * `youngest_ms`, `median_ms`, `oldest_ms` - ages of the chunks; the median is that of the chunks
      they stand for
    * `sites` - how many, and `culprit` - the `Mtrace.Frame` of the one with the most bytes
  """

  @type by :: :function | :library | :app | :caller | :pid | :thread | :allocator

  @type t :: %__MODULE__{
          by: by,
          key: term,
          culprit: Mtrace.Frame.t() | nil,
          sites: pos_integer,
          recorded: pos_integer,
          live: non_neg_integer,
          live_error: non_neg_integer,
          live_bytes: non_neg_integer,
          live_bytes_error: non_neg_integer,
          allocated: non_neg_integer | nil,
          allocated_error: non_neg_integer | nil,
          allocated_bytes: non_neg_integer | nil,
          allocated_bytes_error: non_neg_integer | nil,
          freed: non_neg_integer | nil,
          freed_bytes: non_neg_integer | nil,
          peak_bytes: non_neg_integer | nil,
          youngest_ms: non_neg_integer,
          median_ms: non_neg_integer,
          oldest_ms: non_neg_integer
        }

  defstruct [
    :by,
    :key,
    :culprit,
    :sites,
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
    :oldest_ms
  ]
end
