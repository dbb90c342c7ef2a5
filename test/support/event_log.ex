defmodule Mtrace.Test.EventLog do
  @moduledoc """
  Writes event logs by what c_src/record/log_format.h says of them. A log is a list of blocks; a block
  is made of one thread's events and definitions. Ticks are nanoseconds.
  """
  import Bitwise

  @magic 0x676F6C7274AA6D01
  @mask 0xFFFFFFFFFFFFFFFF
  @ops %{
    alloc: 1,
    free: 3,
    realloc_from: 4,
    realloc_to: 5,
    realloc_failed: 7
  }

  @doc "The file's bytes."
  def bytes(blocks), do: IO.iodata_to_binary(blocks)

  @doc """
  A block. Options: `:thread` (1), `:sequence` (0), `:generation` (0), `:begin`, `:end` (ticks),
  `:dropped` (0), `:version` (1).
  """
  def block(events, definitions, options \\ []) do
    begin = Keyword.get(options, :begin, 1000)
    {words, last} = Enum.map_reduce(events, begin, &event/2)
    events = IO.iodata_to_binary(words)
    body = events <> IO.iodata_to_binary(definitions)
    finish = Keyword.get(options, :end, last)

    <<@magic::64-little, Keyword.get(options, :version, 1)::32-little,
      64 + byte_size(body)::32-little, byte_size(events)::32-little,
      Keyword.get(options, :generation, 0)::32-little,
      Keyword.get(options, :thread, 1)::32-little,
      Keyword.get(options, :sequence, 0)::32-little, begin::64-little, finish::64-little,
      finish::64-little, checksum(body)::32-little,
      Keyword.get(options, :dropped, 0)::32-little>> <> body
  end

  # {op, ticks, address} with size and stack, the large ones by their size.
  defp event({op, time, address}, last), do: event({op, time, address, 0, 0}, last)

  defp event({op, time, address, size, stack}, last) do
    delta = time - last
    wait = if delta > 0x7FFF, do: <<delta <<< 4 ||| 8::64-little>>, else: ""
    delta = if wait == "", do: delta, else: 0
    large = if size > 0xFFFFFFFF, do: 1, else: 0
    word = address >>> 3 <<< 19 ||| delta <<< 4 ||| @ops[op] + large

    more =
      case {op, large} do
        {:realloc_from, _} -> ""
        {_, 0} -> <<size::32-little, stack::32-little>>
        {_, 1} -> <<0::32, stack::32-little, size::64-little>>
      end

    {[wait, <<word::64-little>>, more], time}
  end

  def stack(id, addresses),
    do: definition(1, id, for(a <- addresses, into: "", do: <<a::64-little>>))

  def object(lo, hi, base, path, build_id \\ "", since \\ 0) do
    definition(
      2,
      0,
      <<lo::64-little, hi::64-little, base::64-little, since::64-little,
        byte_size(build_id)::64-little>> <> padded(build_id) <> path <> <<0>>
    )
  end

  def gone(lo, hi, ticks),
    do: definition(3, 0, <<lo::64-little, hi::64-little, ticks::64-little>>)

  @doc "The start: the program's path and arguments; options `:pid`, `:reason`, `:limit`."
  def start(command, options \\ []) do
    definition(4, 0, [
      <<Keyword.get(options, :pid, 4711)::64-little, 1_700_000_000_000_000_000::64-little,
        1000::64-little, 1000::64-little, 1::32-little, 0::32-little, 16::32-little,
        Keyword.get(options, :reason, 0)::32-little,
        Keyword.get(options, :limit, 0)::64-little>>,
      Enum.map(command, &[&1, 0])
    ])
  end

  def thread(number, tid, name), do: definition(5, number, [<<tid::64-little>>, name, 0])
  def ending(why \\ 0, dropped \\ 0), do: definition(6, why, <<dropped::64-little>>)

  defp definition(kind, id, body) do
    body = padded(IO.iodata_to_binary(body))
    <<kind ||| (div(byte_size(body), 8) + 1) <<< 8::32-little, id::32-little>> <> body
  end

  defp padded(bytes), do: bytes <> :binary.copy(<<0>>, rem(8 - rem(byte_size(bytes), 8), 8))

  def checksum(body) do
    a = bxor(0x9E3779B97F4A7C15, byte_size(body))
    {a, b} = sum(body, a, bxor(a, @mask))
    a = bxor(a, bxor(b >>> 32, b <<< 32 &&& @mask))
    (bxor(a, a >>> 32) * 0xD6E8FEB86659FD93) >>> 32 &&& 0xFFFFFFFF
  end

  defp sum(<<x::64-little, y::64-little, rest::binary>>, a, b) do
    sum(
      rest,
      bxor(a, x) * 0xD6E8FEB86659FD93 &&& @mask,
      bxor(b, y) * 0xCA5A826395121157 &&& @mask
    )
  end

  defp sum(<<x::64-little>>, a, b), do: {bxor(a, x) * 0xD6E8FEB86659FD93 &&& @mask, b}
  defp sum("", a, b), do: {a, b}
end
