defmodule Mtrace.Export.Json do
  # JSON (RFC 8259) of terms, for any bytes: Elixir before 1.18 and OTP before 27 bring no encoder.
  @moduledoc false

  @type json ::
          nil
          | boolean
          | number
          | String.t()
          | atom
          | [json]
          | %{optional(String.t() | atom) => json}

  @doc """
  The term as JSON, without white space: iodata that is valid UTF-8 whatever the term's bytes are.

  Bytes that are no UTF-8 become U+FFFD, each. `<`, `>`, `&`, U+2028 and U+2029 are written as \\u
  escapes, so that the text may stand inside a script element of HTML, where `</script>` and
  `<!--` mean something. Keys of objects are sorted: the same term gives the same text. Atoms
  other than `nil`, `true` and `false` are written as strings.

      iex> IO.iodata_to_binary(Mtrace.Export.Json.encode(%{name: "a<b", sizes: [1, 2.5]}))
      ~S({"name":"a\\u003cb","sizes":[1,2.5]})
  """
  @spec encode(json) :: iodata
  def encode(nil), do: "null"
  def encode(true), do: "true"
  def encode(false), do: "false"
  def encode(term) when is_binary(term), do: [?", escape(term, term, 0, 0), ?"]
  def encode(term) when is_integer(term), do: Integer.to_string(term)
  def encode(term) when is_float(term), do: Float.to_string(term)
  def encode(term) when is_atom(term), do: encode(Atom.to_string(term))
  def encode(term) when is_list(term), do: [?[, between_commas(term, &encode/1), ?]]

  def encode(term) when is_map(term) and not is_struct(term) do
    members = for {key, value} <- term, do: {key(key), value}
    [?{, members |> Enum.sort_by(&elem(&1, 0)) |> between_commas(&member/1), ?}]
  end

  defp key(key) when is_binary(key), do: key
  defp key(key) when is_atom(key), do: Atom.to_string(key)

  defp member({key, value}), do: [encode(key), ?:, encode(value)]

  defp between_commas(terms, f), do: terms |> Enum.map(f) |> Enum.intersperse(?,)

  # What needs no escape is taken over in runs: `length` bytes of `whole` from `from` on are read.
  defp escape(<<byte, rest::binary>>, whole, from, length)
       when byte in 0x20..0x7E and byte not in ~c(\\"<>&),
       do: escape(rest, whole, from, length + 1)

  defp escape(<<char::utf8, rest::binary>>, whole, from, length)
       when char in 0x7F..0x2027 or char > 0x2029,
       do: escape(rest, whole, from, length + byte_size(<<char::utf8>>))

  defp escape(<<char::utf8, rest::binary>>, whole, from, length) do
    next = from + length + byte_size(<<char::utf8>>)
    [binary_part(whole, from, length), escaped(char) | escape(rest, whole, next, 0)]
  end

  defp escape(<<_, rest::binary>>, whole, from, length) do
    [binary_part(whole, from, length), "\uFFFD" | escape(rest, whole, from + length + 1, 0)]
  end

  defp escape(<<>>, whole, from, length), do: [binary_part(whole, from, length)]

  defp escaped(?"), do: ~S(\")
  defp escaped(?\\), do: ~S(\\)
  defp escaped(?\n), do: ~S(\n)

  defp escaped(char) do
    ["\\u", char |> Integer.to_string(16) |> String.downcase() |> String.pad_leading(4, "0")]
  end
end
