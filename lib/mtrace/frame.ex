defmodule Mtrace.Frame do
  @moduledoc """
  One function of a stack: where it is in the program, and in the source as far as that is known.

    * `address` - the return address, as it was recorded. Frames that were inlined into one another
      have the same
    * `offset` - the same as an address in the library's file, as addr2line(1) takes it (it is that of
      the next instruction: subtract 1)
    * `library` - the file that is mapped there, as the loader knows it; `nil` for code of the JIT
      and for an address in no known object
    * `symbol` - the function's name, demangled (C++, Rust); `"lists:foldl/3"`,
      `"Enum.map/2"` for Erlang and Elixir functions; `nil` if unknown
    * `file`, `line` - in the source, from the object's debug information; `nil` if unknown
    * `inlined` - the compiler put this function into the next frame's
    * `kind` - `:erlang` for code of the BEAM's JIT, else `:native`
    * `app` - `{:exqlite, "0.13.0"}` when the library lies in the priv folder of that OTP application,
      or the Erlang module belongs to it; the version is `nil` if nobody knows it

  The first frame of a stack is the hook, in Mtrace itself.
  """

  @type t :: %__MODULE__{
          address: non_neg_integer,
          offset: non_neg_integer | nil,
          library: String.t() | nil,
          symbol: String.t() | nil,
          file: String.t() | nil,
          line: pos_integer | nil,
          inlined: boolean,
          kind: :native | :erlang,
          app: {atom, String.t() | nil} | nil
        }

  defstruct [
    :address,
    :offset,
    :library,
    :symbol,
    :file,
    :line,
    :app,
    inlined: false,
    kind: :native
  ]

  @doc """
  The frame in a line: function, place in the source, library, application, whatever is known of
  them. Bytes that are not printable are replaced.

      iex> Mtrace.Frame.format(frame)
      "leak_malloc at leaky.c:12 in leaky.so (mtrace 0.1.0)"
  """
  @spec format(t) :: String.t()
  def format(%__MODULE__{} = frame) do
    [
      frame.symbol || "+0x" <> hex(frame.offset || frame.address),
      if(frame.inlined, do: "(inlined)"),
      if(frame.file, do: "at #{Path.basename(frame.file)}:#{frame.line || "?"}"),
      if(frame.library, do: "in #{Path.basename(frame.library)}"),
      app(frame.app)
    ]
    |> Enum.reject(&is_nil/1)
    |> Enum.join(" ")
    |> printable()
  end

  defp hex(n), do: n |> Integer.to_string(16) |> String.downcase()

  # For a line among others: C++ writes its parameters out.
  @doc false
  def short(%__MODULE__{symbol: symbol} = frame) do
    if symbol && String.valid?(symbol) && String.length(symbol) > 40,
      do: format(%{frame | symbol: String.slice(symbol, 0, 39) <> "…"}),
      else: format(frame)
  end

  defp app(nil), do: nil
  defp app({name, nil}), do: "(#{name})"
  defp app({name, version}), do: "(#{name} #{version})"

  # Names come from other people's files and may hold anything: escape sequences, which move a terminal's
  # cursor, ends of lines, signs that turn the direction of writing. String.printable?/1 lets these pass.
  @doc false
  def printable(text) do
    if String.valid?(text),
      do: String.replace(text, ~r/[\p{C}\p{Zl}\p{Zp}]/u, "?"),
      else: for(<<byte <- text>>, into: "", do: if(byte in 32..126, do: <<byte>>, else: "?"))
  end

  # A line that a narrow shell breaks between words.
  @doc false
  def wrap(text) do
    import Inspect.Algebra
    text |> String.split(" ") |> fold_doc(&flex_glue(&1, " ", &2)) |> nest(2) |> group()
  end

  defimpl Inspect do
    alias Mtrace.Frame
    def inspect(frame, options), do: Mtrace.Shown.as(frame, options, &text/1)
    defp text(frame), do: Frame.wrap("#Mtrace.Frame<#{Frame.short(frame)}>")
  end
end
