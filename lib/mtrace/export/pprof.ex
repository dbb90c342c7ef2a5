defmodule Mtrace.Export.Pprof do
  # A profile as pprof reads it: the message Profile of proto/profile.proto in
  # github.com/google/pprof, compressed by gzip. The numbers of the fields are those of that file.
  @moduledoc false

  import Mtrace.Export.Protobuf

  alias Mtrace.Export.Names
  alias Mtrace.Export.Pprof.{Samples, Tables}

  # Names and order are those of Go's heap profiles: readers that know of no default take the last.
  @sample_types [
    {"alloc_objects", "count"},
    {"alloc_space", "bytes"},
    {"inuse_objects", "count"},
    {"inuse_space", "bytes"}
  ]

  @doc "Samples carry the four values in the order above."
  def encode(snapshot, _options) do
    samples = Samples.read(snapshot)
    comments = comments(snapshot)
    texts = comments ++ Enum.flat_map(@sample_types, &Tuple.to_list/1) ++ Samples.texts(samples)
    tables = Tables.build(for({stack, _} <- samples, do: stack), texts)

    :zlib.gzip([
      for(type <- @sample_types, do: bytes(1, value_type(tables, type))),
      Enum.map(samples, &samples(tables, &1)),
      Tables.encode(tables),
      int(9, DateTime.to_unix(snapshot.taken_at, :nanosecond)),
      bytes(11, value_type(tables, {"inuse_space", "bytes"})),
      int(12, snapshot.coverage[:interval] || 0),
      packed(13, Enum.map(comments, &Tables.text(tables, &1))),
      int(14, Tables.text(tables, "inuse_space"))
    ])
  end

  defp value_type(tables, {type, unit}),
    do: [int(1, Tables.text(tables, type)), int(2, Tables.text(tables, unit))]

  defp samples(tables, {stack, samples}) do
    locations = packed(1, Tables.locations(tables, stack))

    for {values, labels} <- samples do
      labels = for {key, value} <- labels, do: bytes(3, label(tables, key, value))
      bytes(2, [locations, packed(2, values), labels])
    end
  end

  defp label(tables, key, {number, unit}),
    do: [int(1, Tables.text(tables, key)), int(3, number), int(4, Tables.text(tables, unit))]

  defp label(tables, key, text),
    do: [int(1, Tables.text(tables, key)), int(2, Tables.text(tables, text))]

  defp comments(snapshot) do
    coverage = snapshot.coverage || %{}

    [
      "node #{Names.text(snapshot.node)}, OTP #{Names.text(snapshot.otp_release)}",
      density(coverage[:interval]),
      "recorded #{Names.text(coverage[:recorded])} of #{Names.text(coverage[:slots])} slots, " <>
        "ignored #{Names.text(coverage[:ignored])}, thinned #{Names.text(coverage[:thinned])}",
      "#{length(snapshot.sites)} different stacks"
    ]
  end

  defp density(0), do: "everything is recorded"
  defp density(interval), do: "interval #{Names.text(interval)} bytes"
end
