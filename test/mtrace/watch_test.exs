defmodule Mtrace.WatchTest do
  # Watching a node, with NIFs that leak.
  use ExUnit.Case, async: false
  import ExUnit.CaptureIO
  alias Mtrace.Test.Leaky

  @moduletag :preloaded

  setup do
    :ok = Mtrace.configure(interval: 0)
    Mtrace.reset()
    on_exit(fn -> Mtrace.configure(interval: :adaptive) end)
  end

  # Does it every 20 ms until the test is over.
  defp all_the_time(f) do
    pid =
      spawn_link(fn ->
        Stream.repeatedly(fn -> {f.(), Process.sleep(20)} end) |> Stream.run()
      end)

    on_exit(fn ->
      Process.unlink(pid)
      Process.exit(pid, :kill)
    end)

    pid
  end

  defp steadily_leak, do: all_the_time(fn -> Leaky.leak(:malloc, 1000, 1) end)

  test "a NIF that leaks is named, with its process, and one that frees is not" do
    leaking = steadily_leak()
    all_the_time(fn -> Leaky.give_back(Leaky.leak(:calloc, 1000, 1)) end)
    leaks = Mtrace.leaks(window: 1500, filter: [library: "leaky.so"])
    assert [%{verdict: :leak, caller: {Leaky, :leak, 3}} = leak] = leaks
    assert leak.culprit.symbol == "leak_by_malloc"
    assert leak.bytes_per_minute in 500_000..4_000_000
    assert leak.survival > 0.9
    assert [%{pid: ^leaking, initial_call: {_, _, _}}] = leak.processes
  end

  test "a mark and a question later watch without waiting" do
    mark = Mtrace.mark()
    steadily_leak()
    Process.sleep(600)
    middle = Mtrace.mark()
    Process.sleep(600)
    leaks = Mtrace.leaks(since: [mark, middle], filter: [library: "leaky.so"])
    assert [%{verdict: :leak}] = leaks
    last = Mtrace.mark()

    assert [%{verdict: :leak}] =
             Mtrace.leaks(since: mark, until: last, filter: [library: "leaky.so"])
  end

  test "of two who looked first at once, each was told that his marks were of two runs" do
    run = Mtrace.mark().run
    :persistent_term.erase({Mtrace.Snapshot.Build, :run})
    assert Mtrace.mark().run == run
  end

  test "a filter that cannot be used was refused after the watch only" do
    for wrong <- [[filter: [min_age_ms: :x]], [ignore: [1]], [ignore: {:file, "/none"}]] do
      wait = [window: 86_400_000, progress: false]

      watch =
        Task.async(fn -> assert_raise ArgumentError, fn -> Mtrace.leaks(wait ++ wrong) end end)

      assert {:ok, %ArgumentError{}} = Task.yield(watch, 60_000) || Task.shutdown(watch)
    end
  end

  test "a reset by somebody else ends it" do
    watching = Task.async(fn -> Mtrace.leaks(window: 20_000) end)
    Process.sleep(300)
    Mtrace.reset()
    assert Task.await(watching, 10_000) == {:error, :reset}
    mark = Mtrace.mark()
    Mtrace.reset()
    assert Mtrace.leaks(since: mark) == {:error, :reset}
  end

  test "it shows its progress and its result where it is told to, and nothing else" do
    steadily_leak()

    watch = fn options ->
      Mtrace.leaks([window: 1500, filter: [library: "leaky.so"]] ++ options)
    end

    shown = capture_io(fn -> watch.(progress: true) end)
    assert shown =~ "Mtrace watches: 0 of 2 s" and shown =~ "After 1.5 s: 1 site is leaking.\n"
    lines = String.split(shown, ["\r", "\n"])
    assert Enum.all?(lines, &(String.length(&1) < 80))

    # What captures is no terminal.
    assert capture_io(fn -> watch.([]) end) == ""
    assert capture_io(:stderr, fn -> watch.([]) end) == ""
  end

  test "a terminal that goes away ends no watch" do
    {:ok, terminal} = StringIO.open("")
    parent = self()

    _ =
      spawn(fn ->
        Process.group_leader(self(), terminal)
        send(parent, {:leaks, Mtrace.leaks(window: 1200, progress: true)})
      end)

    Process.sleep(300)
    StringIO.close(terminal)
    assert_receive {:leaks, leaks} when is_list(leaks), 20_000
  end

  test "it works where there are 100,000 processes" do
    parent = self()

    idle =
      for _ <- 1..100_000 do
        spawn(fn ->
          Leaky.same(1)
          receive(do: (:stop -> send(parent, :stopped)))
        end)
      end

    on_exit(fn -> Enum.each(idle, &Process.exit(&1, :kill)) end)
    steadily_leak()
    assert [%{verdict: :leak}] = Mtrace.leaks(window: 1500, filter: [library: "leaky.so"])
    assert [_ | _] = Mtrace.sites(by: :pid)
  end

  test "what is summed up is what is live, by each grouping" do
    Leaky.leak(:malloc, 1000, 10)
    total = fn groups -> groups |> Enum.map(& &1.live_bytes) |> Enum.sum() end
    snapshot = Mtrace.snapshot(processes: false)
    all = total.(Mtrace.sites(snapshot))

    for by <- [:function, :library, :app, :caller, :pid, :thread, :allocator] do
      assert total.(Mtrace.sites(snapshot, by: by)) == all
    end

    assert [%{key: {Leaky, :leak, 3}, live: 10, live_bytes: 10_000}] =
             Mtrace.sites(by: :caller, filter: [caller: Leaky])
  end
end
