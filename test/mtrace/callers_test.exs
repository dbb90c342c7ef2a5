defmodule Mtrace.CallersTest do
  # On whose behalf chunks are: allocator, NIF, process, thread and Erlang stack, as snapshots show
  # them; preloaded and attached.
  use ExUnit.Case
  @moduletag :preloaded

  alias Mtrace.Frame
  alias Mtrace.Test.{BeamHooks, BeamAfter, Leaky}

  @compile {:no_warn_undefined, BeamAfter}

  setup_all do
    before = Code.compiler_options(ignore_module_conflict: true)
    BeamHooks.define(BeamAfter, "beam_after")
    Code.compiler_options(before)
    :ok
  end

  setup do
    Mtrace.configure(interval: 0)
    Mtrace.reset()
    on_exit(fn -> Mtrace.configure(interval: :adaptive) end)
  end

  defp chunk(address), do: Enum.find(Mtrace.snapshot().chunks, &(&1.address == address))

  # Calls that the stack must show, innermost first.
  defp outer(f), do: if((n = inner(f)) > 0, do: n, else: :none)
  defp inner(f), do: if((n = f.()) > 0, do: n, else: :none)

  test "a chunk says which NIF, process and thread, and its stack goes on into Erlang" do
    address = outer(fn -> Leaky.leak(:malloc, 7171, 1) end)
    chunk = chunk(address)
    assert %{allocator: :malloc, caller: {Leaky, :leak, 3}} = chunk
    assert chunk.pid == self()
    assert %{kind: :normal, name: name, id: id} = chunk.thread
    assert is_integer(id) and name =~ "sched"

    {native, erlang} = Enum.split_while(chunk.stack, &(&1.kind == :native))
    assert Enum.any?(native, &(&1.symbol == "leak_by_malloc"))
    # ours, between the emulator and the NIF, is not shown
    refute Enum.any?(native, &(&1.symbol && &1.symbol =~ "mt_"))

    if [] == Mtrace.status().notes do
      symbols = Enum.map(erlang, & &1.symbol)
      assert "Mtrace.CallersTest.inner/1" in symbols and "Mtrace.CallersTest.outer/1" in symbols
      frame = Enum.find(erlang, &(&1.symbol == "Mtrace.CallersTest.outer/1"))
      assert %Frame{library: nil, kind: :erlang, line: line} = frame
      assert Path.basename(frame.file) == "callers_test.exs" and is_integer(line)
    end
  end

  test "erlang_depth bounds the Erlang frames" do
    Mtrace.configure(erlang_depth: 0)
    address = outer(fn -> Leaky.leak(:malloc, 7272, 1) end)
    refute Enum.any?(chunk(address).stack, &(&1.symbol == "Mtrace.CallersTest.outer/1"))
    Mtrace.configure(erlang_depth: 8)
  end

  test "dirty NIFs have their process and kind of thread" do
    for {function, kind} <- [leak_dirty: :dirty_cpu, leak_dirty_io: :dirty_io] do
      chunk = chunk(apply(Leaky, function, [:malloc, 7373, 1]))
      assert %{caller: {Leaky, ^function, 3}, thread: %{kind: ^kind}} = chunk
      assert chunk.pid == self()
    end
  end

  test "a thread that a NIF made is none of the scheduler's" do
    assert %{caller: :thread, pid: nil, thread: %{kind: :other}} =
             chunk(Leaky.leak(:thread, 7474, 1))
  end

  test "processes are described while they live, and their pids stay" do
    address = Leaky.leak(:malloc, 7575, 1)
    Process.register(self(), :mtrace_callers_test)
    snapshot = Mtrace.snapshot()

    assert %{registered_name: :mtrace_callers_test, current_function: {_, _, _}} =
             snapshot.processes[self()]

    {pid, gone} = Task.await(Task.async(fn -> {self(), Leaky.leak(:malloc, 7676, 1)} end))

    Process.sleep(10)
    snapshot = Mtrace.snapshot()
    assert Enum.find(snapshot.chunks, &(&1.address == gone)).pid == pid
    refute Map.has_key?(snapshot.processes, pid)
    assert Enum.find(snapshot.chunks, &(&1.address == address)).pid == self()
  end

  test "a snapshot waited for processes that were in a long NIF" do
    other = if :erlang.system_info(:scheduler_id) == 1, do: 2, else: 1
    busy = fn -> {Leaky.churn(64, 10_000_000), Process.sleep(:infinity)} end

    if other <= System.schedulers() do
      pid = :erlang.spawn_opt(busy, scheduler: other)
      Process.sleep(50)
      assert Mtrace.Processes.describe([pid, nil]) == %{}
      Process.exit(pid, :kill)
    end
  end

  test "what a NIF takes from the emulator is recorded by its kind, once, and ends" do
    p = BeamAfter.alloc(8181)
    assert %{allocator: :enif, size: 8181, caller: {BeamAfter, :alloc, 1}} = chunk(p)
    assert [_] = Enum.filter(Mtrace.snapshot().chunks, &(&1.size == 8181))
    q = BeamAfter.realloc(p, 9191)
    assert %{allocator: :enif, size: 9191} = chunk(q)
    BeamAfter.free(q)
    assert chunk(q) == nil

    p = BeamAfter.binary(:alloc, 8282)
    assert %{allocator: :binary, size: 8282} = chunk(p)
    assert byte_size(BeamAfter.binary(:make, 0)) == 8282
    assert chunk(p) == nil

    p = BeamAfter.env(0)
    assert %{allocator: :env} = chunk(p)
    BeamAfter.env(p)
    assert chunk(p) == nil
  end

  test "a resource lives until its destructor has run, which says what it is" do
    {address, term} = BeamAfter.resource(:with, 8383)
    assert %{allocator: :resource, size: 8383} = chunk(address)
    assert is_reference(term)
    address = Task.await(Task.async(fn -> elem(BeamAfter.resource(:with, 8484), 0) end))
    :erlang.garbage_collect()
    Process.sleep(50)
    assert chunk(address) == nil
  end

  test "sites are told apart by allocator and caller" do
    for _ <- 1..3, do: Leaky.leak(:malloc, 8585, 1)
    for _ <- 1..2, do: Leaky.leak_dirty(:malloc, 8585, 1)
    sites = Enum.filter(Mtrace.sites(), &(&1.live_bytes == &1.live * 8585))

    # the Erlang calls differ from one to the other, too
    for {caller, n} <- [{{Leaky, :leak, 3}, 3}, {{Leaky, :leak_dirty, 3}, 2}] do
      assert sites |> Enum.filter(&(&1.caller == caller)) |> Enum.map(& &1.live) |> Enum.sum() ==
               n
    end
  end
end
