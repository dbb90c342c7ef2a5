defmodule Mtrace.Corpus.Lost do
  @moduledoc "Leaking workloads that lose everything of a site, by each allocator, often or seldom."

  import Mtrace.Corpus.Native
  import Mtrace.Corpus.Workload, except: [all: 0]
  alias Mtrace.Corpus.Workload

  def all do
    [
      each(:each_call, 20, :call_leak, "each call leaks a chunk, 20 a second", fn ->
        take(:call_leak, :malloc, size(32..512))
      end),
      each(:strings, 10, :label_copy, "strings copied by strdup, 10 a second", fn ->
        take(:label_copy, :string, pick(10..120))
      end),
      each(:enif_alloc, 10, :enif_leak, "enif_alloc without enif_free, 10 a second", fn ->
        take(:enif_leak, :enif, size(32..1024))
      end),
      each(
        :environments,
        3,
        :env_leak,
        "enif_alloc_env without enif_free_env, 3 a second",
        fn -> take(:env_leak, :env, 840) end
      ),
      each(
        :binaries_forgotten,
        4,
        :binary_leak,
        "binaries that are neither released nor handed over, 4 a second",
        fn -> binary(:binary_leak, size(200..8000), :forget) end
      ),
      each(:dirty, 4, :dirty_leak, "a dirty NIF leaks 4 chunks a second", fn ->
        take_dirty(:dirty_leak, :malloc, size(4096..16_384))
      end),
      seldom(:slow, 10..20, :slow_leak, "100 bytes every 1 to 2 s", fn ->
        take(:slow_leak, :malloc, 100)
      end),
      seldom(:rare_and_big, 40..50, :big_leak, "1 MiB every 4 to 5 s", fn ->
        take(:big_leak, :malloc, 1_048_576)
      end),
      seldom(:bursts, 60..60, :burst_leak, "50 chunks at once every 6 s", fn ->
        for _ <- 1..50, do: take(:burst_leak, :malloc, size(64..512))
      end),
      %Workload{
        name: :native_thread,
        label: :leaking,
        about: "a native thread that a NIF started leaks 5 chunks a second",
        rate: 5,
        sites: [:thread_leak],
        leaks: [:thread_leak],
        start: &thread_start/0,
        step: fn thread ->
          thread_take(thread, :thread_leak, :malloc, size(64..1024))
          thread
        end,
        stop: &thread_stop/1
      }
    ]
  end

  defp each(name, rate, site, about, leak) do
    %Workload{
      name: name,
      label: :leaking,
      about: about,
      rate: rate,
      sites: [site],
      leaks: [site],
      start: fn -> nil end,
      step: fn nil ->
        leak.()
        nil
      end
    }
  end

  # At 10 steps a second, once in as many steps as the range says.
  defp seldom(name, range, site, about, leak) do
    %Workload{
      name: name,
      label: :leaking,
      about: about,
      rate: 10,
      sites: [site],
      leaks: [site],
      start: fn -> pick(1..Enum.max(range)) end,
      step: fn
        1 ->
          leak.()
          pick(range)

        left ->
          left - 1
      end
    }
  end
end
