defmodule Mtrace.Group do
  @moduledoc """
  Sites that have something in common, as `Mtrace.sites/1` sums them up.

    * `by` - what they have in common, and `key` - its value:

      | `by` | `key` |
      |---|---|
      | `:function` | `{library, symbol}`, file and demangled name, or `nil` |
      | `:library` | the path of the library, or `nil` |
      | `:app` | `{application, version}`; `nil`: the emulator's, C's |
      | `:caller`, `:allocator` | as in `Mtrace.Chunk` |
      | `:pid` | the process, or `nil` |
      | `:thread` | `%{id:, name:, kind:}`, as in `Mtrace.Chunk` |

      Function and library are those of the culprit, and where nobody is to blame those of the frame
      behind the hook

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

  @doc false
  # The key for people.
  def describe(:function, nil), do: "no function known"
  def describe(:function, {library, symbol}), do: "#{symbol || "?"} in #{library || "Erlang"}"
  def describe(:library, nil), do: "no library"
  def describe(:library, path), do: path
  def describe(:app, nil), do: "the emulator and C's libraries"
  def describe(:app, {name, nil}), do: "#{name}"
  def describe(:app, {name, version}), do: "#{name} #{version}"
  def describe(:caller, caller), do: caller(caller)
  def describe(:thread, %{name: name, id: id}), do: "thread #{name || "?"} (#{id})"
  def describe(:pid, nil), do: "no process"
  def describe(:pid, pid) when is_binary(pid), do: pid
  def describe(:stack, %Mtrace.Site{stack: stack}), do: headline(Mtrace.Culprit.headline(stack))
  def describe(_, key), do: inspect(key)

  @doc false
  def caller({module, function, arity}) when is_integer(arity),
    do: "#{name(module)}.#{function}/#{arity}"

  def caller({kind, {module, what}}), do: "#{kind} of #{name(module)}, #{what}"
  def caller(:thread), do: "a thread that is no scheduler"
  def caller(nil), do: "no NIF"

  defp name(module) when is_atom(module), do: inspect(module)
  defp name("Elixir." <> module), do: module
  defp name(module), do: module

  defp headline(nil), do: "no stack"
  defp headline(frame), do: Mtrace.Frame.short(frame)

  defimpl Inspect do
    alias Mtrace.{Frame, Group, Size}

    def inspect(group, options), do: Mtrace.Shown.as(group, options, &text/1)

    defp text(group) do
      error = if group.live_bytes_error > 0, do: " ± #{Size.format(group.live_bytes_error)}"
      key = group.by |> Group.describe(group.key) |> Frame.printable()
      chunks = if group.live == 1, do: "1 chunk", else: "#{group.live} chunks"
      sites = if group.sites == 1, do: "1 site", else: "#{group.sites} sites"

      Frame.wrap(
        "#Mtrace.Group<#{key}: #{Size.format(group.live_bytes)}#{error} in #{chunks} from #{sites}>"
      )
    end
  end
end
