defmodule Mtrace.Export.Protobuf do
  # The wire format of Protocol Buffers (protobuf.dev/programming-guides/encoding), as much of it as a
  # profile needs: varints and what has a length. Fields that have their default are left out.
  @moduledoc false

  import Bitwise

  @type field :: iodata

  @doc "An int64, uint64 or bool; negative numbers take ten bytes."
  @spec int(pos_integer, integer | boolean) :: field
  def int(_number, value) when value in [0, false], do: []
  def int(number, true), do: int(number, 1)
  def int(number, value), do: [varint(number <<< 3), varint(value &&& 0xFFFFFFFFFFFFFFFF)]

  @doc "A repeated number, packed. One that is empty is left out; zeros in it are not."
  @spec packed(pos_integer, [integer]) :: field
  def packed(_number, []), do: []

  def packed(number, values),
    do: bytes(number, Enum.map(values, &varint(&1 &&& 0xFFFFFFFFFFFFFFFF)))

  @doc "A string or a message within a message, which is there even if it is empty."
  @spec bytes(pos_integer, iodata) :: field
  def bytes(number, content),
    do: [varint(number <<< 3 ||| 2), varint(IO.iodata_length(content)), content]

  @doc "Seven bits a byte, the lowest first."
  @spec varint(non_neg_integer) :: iodata
  def varint(n) when n < 0x80, do: <<n>>
  def varint(n), do: [<<1::1, n::7>> | varint(n >>> 7)]
end
