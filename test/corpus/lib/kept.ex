defmodule Mtrace.Corpus.Kept do
  @moduledoc "Healthy workloads of what stays: caches, pools, tables that grow and stop."

  import Mtrace.Corpus.Native
  import Mtrace.Corpus.Workload, except: [all: 0]
  alias Mtrace.Corpus.Workload

  def all do
    [
      %Workload{
        name: :cache_kept,
        label: :healthy,
        about: "a cache of 1500 entries that filled before, and is only read",
        rate: 20,
        sites: [:kept_entry],
        start: fn -> for _ <- 1..1500, do: take(:kept_entry, :malloc, size(64..1024)) end,
        step: & &1
      },
      %Workload{
        name: :cache_fills,
        label: :healthy,
        about: "a cache of 400 keys that is empty at first; most are in it after 8 s",
        rate: 150,
        sites: [:filling_entry],
        begins: :mark,
        start: fn -> %{} end,
        step: fn cache ->
          Map.put_new_lazy(cache, pick(1..400), fn ->
            take(:filling_entry, :calloc, size(64..1024))
          end)
        end
      },
      %Workload{
        name: :cache_lru,
        label: :healthy,
        about: "an LRU cache of 400 entries that is full: hot keys stay, others come and go",
        rate: 60,
        sites: [:lru_entry],
        start: fn -> {0, %{}} end,
        step: &lru/1
      },
      %Workload{
        name: :cache_fifo_long,
        label: :healthy,
        about:
          "a full cache of 1200 entries, each of which lives for 60 s, longer than the window",
        rate: 20,
        sites: [:lru_long_entry],
        start: fn -> :queue.from_list(for _ <- 1..1200, do: fifo_entry()) end,
        step: fn queue ->
          {{:value, oldest}, queue} = :queue.out(queue)
          give(oldest)
          :queue.in(fifo_entry(), queue)
        end
      },
      %Workload{
        name: :pool_breathes,
        label: :healthy,
        about: "a pool of buffers that grows and shrinks between 100 and 300 every 8 s",
        rate: 50,
        sites: [:breathing_buffer],
        start: fn -> {pick(0..399), 0, []} end,
        step: &breathe/1
      },
      %Workload{
        name: :growth_stops,
        label: :healthy,
        about: "a table that grows by 20 rows a second for 8 to 10 s, and then no more",
        rate: 20,
        sites: [:growth_add],
        begins: :mark,
        start: fn -> {pick(160..200), []} end,
        step: fn
          {0, rows} -> {0, rows}
          {left, rows} -> {left - 1, [take(:growth_add, :malloc, size(48..512)) | rows]}
        end
      },
      %Workload{
        name: :hash_doubles,
        label: :healthy,
        about: "a hash table that doubles by realloc, at last after some 10 s, and then stays",
        rate: 25,
        sites: [:hash_resize],
        begins: :mark,
        start: fn -> {0, take(:hash_resize, :malloc, 64 * 16)} end,
        step: fn
          {512, table} ->
            {512, table}

          {n, table} ->
            {n + 1, if(n * 16 == table.size, do: grow(table, 2 * n * 16), else: table)}
        end
      },
      %Workload{
        name: :lazy_initialisation,
        label: :healthy,
        about: "40 tables that are made once, when they are first wanted, after 3 to 10 s",
        rate: 10,
        sites: [:lazy_table],
        begins: :mark,
        start: fn -> {pick(30..100), []} end,
        step: fn
          {0, []} -> {0, for(_ <- 1..40, do: take(:lazy_table, :calloc, size(100..4000)))}
          {0, tables} -> {0, tables}
          {left, []} -> {left - 1, []}
        end
      },
      %Workload{
        name: :names,
        label: :healthy,
        about: "names that are interned by strdup; all 100 of them were before",
        rate: 20,
        sites: [:name_intern],
        start: fn -> for _ <- 1..100, do: take(:name_intern, :string, pick(8..60)) end,
        step: & &1
      },
      %Workload{
        name: :configuration,
        label: :healthy,
        about: "reloads 40 settings every 4 to 6 s: the new ones are made, then the old freed",
        rate: 10,
        sites: [:config_entry, :config_key],
        start: fn -> {pick(1..60), settings()} end,
        step: fn
          {0, old} ->
            new = settings()
            release(old)
            {pick(40..60), new}

          {left, settings} ->
            {left - 1, settings}
        end
      },
      %Workload{
        name: :connections,
        label: :healthy,
        about: "a pool of 30 connections, each renewed after 5 to 20 s",
        rate: 10,
        sites: [:connection_open, :connection_buffer, :connection_host],
        start: fn -> for _ <- 1..30, do: {pick(1..200), connection()} end,
        step: fn connections -> Enum.map(connections, &renew/1) end
      },
      %Workload{
        name: :double_buffer,
        label: :healthy,
        about:
          "two buffers of 256 KiB: twice a second the older is freed after a new one is made",
        rate: 2,
        sites: [:frame_buffer],
        start: fn -> {frame(), frame()} end,
        step: fn {older, newer} ->
          newest = frame()
          give(older)
          {newer, newest}
        end
      }
    ]
  end

  defp fifo_entry, do: take(:lru_long_entry, :malloc, size(64..512))

  defp lru({now, cache}) do
    key = trunc(2000 * :math.pow(:rand.uniform_real(), 3))

    cache =
      case cache do
        %{^key => {_, entry}} -> %{cache | key => {now, entry}}
        _ -> cache |> evict() |> Map.put(key, {now, take(:lru_entry, :malloc, size(64..2048))})
      end

    {now + 1, cache}
  end

  defp evict(cache) when map_size(cache) < 400, do: cache

  defp evict(cache) do
    {key, {_, entry}} = Enum.min_by(cache, fn {_, {used, _}} -> used end)
    give(entry)
    Map.delete(cache, key)
  end

  defp breathe({now, n, buffers}) do
    target = round(200 + 100 * :math.sin(2 * :math.pi() * now / 400))

    {gone, kept} = Enum.split(buffers, max(n - target, 0))
    release(gone)
    more = for _ <- 1..(target - n)//1, do: take(:breathing_buffer, :malloc, 2048)
    {now + 1, target, more ++ kept}
  end

  defp connection do
    [
      take(:connection_open, :malloc, 512),
      take(:connection_buffer, :calloc, 16_384),
      take(:connection_host, :string, pick(10..50))
    ]
  end

  defp renew({0, old}) do
    release(old)
    {pick(50..200), connection()}
  end

  defp renew({left, connection}), do: {left - 1, connection}

  defp settings do
    for _ <- 1..40,
        do: [
          take(:config_entry, :malloc, size(32..256)),
          take(:config_key, :string, pick(8..40))
        ]
  end

  defp frame, do: take(:frame_buffer, :aligned, 262_144)
end
