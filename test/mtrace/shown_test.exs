defmodule Mtrace.ShownTest do
  # How structs are printed, whatever stands in them.
  use ExUnit.Case, async: true

  alias Mtrace.{Chunk, Frame, Group, Growth, Leak, Memory, Site, Snapshot}
  alias Mtrace.Memory.Line

  @moduletag :plain

  @structs [Chunk, Frame, Group, Growth, Leak, Memory, Line, Site, Snapshot]
  @hostile "\e[2J\xFF\u202E\n"

  defp shown(struct), do: inspect(struct, safe: false, width: 80)

  test "a struct of which nothing is known is printed with its fields" do
    for module <- @structs, do: assert(shown(struct(module)) =~ "%#{inspect(module)}{")
  end

  test "names from elsewhere move no cursor, whichever struct they stand in" do
    frame = %Frame{
      address: 1,
      library: @hostile,
      symbol: @hostile,
      file: @hostile,
      line: 3,
      app: {@hostile, @hostile}
    }

    caller = {@hostile, @hostile, 1}
    site = %Site{stack: [frame], live: 1, live_bytes: 1, live_bytes_error: 0, caller: caller}
    line = %Line{kind: :native, name: @hostile, bytes: 1, source: @hostile}

    structs = [
      frame,
      site,
      line,
      %Chunk{size: 1, age_ms: 1, stack: [frame]},
      %Leak{
        site: site,
        verdict: :leak,
        bytes_per_minute: 1,
        bytes_per_minute_error: 1,
        survival: 0.5,
        caller: caller
      },
      %Group{by: :pid, key: @hostile, live: 1, live_bytes: 1, live_bytes_error: 0, sites: 1},
      %Growth{
        by: :caller,
        key: caller,
        before: 0,
        live: 1,
        growth_bytes: 1,
        growth_bytes_error: 0
      },
      %Memory{
        rss_bytes: 1,
        verdict: :native,
        taken_at: DateTime.utc_now(),
        sentence: @hostile,
        advice: @hostile,
        notes: [@hostile],
        lines: [line]
      },
      %Snapshot{
        node: @hostile,
        chunks: [],
        sites: [],
        coverage: %{},
        taken_at: DateTime.utc_now()
      }
    ]

    for struct <- structs do
      text = shown(struct)
      assert text =~ "#" <> inspect(struct.__struct__)
      assert String.valid?(text) and not (text =~ ~r/[\e\x{202e}]/u)
    end
  end
end
