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
      `thinned`, as in `Mtrace.stats/0`
    * `node`, `otp_release` - where it was taken
    * `taken_at` - a `DateTime` in UTC
  """

  alias Mtrace.{Applications, Chunk, Culprit, Frame, Processes, Site, Threads}

  @type t :: %__MODULE__{
          chunks: [Chunk.t()],
          sites: [Site.t()],
          processes: %{pid => %{atom => term}},
          coverage: %{atom => non_neg_integer},
          node: node,
          otp_release: String.t(),
          taken_at: DateTime.t()
        }

  defstruct [:chunks, :sites, :processes, :coverage, :node, :otp_release, :taken_at]

  # From what Native.snapshot/0 returns. Frames and stacks are made once and shared.
  @doc false
  def build({{chunks, stacks}, names}, coverage) do
    apps = Applications.read()
    names = names |> Tuple.to_list() |> frames(apps) |> List.to_tuple()

    rows =
      for row <- Tuple.to_list(stacks) do
        [indices, allocator, caller | sums] = Tuple.to_list(row)
        {{indices, allocator, caller(caller)}, sums}
      end

    # Two rows may hold the same stack: they become one site.
    distinct = Map.new(rows, fn {{indices, _, _} = key, _} -> {key, stack(indices, names)} end)
    keys = rows |> Enum.map(&elem(&1, 0)) |> List.to_tuple()

    %__MODULE__{
      chunks: chunks(chunks, keys, distinct),
      sites: sites(chunks, keys, rows, distinct),
      processes: chunks |> Enum.map(&elem(&1, 5)) |> Processes.describe(),
      coverage: coverage,
      node: node(),
      otp_release: System.otp_release(),
      taken_at: DateTime.utc_now()
    }
  end

  # Does everything once that showing a snapshot does, so that its code is loaded.
  @doc false
  def rehearse do
    names = {
      {1, 1, "/lib/none-1/priv/none.so", [{"name", "file.c", 1, false}]},
      {2, 2, nil, [{{"lists", "map", 2}, "lists.erl", 1, false}]}
    }

    stacks = {{[0, 1], :malloc, {:nif, "lists", "map", 2}, 0.0, 1.0, 1.0, 0.0, 0.0}}
    chunk = {8, 8, 0, 2.0, 0, self(), 1, :other}
    snapshot = build({{[chunk], stacks}, names}, %{interval: 0})
    [site] = snapshot.sites
    for shown <- [snapshot, site, site.stack, snapshot.chunks], do: inspect(shown, width: 20)
    :ok
  end

  # Modules that were called are loaded or were: their names are atoms already.
  defp caller(nil), do: nil
  defp caller({:thread, _, _, _}), do: :thread
  defp caller({:nif, module, function, arity}), do: {atom(module), atom(function), arity}
  defp caller({:load, module, function, _}), do: {:load, {atom(module), atom(function)}}
  defp caller({:destructor, module, type, _}), do: {:destructor, {atom(module), type}}

  defp atom(text) do
    String.to_existing_atom(text)
  rescue
    ArgumentError -> text
  end

  defp stack(indices, names), do: Enum.flat_map(indices, &elem(names, &1))

  defp chunks(chunks, keys, distinct) do
    threads = for chunk <- chunks, do: {elem(chunk, 6), elem(chunk, 7)}
    threads = threads |> Enum.uniq() |> Map.new(&{&1, Threads.describe(&1)})

    chunks
    |> Enum.map(fn {address, size, age_ms, weight, row, pid, thread, kind} ->
      {_, allocator, caller} = key = elem(keys, row)

      %Chunk{
        address: address,
        size: size,
        age_ms: age_ms,
        weight: weight,
        allocator: allocator,
        caller: caller,
        pid: pid,
        thread: Map.fetch!(threads, {thread, kind}),
        stack: Map.fetch!(distinct, key)
      }
    end)
    |> Enum.sort_by(&(-&1.age_ms))
  end

  defp sites(chunks, keys, rows, distinct) do
    chunks = Enum.group_by(chunks, &elem(keys, elem(&1, 4)))
    sums = Enum.group_by(rows, &elem(&1, 0), &elem(&1, 1))

    distinct
    |> Enum.map(fn {key, stack} -> site(key, stack, chunks[key], sums[key]) end)
    |> Enum.sort_by(&{-&1.live_bytes, -&1.live})
  end

  defp site({_, allocator, caller}, stack, chunks, sums) do
    live = sum(chunks, &weight/1)
    live_bytes = sum(chunks, &(weight(&1) * elem(&1, 1)))

    [peak, allocated, allocated_bytes, variance, bytes_variance] =
      Enum.zip_with(sums, &Enum.sum/1)

    %Site{
      stack: stack,
      culprit: Culprit.find(stack),
      allocator: allocator,
      caller: caller,
      recorded: length(chunks),
      live: round(live),
      live_error: error(sum(chunks, &(weight(&1) * (weight(&1) - 1)))),
      live_bytes: round(live_bytes),
      live_bytes_error: error(sum(chunks, &(weight(&1) * (weight(&1) - 1) * elem(&1, 1) ** 2))),
      allocated: round(allocated),
      allocated_error: error(variance),
      allocated_bytes: round(allocated_bytes),
      allocated_bytes_error: error(bytes_variance),
      freed: max(round(allocated) - round(live), 0),
      freed_bytes: max(round(allocated_bytes) - round(live_bytes), 0),
      peak_bytes: round(max(peak, live_bytes))
    }
  end

  defp weight(chunk), do: elem(chunk, 3)
  defp sum(chunks, f), do: chunks |> Enum.map(f) |> Enum.sum()
  defp error(variance), do: variance |> max(0.0) |> :math.sqrt() |> ceil()

  # For each name the frames that it stands for, innermost first.
  defp frames(names, apps) do
    libraries =
      for library <- names |> Enum.map(&elem(&1, 2)) |> Enum.uniq(), into: %{} do
        {library, library && Applications.of_library(apps, library)}
      end

    for {address, offset, library, frames} <- names do
      for {symbol, file, line, inlined} <- frames do
        frame = %Frame{
          address: address,
          offset: if(library, do: offset),
          library: library,
          file: file,
          line: line,
          inlined: inlined
        }

        name(frame, symbol, libraries[library], apps)
      end
    end
  end

  defp name(frame, {module, function, arity}, _app, apps) do
    %{
      frame
      | kind: :erlang,
        symbol: symbol(module, function, arity),
        app: erlang_app(module, apps)
    }
  end

  # Pieces of the JIT's code that are no function's have a name, and no library.
  defp name(%Frame{library: nil} = frame, symbol, _app, _apps) do
    %{frame | kind: if(symbol, do: :erlang, else: :native), symbol: symbol}
  end

  defp name(frame, symbol, app, _apps), do: %{frame | symbol: symbol, app: app}

  # As the language of the module prints it, without making atoms of what is read.
  defp symbol("Elixir." <> module, function, arity), do: "#{module}.#{function}/#{arity}"
  defp symbol(module, function, arity), do: "#{module}:#{function}/#{arity}"

  defp erlang_app(module, apps) do
    Applications.of_module(apps, String.to_existing_atom(module))
  rescue
    ArgumentError -> nil
  end

  defimpl Inspect do
    def inspect(snapshot, _options) do
      "#Mtrace.Snapshot<#{snapshot.node}, #{snapshot.taken_at}, " <>
        "#{length(snapshot.chunks)} chunks from #{length(snapshot.sites)} stacks, " <>
        "interval #{snapshot.coverage[:interval]}>"
    end
  end
end
