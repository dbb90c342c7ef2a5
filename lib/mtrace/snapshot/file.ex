defmodule Mtrace.Snapshot.File do
  # The file of a snapshot, version 1:
  #
  #     "mtrace snapshot\n"   16 bytes
  #     version               2 bytes, big endian like all
  #     CRC-32                4 bytes, of the rest
  #     bytes of the content  8 bytes
  #     content               deflated (RFC 1950): a term in Erlang's external format, without atoms
  #                           other than nil, true and false
  #
  #     content     {Node, OtpRelease, Run, TakenUs, TakenNs, Coverage, Frames, Stacks, Callers, Threads,
  #                  Pids, Processes, Sites, Chunks, Memory}
  #     Coverage    [{Key, N}]
  #     Frames      [[Address, Offset, Library, Symbol, File, Line, Inlined, Erlang, AppName, AppVersion]]
  #     Stacks      [[FrameIndex]]
  #     Callers     [nil | [Kind, Module, Function, Arity]]
  #     Threads     [[Id, Name, Kind]]
  #     Pids        [nil | Text]
  #     Processes   [[PidIndex, RegisteredName, InitialCall, CurrentFunction, Label]]; calls are [M, F, A]
  #     Sites       [[Id, StackIndex, Allocator, CallerIndex | numbers in the order of @numbers]]
  #     Chunks      [[Address, Size, BornNs, Weight, SiteId, PidIndex, ThreadIndex]]
  #     Memory      nil | [Rss, Lines, Verdict, Sentence, Advice, Notes, Pss, Swap, TakenUs]; a line is
  #                 [Kind, Name, Bytes, Source, Lines]
  #
  # Indices count from 0; texts are binaries. What is read is checked field by field: whatever does
  # not fit makes the file a damaged one.
  @moduledoc false

  alias Mtrace.Snapshot

  @magic "mtrace snapshot\n"
  @version 1
  @numbers ~w(recorded live live_error live_bytes live_bytes_error allocated allocated_error
              allocated_bytes allocated_bytes_error freed freed_bytes peak_bytes youngest_ms
              median_ms oldest_ms)a

  @doc "The fields of a site that are numbers, in their order."
  def numbers, do: @numbers

  @doc "What a file begins with, and its version."
  def magic, do: {@magic, @version}

  @doc "The file's content."
  def encode(%Snapshot{} = snapshot) do
    content = snapshot |> term() |> :erlang.term_to_binary(minor_version: 2)
    deflated = :zlib.compress(content)
    body = <<byte_size(content)::64, deflated::binary>>
    [@magic, <<@version::16, :erlang.crc32(body)::32>>, body]
  end

  defp term(s) do
    {stacks, stack_index} = table(s.sites, & &1.stack)
    {frames, frame_index} = table(Enum.concat(stacks), & &1)
    {callers, caller_index} = table(s.sites, & &1.caller)
    {threads, thread_index} = table(s.chunks, & &1.thread)
    {pids, pid_index} = table(s.chunks, & &1.pid)

    sites =
      for site <- s.sites do
        [site.id, stack_index[site.stack], text(site.allocator), caller_index[site.caller]] ++
          Enum.map(@numbers, &Map.fetch!(site, &1))
      end

    chunks =
      for c <- s.chunks do
        [
          c.address,
          c.size,
          c.born_ns,
          c.weight,
          c.site,
          pid_index[c.pid],
          thread_index[c.thread]
        ]
      end

    {text(s.node), s.otp_release, s.run, DateTime.to_unix(s.taken_at, :microsecond), s.taken_ns,
     for({key, n} <- s.coverage, do: {text(key), n}), Enum.map(frames, &frame/1),
     for(stack <- stacks, do: Enum.map(stack, &frame_index[&1])), Enum.map(callers, &caller/1),
     for(t <- threads, do: [t.id, t.name, text(t.kind)]), Enum.map(pids, &pid/1),
     for({pid, info} <- s.processes, i = pid_index[pid], do: process(i, info)), sites, chunks,
     s.memory && memory(s.memory)}
  end

  # What is different, and the index of each.
  defp table(items, of) do
    distinct = items |> Enum.map(of) |> Enum.uniq()
    {distinct, distinct |> Enum.with_index() |> Map.new()}
  end

  defp frame(f) do
    {app, version} = f.app || {nil, nil}

    [f.address, f.offset, f.library, f.symbol, f.file, f.line, f.inlined, f.kind == :erlang] ++
      [text(app), version]
  end

  defp caller(nil), do: nil
  defp caller(:thread), do: ["thread", "", "", 0]
  defp caller({:load, {m, f}}), do: ["load", text(m), text(f), 0]
  defp caller({:destructor, {m, t}}), do: ["destructor", text(m), text(t), 0]
  defp caller({m, f, a}), do: ["nif", text(m), text(f), a]

  defp pid(nil), do: nil
  defp pid(pid) when is_binary(pid), do: pid
  defp pid(pid), do: inspect(pid)

  defp process(i, info) do
    [i, text(info.registered_name), call(info.initial_call), call(info.current_function)] ++
      [if(is_nil(info.label), do: nil, else: label(info.label))]
  end

  defp label(text) when is_binary(text), do: text
  defp label(term), do: inspect(term, limit: 20, printable_limit: 200)

  defp call({m, f, a}) when is_integer(a), do: [text(m), text(f), a]
  defp call(_), do: nil

  defp memory(m) do
    [m.rss_bytes, Enum.map(m.lines, &line/1), text(m.verdict), m.sentence, m.advice, m.notes] ++
      [m.pss_bytes, m.swap_bytes, DateTime.to_unix(m.taken_at, :microsecond)]
  end

  defp line(l), do: [text(l.kind), l.name, l.bytes, l.source, Enum.map(l.lines, &line/1)]

  defp text(nil), do: nil
  defp text(atom) when is_atom(atom), do: Atom.to_string(atom)
  defp text(text), do: text

  @doc "The snapshot, or why there is none: see `Mtrace.Snapshot.load/1`."
  defdelegate decode(content), to: Mtrace.Snapshot.Reader
end
