defmodule Mtrace.Export.Pprof.Tables do
  # What the samples of a profile refer to by number: texts, functions, locations and mappings.
  #
  #   sample -> location -> line -> function -> texts
  #                 \-> mapping -> text
  @moduledoc false

  import Mtrace.Export.Protobuf

  alias Mtrace.Export.Names
  alias Mtrace.Frame

  # Numbers begin with 1, for texts with 0, which is "".
  defstruct [:texts, :functions, :locations, :mappings]

  @doc "Tables for these stacks, and for texts that are used elsewhere."
  def build(stacks, texts) do
    locations = stacks |> Enum.uniq() |> Enum.flat_map(&split/1) |> Enum.uniq()
    frames = Enum.concat(locations)
    functions = frames |> Enum.map(&function/1) |> Enum.uniq()

    mappings =
      locations |> Enum.group_by(&mapping/1) |> Map.delete(nil) |> Enum.sort_by(&order/1)

    used =
      Enum.flat_map(functions, &Tuple.to_list/1) ++
        for({key, _} <- mappings, do: filename(key)) ++ texts

    %__MODULE__{
      texts: numbers(["" | List.delete(Enum.uniq(used), "")], 0),
      functions: numbers(functions, 1),
      locations: numbers(locations, 1),
      mappings: mappings
    }
  end

  defp numbers(terms, first), do: terms |> Enum.with_index(first) |> Map.new()

  def text(tables, text), do: Map.fetch!(tables.texts, text)

  @doc "The numbers of a stack's locations, innermost first."
  def locations(tables, stack),
    do: stack |> split() |> Enum.map(&Map.fetch!(tables.locations, &1))

  # One location: a function with those that were inlined into it, innermost first.
  defp split(stack) do
    Enum.chunk_while(
      stack,
      [],
      fn
        %Frame{inlined: true} = frame, open -> {:cont, [frame | open]}
        frame, open -> {:cont, Enum.reverse([frame | open]), []}
      end,
      fn
        [] -> {:cont, []}
        open -> {:cont, Enum.reverse(open), []}
      end
    )
  end

  defp function(frame),
    do: {Names.frame(frame), if(frame.file, do: Names.line(frame.file), else: "")}

  # A library is mapped where its addresses begin to count: a frame's offset is from there.
  defp mapping([%Frame{kind: :erlang} | _]), do: :erlang

  defp mapping([%Frame{library: library, address: address, offset: offset} | _])
       when is_binary(library) and is_integer(offset) and offset <= address,
       do: {library, address - offset}

  defp mapping(_), do: nil

  # The first mapping is the program's to pprof.
  defp order({:erlang, _}), do: {2, "", 0}
  defp order({{library, start}, _}), do: {if(library =~ ".so", do: 1, else: 0), library, start}

  defp filename(:erlang), do: "[erlang]"
  defp filename({library, _}), do: Names.line(library)

  @doc "The fields of Profile that hold the tables."
  def encode(tables) do
    mappings = tables.mappings |> Enum.map(&elem(&1, 0)) |> numbers(1) |> Map.put(nil, 0)

    [
      for({{key, locations}, id} <- Enum.with_index(tables.mappings, 1)) do
        bytes(3, mapping(tables, id, key, locations))
      end,
      for({frames, id} <- ordered(tables.locations)) do
        bytes(4, location(tables, id, frames, Map.fetch!(mappings, mapping(frames))))
      end,
      for({{name, file}, id} <- ordered(tables.functions)) do
        name = text(tables, name)
        bytes(5, [int(1, id), int(2, name), int(3, name), int(4, text(tables, file))])
      end,
      for({text, _} <- ordered(tables.texts), do: bytes(6, text))
    ]
  end

  defp ordered(numbers), do: Enum.sort_by(numbers, &elem(&1, 1))

  # has_functions also tells pprof not to look for names in files that it finds under these paths
  # where it runs: they may be others.
  defp mapping(tables, id, key, locations) do
    addresses = for [frame | _] <- locations, do: frame.address
    frames = Enum.concat(locations)

    [
      int(1, id),
      int(2, start(key, addresses)),
      int(3, Enum.max(addresses) + 1),
      int(5, text(tables, filename(key))),
      int(7, true),
      int(8, Enum.any?(frames, & &1.file)),
      int(9, Enum.any?(frames, & &1.line)),
      int(10, Enum.any?(frames, & &1.inlined))
    ]
  end

  defp start(:erlang, addresses), do: Enum.min(addresses)
  defp start({_library, start}, _addresses), do: start

  defp location(tables, id, [%Frame{address: address} | _] = frames, mapping) do
    lines =
      for frame <- frames do
        function = Map.fetch!(tables.functions, function(frame))
        bytes(4, [int(1, function), int(2, frame.line || 0)])
      end

    [int(1, id), int(2, mapping), int(3, address), lines]
  end
end
