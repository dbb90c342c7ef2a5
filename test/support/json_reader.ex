defmodule Mtrace.Test.JsonReader do
  @moduledoc "Reads JSON (RFC 8259), as far as tests need it: OTP before 27 brings no reader."

  def read(text) do
    {term, rest} = value(space(text))
    "" = space(rest)
    term
  end

  defp value("null" <> rest), do: {nil, rest}
  defp value("true" <> rest), do: {true, rest}
  defp value("false" <> rest), do: {false, rest}
  defp value("\"" <> rest), do: string(rest, [])

  defp value("[" <> rest) do
    case space(rest) do
      "]" <> rest -> {[], rest}
      rest -> members(rest, [], &value/1, "]")
    end
  end

  defp value("{" <> rest) do
    case space(rest) do
      "}" <> rest ->
        {%{}, rest}

      rest ->
        {pairs, rest} = members(rest, [], &pair/1, "}")
        {Map.new(pairs), rest}
    end
  end

  defp value(text) do
    [number] = Regex.run(~r/^-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/, text)
    rest = binary_part(text, byte_size(number), byte_size(text) - byte_size(number))
    {if(number =~ ~r/^-?[0-9]+$/, do: String.to_integer(number), else: float(number)), rest}
  end

  defp float(number), do: number |> Float.parse() |> elem(0)

  defp pair("\"" <> rest) do
    {key, rest} = string(rest, [])
    ":" <> rest = space(rest)
    {value, rest} = value(space(rest))
    {{key, value}, rest}
  end

  defp members(text, read, reader, <<close>>) do
    {member, rest} = reader.(text)

    case space(rest) do
      "," <> rest -> members(space(rest), [member | read], reader, <<close>>)
      <<^close, rest::binary>> -> {Enum.reverse([member | read]), rest}
    end
  end

  defp string(text, read) do
    case :binary.match(text, ["\"", "\\"]) do
      {at, 1} ->
        read = [binary_part(text, 0, at) | read]
        rest = binary_part(text, at + 1, byte_size(text) - at - 1)
        if :binary.at(text, at) == ?", do: {done(read), rest}, else: escape(rest, read)
    end
  end

  defp done(read), do: read |> Enum.reverse() |> IO.iodata_to_binary()

  # Above U+FFFF there are two escapes.
  defp escape(<<?u, high::binary-size(4), "\\u", low::binary-size(4), rest::binary>>, read)
       when binary_part(high, 0, 2) in ~w(d8 d9 da db D8 D9 DA DB) do
    char = (hex(high) - 0xD800) * 0x400 + hex(low) - 0xDC00 + 0x10000
    string(rest, [<<char::utf8>> | read])
  end

  # Chromium writes halves of such pairs, where a name was cut.
  defp escape(<<?u, code::binary-size(4), rest::binary>>, read) do
    char = hex(code)
    string(rest, [if(char in 0xD800..0xDFFF, do: "\uFFFD", else: <<char::utf8>>) | read])
  end

  @short %{
    ?n => "\n",
    ?t => "\t",
    ?r => "\r",
    ?b => "\b",
    ?f => "\f",
    ?" => "\"",
    ?\\ => "\\",
    ?/ => "/"
  }
  defp escape(<<char, rest::binary>>, read), do: string(rest, [Map.fetch!(@short, char) | read])

  defp hex(digits), do: String.to_integer(digits, 16)

  defp space(<<char, rest::binary>>) when char in ~c( \t\r\n), do: space(rest)
  defp space(text), do: text
end
