defmodule Mtrace.Snapshot do
  @moduledoc """
  Everything that was recorded at one moment, with its names.

    * `chunks` - a list of `Mtrace.Chunk`, the oldest first
    * `sites` - a list of `Mtrace.Site`, one for each different stack (and allocator, and NIF that was
      called), most bytes first
    * `processes` - what is known of the processes that chunks were allocated for and that are alive: a
      map from the pid to `%{registered_name:, initial_call:, current_function:, label:}`, `nil`
      where there is none
    * `coverage` - how much all of it stands on: `recorded`, `slots`, `interval`, `ignored`,
      `thinned`, `resets`, as in `Mtrace.stats/0`
    * `memory` - the `Mtrace.Memory` of that moment, if it was asked for, else `nil`
    * `node`, `otp_release` - where it was taken
    * `run` - a number that tells one run of a node from all others
    * `taken_at` - a `DateTime` in UTC; `taken_ns` - the same by the system's monotonic clock, in
      nanoseconds, to which `born_ns` of the chunks belongs

  A snapshot is kept in a file by `save/2` and read by `load/1`, on any node. What was read works as
  one that was taken here, but for pids, which are strings, and names of modules, functions,
  applications and nodes that this node does not know, which are strings, too.
  """

  alias Mtrace.{Chunk, Site}

  @type t :: %__MODULE__{
          chunks: [Chunk.t()],
          sites: [Site.t()],
          processes: %{pid => %{atom => term}},
          coverage: %{atom => non_neg_integer},
          memory: Mtrace.Memory.t() | nil,
          node: node | String.t(),
          otp_release: String.t(),
          run: non_neg_integer,
          taken_at: DateTime.t(),
          taken_ns: non_neg_integer
        }

  defstruct [
    :chunks,
    :sites,
    :processes,
    :coverage,
    :memory,
    :node,
    :otp_release,
    :run,
    :taken_at,
    :taken_ns
  ]

  @doc """
  Writes the snapshot into a file, which appears whole or not at all.

  Returns `:ok` or `{:error, posix}`. With `:iodata` for a path nothing is written, and the file's
  content is returned as `{:ok, iodata}`: for nodes whose file systems are read-only. Costs some
  milliseconds; the file takes some 10 bytes for each chunk, and more for each stack.

      iex> Mtrace.snapshot() |> Mtrace.Snapshot.save("/tmp/shop.mtrace")
      :ok
  """
  @spec save(t, Path.t() | :iodata) :: :ok | {:ok, iodata} | {:error, File.posix()}
  def save(snapshot, path)

  def save(%__MODULE__{} = snapshot, path) do
    path = Mtrace.Output.path!(path, "Snapshot.save/2")
    Mtrace.Output.write(path, Mtrace.Snapshot.File.encode(snapshot))
  end

  def save(other, _path) do
    raise ArgumentError,
          "Mtrace.Snapshot.save/2 takes a snapshot and the name of a file, got as the first: " <>
            Mtrace.Options.shown(other)
  end

  @doc """
  Reads what `save/2` wrote: `{:ok, snapshot}` or `{:error, reason}`.

  `reason` is what opening the file met (`:enoent`, ...), or

    * `:not_a_snapshot` - the file is none of Mtrace's
    * `{:version, n}` - it was written by a later version of Mtrace, whose files are different
    * `:damaged` - it is not whole, or not as it was written

  Whatever the file holds, no atom is made and no code is run; its content takes no more memory than
  it announces, at most 1 GiB, and the terms that it stands for no more than 1 GiB.

      iex> {:ok, snapshot} = Mtrace.Snapshot.load("/tmp/shop.mtrace")
      iex> Mtrace.sites(snapshot, by: :app)
  """
  @spec load(Path.t()) :: {:ok, t} | {:error, term}
  def load(path) do
    with {:ok, content} <- File.read(path), do: from_binary(content)
  end

  @doc "The same of the file's content."
  @spec from_binary(binary) :: {:ok, t} | {:error, term}
  def from_binary(content) when is_binary(content), do: Mtrace.Snapshot.File.decode(content)

  defimpl Inspect do
    def inspect(snapshot, options), do: Mtrace.Shown.as(snapshot, options, &text/1)

    defp text(snapshot) do
      density =
        case snapshot.coverage[:interval] do
          0 -> "everything drawn"
          interval when is_integer(interval) -> "one draw in #{Mtrace.Size.format(interval)}"
          _ -> "an unknown interval"
        end

      Mtrace.Frame.wrap(
        "#Mtrace.Snapshot<#{Mtrace.Frame.printable("#{snapshot.node}")}, " <>
          "#{DateTime.truncate(snapshot.taken_at, :second)}, " <>
          "#{length(snapshot.chunks)} chunks from #{length(snapshot.sites)} stacks, #{density}>"
      )
    end
  end
end
