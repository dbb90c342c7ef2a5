defmodule Mtrace.Memory do
  @moduledoc false
  # The shape; see Mtrace.Memory.Line.

  @type t :: %__MODULE__{
          rss_bytes: non_neg_integer,
          lines: [Mtrace.Memory.Line.t()],
          verdict: atom,
          sentence: String.t(),
          advice: String.t(),
          taken_at: DateTime.t()
        }

  defstruct [:rss_bytes, :verdict, :sentence, :advice, :taken_at, lines: []]
end

defmodule Mtrace.Memory.Line do
  @moduledoc false

  @type t :: %__MODULE__{
          kind: atom,
          name: String.t(),
          bytes: integer,
          source: String.t(),
          lines: [t]
        }

  defstruct [:kind, :name, :bytes, :source, lines: []]
end
