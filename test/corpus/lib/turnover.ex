defmodule Mtrace.Corpus.Turnover do
  @moduledoc "Healthy workloads of what comes and goes: requests, sessions, batches, queues."

  import Mtrace.Corpus.Native
  import Mtrace.Corpus.Workload, except: [all: 0]
  alias Mtrace.Corpus.Workload

  def all do
    [
      %Workload{
        name: :sessions,
        label: :healthy,
        about:
          "processes that live for 2 s on average, each with state in a resource, freed with it",
        rate: 15,
        sites: [:session_new, :session_state],
        start: &calendar/0,
        step: fn calendar ->
          session =
            session(fn -> resource(:session_new, 128, :session_state, size(1024..8192)) end)

          calendar |> later(session, exponential(30)) |> pass()
        end
      },
      %Workload{
        name: :requests,
        label: :healthy,
        about: "requests, 1000 a second: what is parsed and the reply are freed at once",
        rate: 50,
        sites: [:request_parse, :request_reply],
        start: fn -> nil end,
        step: fn nil ->
          churn(:request_parse, :malloc, for(_ <- 1..10, do: size(32..2048)))
          churn(:request_reply, :enif, for(_ <- 1..10, do: size(256..8192)))
          nil
        end
      },
      %Workload{
        name: :batches,
        label: :healthy,
        about: "collects up to three rows a step for 3 to 5 s, then frees all of them",
        rate: 25,
        sites: [:batch_collect],
        start: fn -> {pick(1..125), []} end,
        step: &batch/1
      },
      %Workload{
        name: :resources_collected,
        label: :healthy,
        about: "processes that live for up to 1 s make resources, which the GC collects",
        rate: 10,
        sites: [:cursor_open, :cursor_rows],
        start: &calendar/0,
        step: fn calendar ->
          cursors = fn ->
            for _ <- 1..pick(1..4),
                do: resource(:cursor_open, pick(64..256), :cursor_rows, size(256..4096))
          end

          calendar |> later(session(cursors), pick(1..10)) |> pass()
        end
      },
      %Workload{
        name: :binaries_handed_over,
        label: :healthy,
        about:
          "binaries that are made in a NIF and are the emulator's from then on, 100 a second",
        rate: 50,
        sites: [:handed_binary],
        start: fn -> [] end,
        step: fn last ->
          made = for _ <- 1..2, do: binary(:handed_binary, size(100..20_000), :hand)
          Enum.take(made ++ last, 50)
        end
      },
      %Workload{
        name: :queue,
        label: :healthy,
        about: "a queue of at most 64 messages: one native thread allocates, another frees",
        rate: 25,
        sites: [:queue_push],
        start: fn -> {thread_start(), thread_start(), []} end,
        step: &queue/1,
        stop: fn {producer, consumer, queue} ->
          for held <- queue, do: thread_give(consumer, held)
          Enum.each([producer, consumer], &thread_stop/1)
        end
      },
      %Workload{
        name: :arena,
        label: :healthy,
        about:
          "an arena that takes blocks of 16 KiB; a reset every 2 to 4 s frees all but the first",
        rate: 25,
        sites: [:arena_block],
        start: fn -> {pick(1..100), 0, [block()]} end,
        step: &arena/1
      },
      %Workload{
        name: :messages,
        label: :healthy,
        about: "environments of messages, freed after 0.05 to 2 s",
        rate: 20,
        sites: [:message_env],
        start: &calendar/0,
        step: fn calendar ->
          calendar |> later(take(:message_env, :env, 840), pick(1..40)) |> pass()
        end
      },
      %Workload{
        name: :bodies,
        label: :healthy,
        about: "8 request bodies that grow by realloc up to 256 KiB, are freed and begin again",
        rate: 25,
        sites: [:body_append],
        start: fn -> Map.new(1..8, &{&1, body()}) end,
        step: fn bodies -> Map.update!(bodies, pick(1..8), &append/1) end
      },
      %Workload{
        name: :timers,
        label: :healthy,
        about: "lifetimes with a heavy tail: half end within 0.2 s, a few take up to 15 s",
        rate: 40,
        sites: [:tail_timer],
        start: &calendar/0,
        step: fn calendar ->
          steps = min(600, round(4 / :math.pow(:rand.uniform_real(), 1.2)))
          calendar |> later(take(:tail_timer, :malloc, size(48..256)), steps) |> pass()
        end
      },
      %Workload{
        name: :jobs,
        label: :healthy,
        about: "jobs of 0.2 to 2 s that take scratch memory of up to 512 KiB in a dirty NIF",
        rate: 5,
        sites: [:job_scratch],
        start: &calendar/0,
        step: fn calendar ->
          calendar
          |> later(take_dirty(:job_scratch, :aligned, size(32_768..524_288)), pick(1..10))
          |> pass()
        end
      }
    ]
  end

  defp batch({0, rows}) do
    release(rows)
    {pick(75..125), []}
  end

  defp batch({left, rows}) do
    {left - 1,
     for(_ <- 1..pick(1..3), do: take(:batch_collect, :malloc, size(64..1024))) ++ rows}
  end

  defp queue({producer, consumer, queue}) do
    more =
      for _ <- 1..min(pick(0..5), 64 - length(queue))//1,
          do: thread_take(producer, :queue_push, :malloc, size(64..1024))

    {gone, queue} = Enum.split(queue ++ more, pick(0..6))
    for held <- gone, do: thread_give(consumer, held)
    {producer, consumer, queue}
  end

  defp block, do: take(:arena_block, :malloc, 16_384)

  defp arena({0, _used, blocks}) do
    {gone, first} = Enum.split(blocks, -1)
    release(gone)
    {pick(50..100), 0, first}
  end

  defp arena({left, used, blocks}) do
    wanted = pick(500..6000)

    if used + wanted <= 16_384,
      do: {left - 1, used + wanted, blocks},
      else: {left - 1, wanted, [block() | blocks]}
  end

  defp body, do: {pick(32..256) * 1024, take(:body_append, :malloc, 2048)}

  defp append({limit, body}) do
    size = body.size + pick(1..8) * 1024

    if size > limit do
      give(body)
      body()
    else
      {limit, grow(body, size)}
    end
  end
end
