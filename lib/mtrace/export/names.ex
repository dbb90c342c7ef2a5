defmodule Mtrace.Export.Names do
  # What things are called in exported files. Names come from other people's files and from snapshots
  # of other nodes: whatever their bytes, what is returned here is UTF-8 in one line.
  @moduledoc false

  alias Mtrace.Frame

  # C0 and C1, DEL, Unicode's line ends, and the marks that turn the direction of what follows.
  @controls [0x00..0x1F, 0x7F..0x9F, 0x200E..0x200F, 0x2028..0x202E, 0x2066..0x2069]
            |> Enum.flat_map(&Enum.to_list/1)

  @doc """
  The text as one line of valid UTF-8: what is none, and characters that move the cursor or start an
  escape sequence, become U+FFFD.
  """
  @spec line(binary) :: String.t()
  def line(text) do
    if plain?(text), do: text, else: text |> pieces() |> IO.iodata_to_binary()
  end

  defp plain?(<<byte, rest::binary>>) when byte in 0x20..0x7E, do: plain?(rest)
  defp plain?(rest), do: rest == ""

  defp pieces(<<char::utf8, rest::binary>>) when char in @controls,
    do: ["\uFFFD" | pieces(rest)]

  defp pieces(<<char::utf8, rest::binary>>), do: [<<char::utf8>> | pieces(rest)]
  defp pieces(<<_, rest::binary>>), do: ["\uFFFD" | pieces(rest)]
  defp pieces(<<>>), do: []

  @doc "The function, or where its code is if nobody knows its name: `bitcask.so+0x5840`, `0x7f0010`."
  @spec frame(Frame.t()) :: String.t()
  def frame(%Frame{symbol: symbol}) when symbol not in [nil, ""], do: line(symbol)

  def frame(%Frame{library: library, offset: offset}) when library != nil and offset != nil,
    do: line(Path.basename(library)) <> "+" <> hex(offset)

  def frame(%Frame{address: address}), do: hex(address || 0)

  @spec hex(non_neg_integer) :: String.t()
  def hex(n), do: "0x" <> (n |> Integer.to_string(16) |> String.downcase())

  @doc "The source file of a frame, or else its library; `nil` if neither is known."
  @spec place(Frame.t()) :: String.t() | nil
  def place(%Frame{file: file, library: library}) do
    if place = file || library, do: line(place)
  end

  @doc "`nil` for what is unknown, here and below."
  @spec app(Frame.t() | nil) :: String.t() | nil
  def app(%Frame{app: {name, _}}), do: text(name)
  def app(_), do: nil

  @spec version(Frame.t() | nil) :: String.t() | nil
  def version(%Frame{app: {_, version}}) when version != nil, do: text(version)
  def version(_), do: nil

  @doc "`lists:map/2`, `Enum.map/2`, `load Shop.load`, `destructor Shop cart`, `thread`."
  @spec caller(Mtrace.Chunk.caller()) :: String.t() | nil
  def caller(nil), do: nil
  def caller({:load, {module, function}}), do: "load " <> call(module, function)
  def caller({:destructor, {module, type}}), do: "destructor #{module(module)} #{text(type)}"
  def caller({m, f, arity}) when is_integer(arity), do: call(m, f) <> "/#{arity}"
  def caller(other), do: text(other)

  defp call(module, function) do
    separator = if match?("Elixir." <> _, text(module)), do: ".", else: ":"
    module(module) <> separator <> text(function)
  end

  defp module(module) do
    case text(module) do
      "Elixir." <> name -> name
      name -> name
    end
  end

  @doc "`<0.123.0>`, as Erlang prints it."
  @spec pid(pid | String.t() | nil) :: String.t() | nil
  def pid(nil), do: nil
  def pid(pid) when is_pid(pid), do: pid |> :erlang.pid_to_list() |> to_string()
  def pid(pid), do: text(pid)

  @doc "What a process is, from a snapshot's `processes`: the name that it registered, or else its call."
  @spec process(map | nil) :: String.t() | nil
  def process(%{registered_name: name}) when name not in [nil, []], do: text(name)
  def process(%{initial_call: call}) when call != nil, do: caller(call)
  def process(_), do: nil

  @doc "`12345 1_scheduler`: the kernel's number and its name, or what kind of thread it is."
  @spec thread(map | nil) :: String.t() | nil
  def thread(%{id: id} = thread), do: "#{id} #{text(thread[:name] || thread[:kind])}"
  def thread(_), do: nil

  @doc "Any term: atoms and texts as they are, the rest as Elixir prints it."
  @spec text(term) :: String.t()
  def text(text) when is_binary(text), do: line(text)
  def text(atom) when is_atom(atom), do: atom |> Atom.to_string() |> line()
  def text(term), do: term |> inspect() |> line()
end
