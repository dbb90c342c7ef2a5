defmodule Mtrace.Test.Looks do
  # Snapshots made by hand: of chunks whose sites are known.
  @moduledoc false

  alias Mtrace.{Chunk, Culprit, Estimate, Frame, Site, Snapshot}

  @second 1_000_000_000

  @doc "A frame of a function in the library of an application."
  def frame(symbol, options \\ []) do
    struct!(
      %Frame{
        address: :erlang.phash2(symbol),
        offset: :erlang.phash2(symbol, 4096),
        library: "/srv/shop-1.2.0/priv/shop.so",
        symbol: symbol,
        file: "shop.c",
        line: 10,
        app: {:shop, "1.2.0"}
      },
      options
    )
  end

  @doc "A chunk, of a site that is named by `symbol`; born at so many seconds."
  def chunk(symbol, address, born_s, options \\ []) do
    struct!(
      %Chunk{
        address: address,
        size: 100,
        born_ns: round(born_s * @second),
        weight: 1.0,
        allocator: :malloc,
        caller: {:shop_nif, :parse, 1},
        pid: nil,
        thread: %{id: 7, name: "1_scheduler", kind: :normal},
        stack: [frame(symbol), frame("shop_nif_parse")]
      },
      options
    )
  end

  @doc "A snapshot at so many seconds, of these chunks; coverage and run can be given."
  def snapshot(chunks, at_s, options \\ []) do
    taken_ns = round(at_s * @second)

    coverage = %{
      recorded: length(chunks),
      slots: 4096,
      interval: 0,
      ignored: 0,
      thinned: 0,
      resets: 0
    }

    ids = chunks |> Enum.map(&site_key/1) |> Enum.uniq() |> Enum.with_index() |> Map.new()

    chunks =
      for c <- chunks do
        age = max(div(taken_ns - c.born_ns, 1_000_000), 0)
        %{c | site: ids[site_key(c)], age_ms: age}
      end

    %Snapshot{
      chunks: Enum.sort_by(chunks, & &1.born_ns),
      sites:
        chunks
        |> Enum.group_by(& &1.site)
        |> Enum.map(&site/1)
        |> Enum.sort_by(&(-&1.live_bytes)),
      processes: Keyword.get(options, :processes, %{}),
      coverage: Map.merge(coverage, Keyword.get(options, :coverage, %{})),
      node: node(),
      otp_release: System.otp_release(),
      run: Keyword.get(options, :run, 1),
      taken_at: ~U[2026-11-20 10:00:00.000000Z],
      taken_ns: taken_ns
    }
  end

  defp site_key(c), do: {c.stack, c.allocator, c.caller}

  defp site({id, [first | _] = chunks}) do
    site = %Site{
      id: id,
      stack: first.stack,
      culprit: Culprit.find(first.stack),
      allocator: first.allocator,
      caller: first.caller
    }

    site = Map.merge(site, Estimate.live(chunks))

    %{
      site
      | allocated: 2 * site.live,
        allocated_error: 0,
        allocated_bytes: 2 * site.live_bytes,
        allocated_bytes_error: 0,
        freed: site.live,
        freed_bytes: site.live_bytes,
        peak_bytes: site.live_bytes
    }
  end
end
