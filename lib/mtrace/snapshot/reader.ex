defmodule Mtrace.Snapshot.Reader do
  # Reads what Mtrace.Snapshot.File writes, whose head describes the file. Nothing in it is believed:
  # what is not of the right shape makes the file a damaged one.
  @moduledoc false

  alias Mtrace.{Chunk, Culprit, Frame, Memory, Site, Snapshot}
  alias Mtrace.Snapshot.Weight

  {magic, version} = Snapshot.File.magic()
  @magic magic
  @version version
  @numbers Snapshot.File.numbers()
  @most_bytes 1_073_741_824
  @most_words div(@most_bytes, 8)

  @allocators ~w(malloc enif binary resource env driver)a
  @kinds ~w(normal dirty_cpu dirty_io async other)a
  @verdicts ~w(native fragmentation carriers erlang files mixed)a
  @coverage ~w(recorded slots interval ignored thinned resets)a

  @doc "The snapshot, or why there is none."
  def decode(<<@magic, version::16, _::binary>>) when version > @version,
    do: {:error, {:version, version}}

  def decode(<<@magic, @version::16, crc::32, body::binary>>) do
    with true <- :erlang.crc32(body) == crc,
         <<bytes::64, deflated::binary>> when bytes <= @most_bytes <- body,
         {:ok, content} <- inflate(deflated, bytes),
         {:ok, term} <- term_of(content) do
      snapshot(term)
    else
      _ -> {:error, :damaged}
    end
  end

  def decode(<<@magic, _::binary>>), do: {:error, :damaged}

  def decode(content) do
    if content != "" and String.starts_with?(@magic, content),
      do: {:error, :damaged},
      else: {:error, :not_a_snapshot}
  end

  # No more than was announced.
  defp inflate(deflated, bytes) do
    z = :zlib.open()

    try do
      :zlib.inflateInit(z)
      inflated(z, :zlib.safeInflate(z, deflated), bytes, [])
    rescue
      _ in ErlangError -> :error
    after
      :zlib.close(z)
    end
  end

  defp inflated(z, {status, output}, bytes, parts) do
    left = bytes - IO.iodata_length(output)

    cond do
      left < 0 -> :error
      status == :continue -> inflated(z, :zlib.safeInflate(z, []), left, [parts, output])
      left > 0 -> :error
      true -> {:ok, IO.iodata_to_binary([parts, output])}
    end
  end

  defp term_of(content) do
    if Weight.fits?(content, @most_words),
      do: {:ok, :erlang.binary_to_term(content, [:safe])},
      else: :error
  rescue
    ArgumentError -> :error
  end

  defp snapshot(term) do
    {:ok, read(term)}
  rescue
    # Only what was read is looked at here: whatever fails does so for its shape.
    _ -> {:error, :damaged}
  end

  defp read(
         {node, otp_release, run, taken_us, taken_ns, coverage, frames, stacks, callers,
          threads, pids, processes, sites, chunks, memory}
       ) do
    frames = frames |> Enum.map(&read_frame/1) |> List.to_tuple()
    stacks = for(s <- stacks, do: Enum.map(s, &at(frames, &1))) |> List.to_tuple()
    callers = callers |> Enum.map(&read_caller/1) |> List.to_tuple()
    threads = threads |> Enum.map(&read_thread/1) |> List.to_tuple()
    pids = pids |> Enum.map(&text_or_nil/1) |> List.to_tuple()
    sites = Enum.map(sites, &read_site(&1, stacks, callers))
    by_id = Map.new(sites, &{&1.id, &1})
    taken_ns = whole(taken_ns)

    %Snapshot{
      chunks: Enum.map(chunks, &read_chunk(&1, by_id, pids, threads, taken_ns)),
      sites: sites,
      processes: Map.new(processes, &read_process(&1, pids)),
      coverage: read_coverage(coverage),
      memory: memory && read_memory(memory),
      node: name(node),
      otp_release: text_of(otp_release),
      run: whole(run),
      taken_at: time(taken_us),
      taken_ns: taken_ns
    }
  end

  defp read_coverage(list) do
    coverage = Map.new(list, fn {key, n} -> {one_of(key, @coverage), whole(n)} end)
    true = map_size(coverage) == length(@coverage)
    coverage
  end

  defp read_frame([address, offset, library, symbol, file, line, inlined, erlang, app, version])
       when is_boolean(inlined) and is_boolean(erlang) do
    %Frame{
      address: whole(address),
      offset: offset && whole(offset),
      library: text_or_nil(library),
      symbol: text_or_nil(symbol),
      file: text_or_nil(file),
      line: line && whole(line),
      inlined: inlined,
      kind: if(erlang, do: :erlang, else: :native),
      app: app && {name(app), text_or_nil(version)}
    }
  end

  defp read_caller(nil), do: nil
  defp read_caller(["thread", "", "", 0]), do: :thread
  defp read_caller(["load", m, f, 0]), do: {:load, {name(m), name(f)}}
  defp read_caller(["destructor", m, type, 0]), do: {:destructor, {name(m), text_of(type)}}
  defp read_caller(["nif", m, f, a]), do: {name(m), name(f), whole(a)}

  defp read_thread([id, name, kind]),
    do: %{id: whole(id), name: text_or_nil(name), kind: one_of(kind, @kinds)}

  defp read_site([id, stack, allocator, caller | numbers], stacks, callers) do
    stack = at(stacks, stack)

    site = %Site{
      id: whole(id),
      stack: stack,
      culprit: Culprit.find(stack),
      allocator: one_of(allocator, @allocators),
      caller: at(callers, caller)
    }

    true = length(numbers) == length(@numbers)
    @numbers |> Enum.zip(Enum.map(numbers, &whole/1)) |> Map.new() |> then(&Map.merge(site, &1))
  end

  defp read_chunk(
         [address, size, born, weight, site, pid, thread],
         sites,
         pids,
         threads,
         taken_ns
       )
       when is_float(weight) and weight >= 1.0 and weight < 1.0e18 do
    site = Map.fetch!(sites, site)

    %Chunk{
      address: whole(address),
      size: whole(size),
      born_ns: whole(born),
      age_ms: max(div(taken_ns - born, 1_000_000), 0),
      weight: weight,
      allocator: site.allocator,
      caller: site.caller,
      pid: at(pids, pid),
      thread: at(threads, thread),
      site: site.id,
      stack: site.stack
    }
  end

  defp read_process([pid, registered, initial, current, label], pids) do
    {at(pids, pid),
     %{
       registered_name: registered && name(registered),
       initial_call: read_call(initial),
       current_function: read_call(current),
       label: text_or_nil(label)
     }}
  end

  defp read_call(nil), do: nil
  defp read_call([m, f, a]), do: {name(m), name(f), whole(a)}

  defp read_memory([rss, lines, verdict, sentence, advice, notes, pss, swap, taken_us]) do
    %Memory{
      rss_bytes: whole(rss),
      lines: Enum.map(lines, &read_line/1),
      verdict: one_of(verdict, @verdicts),
      sentence: text_of(sentence),
      advice: text_of(advice),
      notes: Enum.map(notes, &text_of/1),
      pss_bytes: pss && whole(pss),
      swap_bytes: swap && whole(swap),
      taken_at: time(taken_us)
    }
  end

  defp read_line([kind, name, bytes, source, lines])
       when is_integer(bytes) and abs(bytes) < 0x10000000000000000 do
    %Memory.Line{
      kind: name(kind),
      name: text_of(name),
      bytes: bytes,
      source: text_of(source),
      lines: Enum.map(lines, &read_line/1)
    }
  end

  defp at(tuple, i) when is_integer(i) and i >= 0 and i < tuple_size(tuple), do: elem(tuple, i)

  defp whole(n) when is_integer(n) and n >= 0 and n < 0x10000000000000000, do: n

  defp text_of(text) when is_binary(text), do: text
  defp text_or_nil(nil), do: nil
  defp text_or_nil(text), do: text_of(text)

  defp one_of(text, atoms),
    do: Enum.find(atoms, &(Atom.to_string(&1) == text)) || raise(KeyError)

  # An atom that this node knows, else the text.
  defp name(text) when is_binary(text) do
    String.to_existing_atom(text)
  rescue
    _ in [ArgumentError, SystemLimitError] -> text
  end

  defp time(us) when is_integer(us), do: DateTime.from_unix!(us, :microsecond)
end
