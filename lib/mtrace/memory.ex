defmodule Mtrace.Memory do
  @moduledoc """
  What the resident memory (RSS) of the node consists of, as `Mtrace.memory/1` found it.

    * `rss_bytes` - VmRSS of /proc/self/status, what top(1) shows. Where there is no /proc, what
      `:erlang.memory(:total)` counts, and `notes` says so
    * `lines` - a list of `Mtrace.Memory.Line`, whose bytes add up to exactly that
    * `verdict` - what most of it is, and `sentence` - the same with figures. The kind with
      the most bytes, if these are half of RSS, or a third of it and twice as many as the next
      kind has:

      | `verdict` | lines |
      |---|---|
      | `:native` | `:native`, `:mapped` |
      | `:fragmentation` | `:fragmentation` |
      | `:carriers` | `:carriers` |
      | `:erlang` | `:erlang`, `:jit` |
      | `:files` | `:files`, `:shared` |
      | `:mixed` | no kind stands out |

    * `advice` - what to do next
    * `notes` - sentences: what could not be found out here, and why; what lies outside of RSS
    * `pss_bytes` - RSS with shared pages divided among those that share them; `swap_bytes` -
      in swap, and in no line. `nil` where the kernel does not tell
    * `taken_at` - a `DateTime` in UTC
  """

  @type verdict :: :native | :fragmentation | :carriers | :erlang | :files | :mixed

  @type t :: %__MODULE__{
          rss_bytes: non_neg_integer,
          lines: [Mtrace.Memory.Line.t()],
          verdict: verdict,
          sentence: String.t(),
          advice: String.t(),
          notes: [String.t()],
          pss_bytes: non_neg_integer | nil,
          swap_bytes: non_neg_integer | nil,
          taken_at: DateTime.t()
        }

  defstruct [
    :rss_bytes,
    :verdict,
    :sentence,
    :advice,
    :taken_at,
    :pss_bytes,
    :swap_bytes,
    lines: [],
    notes: []
  ]

  defimpl Inspect do
    import Inspect.Algebra

    def inspect(memory, options), do: Mtrace.Shown.as(memory, options, &text/1)

    defp text(memory) do
      [
        "#Mtrace.Memory<#{Mtrace.Size.format(memory.rss_bytes)} resident, #{memory.verdict}, " <>
          "#{memory.taken_at |> DateTime.truncate(:second)}"
        | Mtrace.Memory.Table.format(memory)
      ]
      |> Enum.intersperse(line())
      |> Kernel.++([">"])
      |> concat()
    end
  end
end

defmodule Mtrace.Memory.Line do
  @moduledoc """
  One line of `Mtrace.Memory`: what these resident bytes are.

    * `kind` - see below
    * `name` - for people
    * `bytes` - resident; may be negative where figures of different sources disagree
    * `source` - where the figure comes from
    * `lines` - the parts that it consists of, whose bytes add up to exactly its own; empty
      where they are not known

  | `kind` | | parts |
  |---|---|---|
  | `:erlang` | blocks in use of the emulator's allocators | `:processes`, `:binary`, `:ets`, `:atom`, `:code`, `:other`, `:untouched` (not resident: negative) |
  | `:carriers` | the rest of what the emulator took from the kernel for them | |
  | `:native` | in use of what malloc gave out | `:app` for each application, estimated by Mtrace; `:unseen` |
  | `:fragmentation` | free and kept by malloc | |
  | `:mapped` | mapped by libraries without malloc | |
  | `:stacks` | of threads | |
  | `:files` | libraries, programs, other mapped files | `:file` for each of the largest; `:copies`, `:other_files` |
  | `:jit` | machine code made from BEAM code | |
  | `:shared` | shared memory | `:file`, `:other_files` |
  | `:mtrace` | what Mtrace keeps | |
  | `:unexplained` | the rest | |

  All kinds of the first column are there in this order, with 0 bytes where there is nothing.
  """

  @type t :: %__MODULE__{
          kind: atom,
          name: String.t(),
          bytes: integer,
          source: String.t(),
          lines: [t]
        }

  defstruct [:kind, :name, :bytes, :source, lines: []]

  defimpl Inspect do
    alias Mtrace.{Frame, Size}

    def inspect(line, options), do: Mtrace.Shown.as(line, options, &text/1)

    defp text(line) do
      sign = if line.bytes < 0, do: "-", else: ""
      name = Frame.printable(line.name)
      Frame.wrap("#Mtrace.Memory.Line<#{name}: #{sign}#{Size.format(abs(line.bytes))}>")
    end
  end
end
