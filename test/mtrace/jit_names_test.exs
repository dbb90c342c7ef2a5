defmodule Mtrace.JitNamesTest do
  # What the core reads out of the live VM, against what the VM itself says: its backtraces give
  # return addresses with their functions, its stack traces files and lines.
  use ExUnit.Case
  @moduletag :jit

  alias Mtrace.Test.JitNames

  # [{address, "name of the VM"}] of a process, from its innermost call.
  defp frames(backtrace) do
    for [_, address, name] <-
          Regex.scan(~r/Return addr 0x([0-9a-f]+) \((.+) \+ \d+\)$/m, backtrace) do
      {String.to_integer(address, 16), name}
    end
  end

  # A return address follows its call.
  defp names(addresses) do
    {_ns, ranges, _bytes, names} = JitNames.names(Enum.map(addresses, &(&1 - 1)))
    assert ranges > 0
    names
  end

  defp waiting(fun) do
    pid = spawn_link(fun)
    wait_until(fn -> Process.info(pid, :status) == {:status, :waiting} end)
    pid
  end

  defp wait_until(done?), do: unless(done?.(), do: Process.sleep(1) && wait_until(done?))

  test "every frame of every process has the name that the VM prints" do
    frames =
      for pid <- Process.list(),
          {:backtrace, text} <- [Process.info(pid, :backtrace)],
          frame <- frames(text),
          do: frame

    assert length(frames) > 30

    for {{_, expected}, name} <- Enum.zip(frames, names(Enum.map(frames, &elem(&1, 0)))) do
      assert {^expected, _file, _line, {_module, _function, _arity}} = name
    end
  end

  test "files and lines are those of the stack trace" do
    pid =
      waiting(fn ->
        :lists.foldl(
          fn _, _ ->
            [Enum.map([1], fn _ -> receive(do: (:go -> :ok)) end)]
          end,
          [],
          [1]
        )
        |> hd()
      end)

    {:current_stacktrace, trace} = Process.info(pid, :current_stacktrace)
    {:backtrace, text} = Process.info(pid, :backtrace)
    found = names(Enum.map(frames(text), &elem(&1, 0)))

    # The first entry of the trace is where the process waits, not a return address.
    expected =
      for {m, f, a, [file: file, line: line]} <- tl(trace),
          do: {Atom.to_string(m), Atom.to_string(f), a, to_string(file), line}

    found = for {_name, file, line, {m, f, a}} <- found, line != 0, do: {m, f, a, file, line}

    assert length(expected) >= 3
    assert expected -- found == []
    assert Enum.any?(expected, &match?({"lists", "foldl", 3, "lists.erl", _}, &1))
  end

  test "names that need quotes are taken apart into their atoms" do
    atoms = [:"a'b", :"x\ny\\z", :żółw, :"a b", :"\x01\d", :é, :":/3", :"😀", :"::"]
    module = :"we'ird:mod/x"

    call = fn m, f, args -> {:call, 3, {:remote, 3, {:atom, 3, m}, {:atom, 3, f}}, args} end

    # f() -> lists:last([erlang:process_info(self(), backtrace)]).
    body =
      call.(:lists, :last, [
        {:cons, 3,
         call.(:erlang, :process_info, [call.(:erlang, :self, []), {:atom, 3, :backtrace}]),
         {nil, 3}}
      ])

    forms = [
      {:attribute, 1, :module, module},
      {:attribute, 1, :export, Enum.map(atoms, &{&1, 0})}
      | Enum.map(atoms, &{:function, 2, &1, 0, [{:clause, 2, [], [], [body]}]})
    ]

    {:ok, ^module, code} = :compile.forms(forms, [])
    {:module, ^module} = :code.load_binary(module, ~c"weird", code)

    for atom <- atoms do
      {:backtrace, text} = apply(module, atom, [])
      {address, _} = hd(frames(text))
      [{_name, _file, 3, {m, f, 0}}] = names([address])
      assert {m, f} == {Atom.to_string(module), Atom.to_string(atom)}
    end
  after
    :code.purge(:"we'ird:mod/x")
    :code.delete(:"we'ird:mod/x")
    :code.purge(:"we'ird:mod/x")
  end

  test "the address at which a NIF's own stack ends lies in code with a name" do
    stack = JitNames.returns()
    assert Enum.any?(names(stack), & &1)
  end

  test "the descriptor that is found by its shape is the one of that name, where it has one" do
    {by_shape, by_symbol, _ns} = JitNames.descriptor()
    assert by_shape != 0
    assert by_symbol in [0, by_shape]
  end

  test "modules that are loaded and purged meanwhile do no harm and are never misnamed" do
    compile = fn name, n ->
      {:ok, _, code} =
        :compile.forms(
          [
            {:attribute, 1, :module, name},
            {:attribute, 1, :export, [f: 0]},
            {:function, 2, :f, 0, [{:clause, 2, [], [], [{:integer, 2, n}]}]}
          ],
          []
        )

      code
    end

    codes = for n <- 1..4, do: {:"reloaded_#{n}", compile.(:"reloaded_#{n}", n)}

    loader =
      spawn_link(fn ->
        Stream.cycle(codes)
        |> Enum.reduce_while(0, fn {name, code}, n ->
          :code.purge(name)
          {:module, _} = :code.load_binary(name, ~c"reloaded", code)

          receive do
            {:stop, from} -> {:halt, send(from, {:loaded, n})}
          after
            0 -> {:cont, n + 1}
          end
        end)
      end)

    here = frames(elem(Process.info(self(), :backtrace), 1))

    for _ <- 1..40 do
      for {{_, expected}, name} <- Enum.zip(here, names(Enum.map(here, &elem(&1, 0)))) do
        assert {^expected, _, _, _} = name
      end
    end

    send(loader, {:stop, self()})
    assert_receive {:loaded, loaded}, 10_000
    assert loaded > 0
  end
end
