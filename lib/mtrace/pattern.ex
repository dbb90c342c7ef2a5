defmodule Mtrace.Pattern do
  # Patterns for names, as in the suppression files of LeakSanitizer: a pattern is found anywhere in a
  # name; `*` stands for any text, `^` at its beginning and `$` at its end for the name's own.
  @moduledoc false

  alias Mtrace.Frame

  @type t :: [{:text, [binary]} | Regex.t()]

  @doc "Patterns, from strings and regular expressions. Raises `ArgumentError` for anything else."
  @spec compile!(term) :: t
  def compile!(patterns) do
    for pattern <- List.wrap(patterns) do
      case pattern do
        %Regex{} -> pattern
        text when is_binary(text) and text != "" -> regex(text)
        other -> raise ArgumentError, "a pattern is a string or a Regex, got: #{inspect(other)}"
      end
    end
  end

  # Bytes, not characters: names may be of any encoding.
  defp regex(text) do
    {first, text} = if String.starts_with?(text, "^"), do: {"\\A", tail(text)}, else: {"", text}
    {text, last} = if String.ends_with?(text, "$"), do: {front(text), "\\z"}, else: {text, ""}
    middle = text |> String.split("*") |> Enum.map_join(".*", &Regex.escape/1)
    Regex.compile!(first <> middle <> last, "s")
  end

  defp tail(text), do: binary_part(text, 1, byte_size(text) - 1)
  defp front(text), do: binary_part(text, 0, byte_size(text) - 1)

  @doc """
  The patterns of a file: one a line, `leak:` before it is passed over; empty lines and those that begin
  with # are none. `{:error, posix}` if it cannot be read.
  """
  @spec read(Path.t()) :: {:ok, t} | {:error, File.posix()}
  def read(path) do
    with {:ok, text} <- File.read(path) do
      {:ok, for(line <- String.split(text, ["\n", "\r\n"]), p = pattern(line), do: regex(p))}
    end
  end

  defp pattern(line) do
    case String.trim(line) do
      "" -> nil
      "#" <> _ -> nil
      "leak:" <> pattern -> if pattern != "", do: pattern
      pattern -> pattern
    end
  end

  @doc "Whether any of the patterns is found in this text."
  @spec match?(t, binary | nil) :: boolean
  def match?(_patterns, nil), do: false
  def match?(patterns, text), do: Enum.any?(patterns, &Regex.match?(&1, text))

  @doc "Whether any of them is found in the function, library or source file of a frame."
  @spec match_frame?(t, Frame.t()) :: boolean
  def match_frame?(patterns, %Frame{} = frame) do
    Enum.any?([frame.symbol, frame.library, frame.file], &__MODULE__.match?(patterns, &1))
  end
end
