defmodule Mtrace.BeamHooksTest do
  # The hooks of the BEAM alone, attached to this very BEAM and detached again: see
  # test/nif/c_src/beam_hooks.c. One fixture is loaded before they come, others after.
  use ExUnit.Case
  @moduletag :plain

  alias Mtrace.Test.{BeamAfter, BeamBefore, BeamHooks}

  @compile {:no_warn_undefined, [BeamAfter, BeamBefore, Mtrace.Test.BeamTable]}

  setup_all do
    define(BeamBefore, "beam_before")
    # from different depths of stack, before anything else
    for depth <- [0, 5, 1, 9, 3, 7], do: BeamHooks.calibrate(depth)
    assert BeamBefore.call() == :ok
    assert {:none, _, _, _, nil, []} = BeamHooks.context()
    :ok
  end

  setup do
    assert BeamHooks.start() == :ok
    on_exit(&BeamHooks.stop/0)
  end

  defp define(module, library) do
    before = Code.compiler_options(ignore_module_conflict: true)
    BeamHooks.define(module, library)
    Code.compiler_options(before)
  end

  defp load_before, do: BeamHooks.wrap_loaded()

  defp load_after do
    :code.delete(BeamAfter)
    :code.purge(BeamAfter)
    define(BeamAfter, "beam_after")
  end

  # What is known of a call, and the frames without the noise of what runs tests.
  defp caller_of(f) do
    outer(f)
    {kind, module, function, arity, pid, frames} = BeamHooks.context()
    {{kind, module, function, arity}, pid, frames}
  end

  defp outer(f), do: if(inner(f), do: :yes, else: :no)
  defp inner(f), do: f.() == :never

  defp here(name, arity), do: ~c"'Elixir.Mtrace.BeamHooksTest':#{name}/#{arity}"

  describe "the NIF that is running is known" do
    for {which, load} <- [{BeamBefore, :load_before}, {BeamAfter, :load_after}] do
      test "for one loaded as #{load} says, with its process and the Erlang calls" do
        unquote(load)()
        assert {caller, pid, frames} = caller_of(fn -> unquote(which).call() end)
        assert caller == {:nif, unquote(which), :call, 0}
        assert pid == self()
        assert [nil, _, nil] = BeamHooks.lacks()
        assert here(:inner, 1) in frames
        assert here(:outer, 1) in frames

        assert Enum.find_index(frames, &(&1 == here(:inner, 1))) <
                 Enum.find_index(frames, &(&1 == here(:outer, 1)))
      end

      test "for a dirty one loaded as #{load} says, without Erlang calls" do
        unquote(load)()

        for name <- [:call_dirty, :call_dirty_io] do
          assert {caller, pid, []} = caller_of(fn -> apply(unquote(which), name, []) end)
          assert caller == {:nif, unquote(which), name, 0}
          assert pid == self()
        end
      end

      test "for one that was scheduled, by that name, loaded as #{load} says" do
        unquote(load)()

        for {flags, frames?} <- [{0, true}, {1, false}, {2, false}] do
          assert {caller, pid, frames} = caller_of(fn -> unquote(which).schedule(flags) end)
          assert caller == {:nif, unquote(which), :the_rest, 1}
          assert pid == self()
          assert frames != [] == frames?
        end
      end
    end

    test "but for a thread of its own, which is no scheduler's" do
      load_after()
      assert {{:thread, _, _, 0}, nil, []} = caller_of(&BeamAfter.thread/0)
    end

    test "until it returns, and again after another has run in its middle" do
      load_after()
      assert BeamHooks.nested() == {:inner, :outer}

      # the library of the hooks is not wrapped itself: whatever ran here before is over
      for _ <- 1..100 do
        BeamAfter.call()
        BeamHooks.probe()
        assert {:none, _, _, 0, nil, []} = BeamHooks.context()
      end
    end

    test "in load, upgrade, unload and destructors too" do
      load_after()
      assert {:load, BeamAfter, :load, 3, pid, []} = BeamHooks.context()
      assert is_pid(pid)
      resource_gone(BeamAfter, :with)
      assert {:destructor, BeamAfter, :with, 2, nil, []} = BeamHooks.context()
      define(BeamAfter, "beam_again")
      assert {:load, BeamAfter, :upgrade, 4, _, []} = BeamHooks.context()
      assert BeamAfter.version() == {:upgrade, 2}
      :code.purge(BeamAfter)
      assert {:load, BeamAfter, :unload, 2, nil, []} = BeamHooks.context()
      assert {{:nif, BeamAfter, :call, 0}, _, _} = caller_of(&BeamAfter.call/0)
    end

    test "no more once the hooks are gone, in one that was there before" do
      # what is left was wrapped by the other core in this VM, if a test attached it before
      assert {functions, functions, _left} = load_before() |> at_least_mine()
      BeamHooks.stop()
      assert {{:none, _, _, _}, nil, []} = caller_of(&BeamBefore.call/0)
      assert BeamHooks.start() == :ok
    end

    test "through a hundred times of coming and going, with as many reloads" do
      for _ <- 1..100 do
        load_before()
        assert {{:nif, BeamBefore, :call, 0}, _, _} = caller_of(&BeamBefore.call/0)
        load_after()
        assert {{:nif, BeamAfter, :call, 0}, _, _} = caller_of(&BeamAfter.call/0)
        BeamHooks.stop()
        BeamHooks.start()
      end

      assert [nil | _] = BeamHooks.lacks()
    end
  end

  # Other libraries of this VM may belong to modules that are purged.
  defp at_least_mine({_functions, wrapped, left}), do: {wrapped, wrapped, left}

  defp find(address), do: List.keyfind(BeamHooks.live(), address, 0)

  for {which, load} <- [{BeamBefore, :load_before}, {BeamAfter, :load_after}] do
    describe "memory of a library loaded as #{load} says:" do
      setup do
        unquote(load)()
        :ok
      end

      test "enif_alloc, enif_realloc and enif_free" do
        p = unquote(which).alloc(1001)
        assert find(p) == {p, 1001, :enif}
        q = unquote(which).realloc(p, 200_002)
        assert find(q) == {q, 200_002, :enif}
        assert p == q or find(p) == nil
        unquote(which).free(q)
        assert find(q) == nil
      end

      test "binaries, until they are released or the VM's" do
        p = unquote(which).binary(:alloc, 1001)
        assert find(p) == {p, 1001, :binary}
        q = unquote(which).binary(:realloc, 200_002)
        assert find(q) == {q, 200_002, :binary}
        assert p == q or find(p) == nil
        unquote(which).binary(:release, 0)
        assert find(q) == nil
        p = unquote(which).binary(:term, {1, 2, 3})
        assert {^p, _, :binary} = find(p)
        binary = unquote(which).binary(:make, 0)
        assert :erlang.binary_to_term(binary) == {1, 2, 3}
        assert find(p) == nil
        assert byte_size(unquote(which).binary(:new, 3003)) == 3003
        refute List.keyfind(BeamHooks.live(), 3003, 1)
      end

      test "environments" do
        p = unquote(which).env(0)
        assert {^p, _, :env} = find(p)
        unquote(which).env(p)
        assert find(p) == nil
      end

      test "resources, until their destructor has run" do
        for type <- [:with, :x] do
          before = unquote(which).destroyed()
          assert {_, 500, :resource} = resource_gone(unquote(which), type)
          assert unquote(which).destroyed() == before + 1
        end
      end
    end
  end

  test "a resource whose type has no destructor gets one, if the type is opened after us" do
    load_after()
    assert {_, 500, :resource} = resource_gone(BeamAfter, :without)
    assert nil == resource_gone(BeamBefore, :without)
  end

  # Makes a resource in a process of its own, returns what is recorded of it, and makes sure that
  # nothing is when it has been destroyed.
  defp resource_gone(module, type) do
    me = self()

    {pid, monitor} =
      spawn_monitor(fn ->
        {address, resource} = module.resource(type, 500)
        send(me, {address, find(address)})

        receive do
          :go -> resource
        end
      end)

    assert_receive {address, found}
    send(pid, :go)
    assert_receive {:DOWN, ^monitor, _, _, _}
    await(fn -> find(address) == nil end)
    found
  end

  defp await(f, tries \\ 100) do
    cond do
      f.() -> :ok
      tries == 0 -> flunk("it did not happen")
      true -> Process.sleep(10) && await(f, tries - 1)
    end
  end

  test "a port driver's memory, loaded before or after, until it gives it back" do
    folder = "beam_driver" |> BeamHooks.path() |> Path.dirname() |> to_charlist()
    assert :ok = :erl_ddll.load_driver(folder, ~c"beam_driver")
    port = Port.open({:spawn_driver, ~c"beam_driver"}, [:binary])

    for {alloc, realloc, free} <- [{0, 1, 2}, {3, 4, 5}], _ <- [:after, :before] do
      p = control(port, alloc, 0, 6001)
      assert find(p) == {p, 6001, :driver}
      q = control(port, realloc, p, 300_003)
      assert find(q) == {q, 300_003, :driver}
      assert p == q or find(p) == nil
      control(port, free, q, 0)
      assert find(q) == nil
      BeamHooks.stop()
      BeamHooks.start()
    end

    Port.close(port)
    :erl_ddll.unload_driver(~c"beam_driver")
  end

  defp control(port, command, address, size) do
    request = <<address::64-native, size::64-native>>
    <<result::64-native>> = :erlang.port_control(port, command, request)
    result
  end

  test "calls are counted, those of the VM itself are not" do
    load_after()
    before = BeamHooks.count(:enif_alloc)
    for n <- 1..100, do: n |> BeamAfter.alloc() |> BeamAfter.free()
    assert BeamHooks.count(:enif_alloc) == before + 100
    assert BeamHooks.count(:enif_free) >= 100
  end

  test "a library that looks the VM's functions up by name, as Rustler does, is seen too" do
    if System.find_executable("rustc"),
      do: see_table(),
      else:
        IO.puts("(no rustc: a table of the VM's functions, as Rustler has it, was not tried)")
  end

  # It has filled its table while we were there; then while we were not.
  defp see_table do
    table = define_table()
    p = table.alloc(777)
    assert find(p) == {p, 777, :enif}
    table.free(p)
    assert find(p) == nil
    BeamHooks.stop()
    p = table.alloc(778)
    refute find(p)
    BeamHooks.start()
    q = table.alloc(779)
    assert find(q) == {q, 779, :enif}
    table.free(q)
    table.free(p)
    assert find(q) == nil
  end

  defp define_table do
    module = Mtrace.Test.BeamTable
    source = Path.expand("../nif/c_src/beam_table.rs", __DIR__)
    library = BeamHooks.path("beam_table")

    {output, status} =
      System.cmd(
        "rustc",
        ~w(--edition 2021 -O --crate-type cdylib --crate-name beam_table -A warnings -o
           #{library}.so #{source}),
        env: [{"NIF_MODULE", to_string(module)}],
        stderr_to_stdout: true
      )

    assert {status, output} == {0, output}

    Module.create(
      module,
      quote do
        @on_load :load
        def load, do: :erlang.load_nif(unquote(library), 0)
        def alloc(_), do: :erlang.nif_error(:not_loaded)
        def free(_), do: :erlang.nif_error(:not_loaded)
      end,
      Macro.Env.location(__ENV__)
    )

    module
  end
end
