defmodule Mtrace.Test.Profile do
  # A strict reader of pprof's profiles: of every field it must know number and type, and what refers to
  # something must find it. See proto/profile.proto in github.com/google/pprof.
  @moduledoc false

  import Bitwise

  @profile %{
    1 => {:sample_type, {:many, :value_type}},
    2 => {:sample, {:many, :sample}},
    3 => {:mapping, {:many, :mapping}},
    4 => {:location, {:many, :location}},
    5 => {:function, {:many, :function}},
    6 => {:string_table, {:many, :string}},
    9 => {:time_nanos, :int},
    10 => {:duration_nanos, :int},
    11 => {:period_type, :value_type},
    12 => {:period, :int},
    13 => {:comment, :packed},
    14 => {:default_sample_type, :int}
  }

  @messages %{
    value_type: %{1 => {:type, :int}, 2 => {:unit, :int}},
    sample: %{
      1 => {:location_id, :packed},
      2 => {:value, :packed},
      3 => {:label, {:many, :label}}
    },
    label: %{1 => {:key, :int}, 2 => {:str, :int}, 3 => {:num, :int}, 4 => {:num_unit, :int}},
    mapping: %{
      1 => {:id, :int},
      2 => {:memory_start, :int},
      3 => {:memory_limit, :int},
      4 => {:file_offset, :int},
      5 => {:filename, :int},
      6 => {:build_id, :int},
      7 => {:has_functions, :int},
      8 => {:has_filenames, :int},
      9 => {:has_line_numbers, :int},
      10 => {:has_inline_frames, :int}
    },
    location: %{
      1 => {:id, :int},
      2 => {:mapping_id, :int},
      3 => {:address, :int},
      4 => {:line, {:many, :line}}
    },
    line: %{1 => {:function_id, :int}, 2 => {:line, :int}},
    function: %{
      1 => {:id, :int},
      2 => {:name, :int},
      3 => {:system_name, :int},
      4 => {:filename, :int}
    }
  }

  @doc """
  The profile with its references resolved: `%{types:, default:, samples:, comments:, time_nanos:,
  period:}`, a sample as `%{values:, labels:, stack:}`, a location of the stack as `%{mapping:, start:,
  limit:, address:, lines: [{function, file, line}]}`.
  """
  def read(gzipped) do
    raw = gzipped |> :zlib.gunzip() |> message(@profile)
    ["" | _] = raw.string_table
    true = Enum.uniq(raw.string_table) == raw.string_table
    texts = List.to_tuple(raw.string_table)
    text = fn i -> elem(texts, i || 0) end
    mappings = by_id(raw[:mapping])
    functions = by_id(raw[:function])

    locations = raw[:location] |> by_id() |> Map.new(&location(&1, mappings, functions, text))

    types = for type <- raw.sample_type, do: {text.(type.type), text.(type.unit)}

    %{
      types: types,
      default: text.(raw.default_sample_type),
      samples:
        for(sample <- raw[:sample] || [], do: sample(sample, length(types), locations, text)),
      comments: Enum.map(raw.comment, text),
      time_nanos: raw.time_nanos,
      period: {text.(raw.period_type.type), text.(raw.period_type.unit), raw[:period] || 0}
    }
  end

  defp by_id(nil), do: %{}

  defp by_id(messages) do
    found = Map.new(messages, &{&1.id, &1})
    true = map_size(found) == length(messages) and not is_map_key(found, 0)
    found
  end

  defp location({id, raw}, mappings, functions, text) do
    mapping = if raw[:mapping_id], do: Map.fetch!(mappings, raw.mapping_id)
    start = mapping && Map.get(mapping, :memory_start, 0)
    true = mapping == nil or raw.address in start..(mapping.memory_limit - 1)

    lines =
      for line <- raw.line do
        function = Map.fetch!(functions, line.function_id)
        true = function.name == function.system_name
        {text.(function.name), text.(function[:filename]), line[:line] || 0}
      end

    {id,
     %{
       mapping: mapping && text.(mapping.filename),
       start: start,
       limit: mapping && mapping.memory_limit,
       address: raw[:address] || 0,
       lines: lines
     }}
  end

  defp sample(raw, types, locations, text) do
    ^types = length(raw.value)

    labels =
      for label <- raw[:label] || [] do
        false =
          is_map_key(label, :str) and (is_map_key(label, :num) or is_map_key(label, :num_unit))

        value =
          if label[:str], do: text.(label.str), else: {label[:num] || 0, text.(label.num_unit)}

        {text.(label.key), value}
      end

    true = labels |> Enum.map(&elem(&1, 0)) |> then(&(Enum.uniq(&1) == &1))

    %{
      values: Enum.map(raw.value, &signed/1),
      labels: Map.new(labels),
      stack: Enum.map(raw.location_id, &Map.fetch!(locations, &1))
    }
  end

  defp signed(n) when n >= 1 <<< 63, do: n - (1 <<< 64)
  defp signed(n), do: n

  defp message(bytes, fields), do: bytes |> fields(fields, %{}) |> Map.new(&in_order/1)

  defp in_order({name, {:many, values}}), do: {name, Enum.reverse(values)}
  defp in_order(pair), do: pair

  defp fields(<<>>, _fields, found), do: found

  defp fields(bytes, fields, found) do
    {key, rest} = varint(bytes)
    {name, type} = Map.fetch!(fields, key >>> 3)
    {value, rest} = value(type, key &&& 7, rest)

    found =
      case type do
        {:many, _} ->
          Map.update(found, name, {:many, [value]}, fn {:many, all} ->
            {:many, [value | all]}
          end)

        _ ->
          false = is_map_key(found, name)
          Map.put(found, name, value)
      end

    fields(rest, fields, found)
  end

  defp value(:int, 0, bytes) do
    {n, rest} = varint(bytes)
    false = n == 0
    {n, rest}
  end

  defp value({:many, type}, 2, bytes), do: value(type, 2, bytes)

  defp value(type, 2, bytes) do
    {length, rest} = varint(bytes)
    {content, rest} = :erlang.split_binary(rest, length)
    {content(type, content), rest}
  end

  defp content(:string, content) do
    true = String.valid?(content)
    content
  end

  defp content(:packed, <<>>), do: []

  defp content(:packed, content) do
    {n, rest} = varint(content)
    [n | content(:packed, rest)]
  end

  defp content(type, content), do: message(content, Map.fetch!(@messages, type))

  # The shortest form, of 64 bits at most.
  defp varint(bytes), do: varint(bytes, 0, 0)

  defp varint(<<0::1, part::7, rest::binary>>, shift, sum) do
    true = part > 0 or shift == 0
    n = sum + (part <<< shift)
    true = n < 1 <<< 64
    {n, rest}
  end

  defp varint(<<1::1, part::7, rest::binary>>, shift, sum),
    do: varint(rest, shift + 7, sum + (part <<< shift))
end
