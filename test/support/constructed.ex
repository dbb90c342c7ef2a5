defmodule Mtrace.Test.Constructed do
  @moduledoc "Snapshots, sites and leaks that no node ever had."

  alias Mtrace.{Culprit, Frame, Leak, Memory, Site, Snapshot}
  alias Mtrace.Memory.Line

  def hook do
    native("malloc", "/lib/mtrace-0.1.0/priv/mtrace.so",
      file: "malloc.c",
      line: 139,
      app: {:mtrace, "0.1.0"}
    )
  end

  def native(symbol, library, options \\ []) do
    struct!(
      %Frame{address: 0x7F001234, offset: 0x1234, library: library, symbol: symbol},
      options
    )
  end

  def erlang(symbol, options \\ []),
    do: struct!(%Frame{address: 0x7E005678, symbol: symbol, kind: :erlang}, options)

  @doc "A site with this stack behind the hook, and this many chunks and bytes."
  def site(stack, live, live_bytes, options \\ []) do
    stack = [hook() | stack]

    struct!(
      %Site{
        stack: stack,
        culprit: Culprit.find(stack),
        caller: nil,
        recorded: live,
        live: live,
        live_error: 0,
        live_bytes: live_bytes,
        live_bytes_error: 0,
        allocated: live + 10,
        allocated_error: 0,
        allocated_bytes: 3 * live_bytes,
        allocated_bytes_error: 0,
        freed: 10,
        freed_bytes: 2 * live_bytes,
        peak_bytes: live_bytes
      },
      options
    )
  end

  @doc "Two applications with a NIF each, one of them from two places, and the emulator."
  def sites do
    shop = &native(&1, "/srv/lib/shop-1.2.3/priv/shop.so", [{:app, {:shop, "1.2.3"}} | &2])
    store = native("store_put", "/srv/lib/store-0.9.0/priv/store.so", app: {:store, nil})
    put = {Elixir.Shop.Native, :put, 2}

    erlang = [
      erlang("Shop.Cart.add/2", file: "lib/shop/cart.ex", line: 7, app: {:shop, "1.2.3"}),
      erlang("gen_server:handle_call/3", file: "gen_server.erl", line: 9, app: {:stdlib, "4.2"})
    ]

    leak = shop.("leak_item", file: "/build/leak.c", line: 13)
    list = shop.("std::list<int>::push(int const&)", inlined: true)
    beam = native("beam_load", "/usr/lib/erlang/erts-13.1.5/bin/beam.smp")

    [
      site([leak | erlang], 1000, 600_000, live_bytes_error: 20_000, caller: put),
      site([list, leak | erlang], 20, 200_000, caller: put),
      site([store | erlang], 5, 100_000, caller: {:store, :put, 3}, allocator: :enif),
      site([beam], 2, 100_000)
    ]
  end

  def snapshot(sites \\ sites()) do
    %Snapshot{
      chunks: [],
      sites: sites,
      processes: %{},
      coverage: %{recorded: 1027, slots: 4096, interval: 65536, ignored: 2, thinned: 30},
      node: :shop@host,
      otp_release: "25",
      taken_at: ~U[2026-11-20 10:23:46.123456Z]
    }
  end

  def leak(site, options \\ []) do
    struct!(
      %Leak{
        verdict: :leak,
        site: site,
        culprit: site.culprit,
        caller: site.caller,
        processes: [],
        growth: 100,
        growth_bytes: 300_000,
        growth_bytes_error: 20_000,
        bytes_per_minute: 41 * 1_048_576,
        bytes_per_minute_error: 6 * 1_048_576,
        allocations: 812,
        frees: 0,
        survival: 0.9988,
        window_ms: 30_000
      },
      options
    )
  end

  def memory do
    line = &%Line{kind: &1, name: &2, bytes: &3, source: "smaps_rollup", lines: &4}

    %Memory{
      rss_bytes: 412_000_000,
      verdict: :native,
      sentence: "Native code holds 61 % of the resident memory.",
      advice: "Let Mtrace.leaks() watch.",
      taken_at: ~U[2026-11-20 10:23:46Z],
      lines: [
        line.(:erlang, "Erlang's data", 112_000_000, [line.(:ets, "ETS", 80_000_000, [])]),
        line.(:malloc, "malloc, in use", 310_000_000, []),
        line.(:rest, "unexplained", -10_000_000, [])
      ]
    }
  end
end
