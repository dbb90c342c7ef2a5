defmodule Mtrace.Corpus.Among do
  @moduledoc "Leaking workloads whose chunks can be reached, or lie among others that are freed."

  import Mtrace.Corpus.Native
  import Mtrace.Corpus.Workload, except: [all: 0]
  alias Mtrace.Corpus.Workload

  def all do
    [
      %Workload{
        name: :error_path,
        label: :leaking,
        about:
          "one of 100 calls leaks, on an error path; the others free the same site's chunk",
        rate: 100,
        sites: [:error_path_open],
        leaks: [:error_path_open],
        start: fn -> nil end,
        step: fn nil ->
          opened = take(:error_path_open, :malloc, size(64..1024))
          if pick(1..100) > 1, do: give(opened)
          nil
        end
      },
      %Workload{
        name: :under_churn,
        label: :leaking,
        about: "3 chunks a second, among 500 that are freed at once, all from one xmalloc",
        rate: 50,
        sites: [:busy_work, :busy_leak],
        leaks: [:busy_leak],
        start: fn -> pick(1..17) end,
        step: fn left ->
          churn(:busy_work, :xmalloc, for(_ <- 1..10, do: size(32..4096)))
          if left == 1, do: take(:busy_leak, :xmalloc, size(64..512))
          if left == 1, do: pick(12..22), else: left - 1
        end
      },
      %Workload{
        name: :waiters,
        label: :leaking,
        about: "waiters, 20 a second, each freed after up to 2 s; every tenth is forgotten",
        rate: 20,
        sites: [:waiter_add],
        leaks: [:waiter_add],
        start: &calendar/0,
        step: fn calendar ->
          waiter = take(:waiter_add, :malloc, size(48..256))
          if rem(calendar.now, 10) == 9, do: pass(calendar), else: wait(calendar, waiter)
        end
      },
      %Workload{
        name: :batches_creep,
        label: :leaking,
        about: "batches of 3 to 5 s that are freed but for one row of 20",
        rate: 25,
        sites: [:creeping_batch],
        leaks: [:creeping_batch],
        start: fn -> {pick(1..125), []} end,
        step: &batch/1
      },
      %Workload{
        name: :reload_forgets,
        label: :leaking,
        about: "reloads 20 settings every 4 to 6 s, and forgets the old ones",
        rate: 10,
        sites: [:reload_entry],
        leaks: [:reload_entry],
        start: fn -> {pick(1..60), settings()} end,
        step: fn
          {0, _lost} -> {pick(40..60), settings()}
          {left, settings} -> {left - 1, settings}
        end
      },
      %Workload{
        name: :cache_unbounded,
        label: :leaking,
        about: "a cache without eviction whose keys never repeat, 15 a second",
        rate: 15,
        sites: [:unbounded_entry],
        leaks: [:unbounded_entry],
        start: fn -> [] end,
        step: &[take(:unbounded_entry, :calloc, size(64..1024)) | &1]
      },
      %Workload{
        name: :log_buffer,
        label: :leaking,
        about: "a log in one buffer that grows by 4 KiB with realloc, 1.3 times a second",
        rate: 5,
        sites: [:log_append],
        leaks: [:log_append],
        start: fn -> {0, take(:log_append, :malloc, 4096)} end,
        step: fn {used, log} ->
          used = used + pick(100..2000)
          {used, if(used > log.size, do: grow(log, log.size + 4096), else: log)}
        end
      },
      %Workload{
        name: :container,
        label: :leaking,
        about: "a C++ vector of buffers that only grows, 8 a second",
        rate: 8,
        sites: [:index_add],
        leaks: [:index_add],
        start: fn -> take(:index_add, :index, size(64..512)) end,
        step: &grow(&1, size(64..512))
      },
      %Workload{
        name: :resources_kept,
        label: :leaking,
        about: "a process that lives keeps every resource in a list, 5 a second",
        rate: 5,
        sites: [:kept_cursor, :kept_cursor_rows],
        leaks: [:kept_cursor, :kept_cursor_rows],
        start: fn -> [] end,
        step: &[resource(:kept_cursor, pick(64..256), :kept_cursor_rows, size(256..2048)) | &1]
      },
      %Workload{
        name: :resources_in_ets,
        label: :leaking,
        about: "short-lived processes put resources into an ETS table, 4 a second, for good",
        rate: 4,
        sites: [:table_cursor],
        leaks: [:table_cursor],
        start: fn -> {0, :ets.new(:corpus, [:public])} end,
        step: &into_table/1,
        stop: fn {_, table} -> :ets.delete(table) end
      },
      %Workload{
        name: :destructor,
        label: :leaking,
        about: "resources, 5 a second, whose destructor forgets the inner part",
        rate: 5,
        sites: [:shallow_object, :shallow_inner],
        leaks: [:shallow_inner],
        start: &calendar/0,
        step: fn calendar ->
          object = fn ->
            resource(:shallow_object, 96, :shallow_inner, size(128..2048), forgets: true)
          end

          calendar |> later(session(object), pick(1..5)) |> pass()
        end
      }
    ]
  end

  defp wait(calendar, waiter), do: calendar |> later(waiter, pick(1..40)) |> pass()

  defp batch({0, rows}) do
    for row <- rows, pick(1..20) > 1, do: give(row)
    {pick(75..125), []}
  end

  defp batch({left, rows}) do
    {left - 1, [take(:creeping_batch, :malloc, size(64..1024)) | rows]}
  end

  defp settings, do: for(_ <- 1..20, do: take(:reload_entry, :string, pick(20..200)))

  defp into_table({n, table}) do
    make = fn ->
      cursor = resource(:table_cursor, pick(64..512), :table_cursor, size(128..1024))
      :ets.insert(table, {n, cursor})
    end

    make |> session() |> release()
    {n + 1, table}
  end
end
