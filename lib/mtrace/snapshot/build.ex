defmodule Mtrace.Snapshot.Build do
  # Makes a snapshot of what the core returns.
  @moduledoc false

  alias Mtrace.{
    Applications,
    Chunk,
    Culprit,
    Estimate,
    Frame,
    Processes,
    Site,
    Snapshot,
    Threads
  }

  # From what Native.snapshot/0 returns. Frames and stacks are made once and shared.
  @doc false
  @spec build(tuple, %{atom => term}, boolean) :: Snapshot.t()
  def build({{chunks, stacks, taken_ns}, names}, coverage, processes? \\ true) do
    apps = Applications.read()
    names = names |> Tuple.to_list() |> frames(apps) |> List.to_tuple()

    rows =
      for row <- Tuple.to_list(stacks) do
        [indices, allocator, caller | sums] = Tuple.to_list(row)
        {{indices, allocator, caller(caller)}, sums}
      end

    keys = Enum.map(rows, &elem(&1, 0))

    # Two rows may hold the same stack: they become one site.
    sites =
      for {{indices, _, _} = key, id} <- keys |> Enum.uniq() |> Enum.with_index(), into: %{} do
        {key, {id, stack(indices, names)}}
      end

    chunks = chunks(chunks, List.to_tuple(keys), sites, taken_ns)

    %Snapshot{
      chunks: chunks,
      sites: sites(chunks, rows, sites),
      processes: if(processes?, do: processes(chunks), else: %{}),
      coverage: coverage,
      node: node(),
      otp_release: System.otp_release(),
      run: run(),
      taken_at: DateTime.utc_now(),
      taken_ns: taken_ns
    }
  end

  # Does everything once that showing a snapshot does, so that its code is loaded.
  @doc false
  @spec rehearse :: :ok
  def rehearse do
    names = {
      {1, 1, "/lib/none-1/priv/none.so", [{"name", "file.c", 1, false}]},
      {2, 2, nil, [{{"lists", "map", 2}, "lists.erl", 1, false}]}
    }

    stacks = {{[0, 1], :malloc, {:nif, "lists", "map", 2}, 0.0, 1.0, 1.0, 0.0, 0.0}}
    chunk = {8, 8, 0, 2.0, 0, self(), 1, :other}
    snapshot = build({{[chunk], stacks, 1}, names}, %{interval: 0})
    [site] = snapshot.sites
    for shown <- [snapshot, site, site.stack, snapshot.chunks], do: inspect(shown, width: 20)
    :ok
  end

  defp processes(chunks), do: chunks |> Enum.map(& &1.pid) |> Processes.describe()

  # When this node was started. Kept, for time may be warped; computed, so that two who ask first at
  # once find the same.
  defp run do
    with nil <- :persistent_term.get({__MODULE__, :run}, nil) do
      started = :erlang.system_info(:start_time) + :erlang.time_offset()
      run = System.convert_time_unit(started, :native, :nanosecond)
      :persistent_term.put({__MODULE__, :run}, run)
      run
    end
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

  # The oldest first.
  defp chunks(chunks, keys, sites, taken_ns) do
    threads = for chunk <- chunks, do: {elem(chunk, 6), elem(chunk, 7)}
    threads = threads |> Enum.uniq() |> Map.new(&{&1, Threads.describe(&1)})

    for {address, size, born_ns, weight, row, pid, thread, kind} <- List.keysort(chunks, 2) do
      {_, allocator, caller} = key = elem(keys, row)
      {id, stack} = Map.fetch!(sites, key)

      %Chunk{
        address: address,
        size: size,
        age_ms: max(div(taken_ns - born_ns, 1_000_000), 0),
        born_ns: born_ns,
        weight: weight,
        allocator: allocator,
        caller: caller,
        pid: pid,
        thread: Map.fetch!(threads, {thread, kind}),
        site: id,
        stack: stack
      }
    end
  end

  # Most bytes first.
  defp sites(chunks, rows, sites) do
    chunks = Enum.group_by(chunks, & &1.site)
    sums = Enum.group_by(rows, &elem(&1, 0), &elem(&1, 1))

    sites
    |> Enum.map(fn {key, {id, stack}} -> site(id, key, stack, chunks[id], sums[key]) end)
    |> Enum.sort_by(&{-&1.live_bytes, -&1.live, &1.id})
  end

  defp site(id, {_, allocator, caller}, stack, chunks, sums) do
    [peak, allocated, allocated_bytes, variance, bytes_variance] =
      Enum.zip_with(sums, &Enum.sum/1)

    site = %Site{
      id: id,
      stack: stack,
      culprit: Culprit.find(stack),
      allocator: allocator,
      caller: caller,
      allocated: round(allocated),
      allocated_error: Estimate.error(variance),
      allocated_bytes: round(allocated_bytes),
      allocated_bytes_error: Estimate.error(bytes_variance)
    }

    site = Map.merge(site, Estimate.live(chunks))

    %{
      site
      | freed: max(site.allocated - site.live, 0),
        freed_bytes: max(site.allocated_bytes - site.live_bytes, 0),
        peak_bytes: max(round(peak), site.live_bytes)
    }
  end

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
end
