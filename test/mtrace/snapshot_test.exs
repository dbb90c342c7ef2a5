defmodule Mtrace.SnapshotTest do
  # Files of snapshots: what is written is read again, and nothing else is.
  use ExUnit.Case, async: true
  import Bitwise
  import Mtrace.Test.Looks

  alias Mtrace.Snapshot

  @moduletag :plain

  defp example do
    pid = self()

    chunks = [
      chunk("parse", 0x1000, 1, weight: 2.5, pid: pid, size: 4096),
      chunk("parse", 0x2000, 2, pid: pid),
      chunk("<script>\xff\e[0m", 0x3000, 3, caller: {"no_such_module", "no_such_function", 2}),
      chunk("load", 0x4000, 4, caller: {:load, {:shop_nif, :upgrade}}, allocator: :enif),
      chunk("drop", 0x5000, 5, caller: {:destructor, {:shop_nif, "cart"}}, allocator: :resource),
      chunk("thread", 0x6000, 6, caller: :thread, thread: %{id: 9, name: nil, kind: :other}),
      chunk("none", 0x7000, 7, caller: nil, stack: [%Mtrace.Frame{address: 1}])
    ]

    info = %{
      registered_name: :shop,
      initial_call: {:shop, :init, 1},
      current_function: {:gen_server, :loop, 7},
      label: {:cart, 7}
    }

    snapshot(chunks, 10, processes: %{pid => info})
  end

  defp written(snapshot) do
    {:ok, content} = Snapshot.save(snapshot, :iodata)
    IO.iodata_to_binary(content)
  end

  test "what is saved is loaded again, with pids and labels as texts" do
    s = example()
    assert {:ok, loaded} = Snapshot.from_binary(written(s))
    pid = inspect(self())

    chunks = for c <- s.chunks, do: %{c | pid: c.pid && pid}
    info = %{s.processes[self()] | label: "{:cart, 7}"}
    assert loaded == %{s | chunks: chunks, processes: %{pid => info}}
  end

  test "sums, comparisons and verdicts of a loaded snapshot are those of the one that was saved" do
    s = example()
    {:ok, loaded} = Snapshot.from_binary(written(s))

    for by <- [:stack, :function, :library, :app, :caller, :thread, :allocator] do
      assert Mtrace.sites(loaded, by: by) == Mtrace.sites(s, by: by)
    end

    assert [%{live: 2}] =
             Mtrace.sites(loaded, by: :pid, filter: [pid: self()])
             |> Enum.map(&%{live: &1.recorded})

    assert Mtrace.diff(loaded, s) == []
    assert Mtrace.diff(s, loaded, by: :pid) == []
  end

  @tag :tmp_dir
  test "a file appears whole or not at all", %{tmp_dir: dir} do
    file = Path.join(dir, "a.mtrace")
    assert Snapshot.save(example(), file) == :ok
    assert {:ok, %Snapshot{}} = Snapshot.load(file)
    assert File.ls!(dir) == ["a.mtrace"]
    assert Snapshot.save(example(), Path.join(dir, "none/a.mtrace")) == {:error, :enoent}
    assert Snapshot.save(example(), dir) in [{:error, :eisdir}, {:error, :eexist}]
    assert File.ls!(dir) == ["a.mtrace"]
    assert Snapshot.load(Path.join(dir, "none")) == {:error, :enoent}
    assert_raise ArgumentError, fn -> Snapshot.save(example(), 7) end
  end

  test "other files are refused" do
    assert Snapshot.from_binary("") == {:error, :not_a_snapshot}
    assert Snapshot.from_binary("hello") == {:error, :not_a_snapshot}
    assert Snapshot.from_binary(:erlang.term_to_binary({:a, 1})) == {:error, :not_a_snapshot}
    <<magic::binary-16, 1::16, rest::binary>> = written(example())

    assert Snapshot.from_binary(<<magic::binary, 2::16, rest::binary>>) ==
             {:error, {:version, 2}}

    assert Snapshot.from_binary(<<magic::binary, 0::16, rest::binary>>) == {:error, :damaged}
  end

  test "a file that was cut anywhere is refused" do
    whole = written(example())

    for n <- 1..(byte_size(whole) - 1) do
      assert Snapshot.from_binary(binary_part(whole, 0, n)) == {:error, :damaged}
    end
  end

  test "a file in which a byte changed is refused" do
    seed = System.unique_integer([:positive])
    IO.puts("seed #{seed}")
    :rand.seed(:exsss, seed)
    whole = written(example())

    for _ <- 1..2000 do
      at = :rand.uniform(byte_size(whole)) - 1

      {before, rest} =
        {binary_part(whole, 0, at), binary_part(whole, at + 1, byte_size(whole) - at - 1)}

      other = rem(:binary.at(whole, at) + :rand.uniform(255), 256)
      assert {:error, _} = Snapshot.from_binary(<<before::binary, other, rest::binary>>)
    end
  end

  # As somebody would write it who knows the format.
  defp forged(term, options \\ []) do
    content = Keyword.get(options, :content, :erlang.term_to_binary(term))
    bytes = Keyword.get(options, :bytes, byte_size(content))
    body = <<bytes::64, :zlib.compress(content)::binary>>
    "mtrace snapshot\n" <> <<1::16, :erlang.crc32(body)::32>> <> body
  end

  defp content(snapshot) do
    <<_::binary-16, 1::16, _::32, _::64, deflated::binary>> = written(snapshot)
    :erlang.binary_to_term(:zlib.uncompress(deflated))
  end

  test "a file that was forged makes no atom and no fun, and takes no more memory than it says" do
    atom = "mtrace_forged_#{System.unique_integer([:positive])}"
    new_atom = <<131, 119, byte_size(atom), atom::binary>>
    assert Snapshot.from_binary(forged(nil, content: new_atom)) == {:error, :damaged}
    assert_raise ArgumentError, fn -> String.to_existing_atom(atom) end

    assert Snapshot.from_binary(forged(fn -> :erlang.halt() end)) == {:error, :damaged}
    assert Snapshot.from_binary(forged(&:erlang.halt/0)) == {:error, :damaged}

    bomb = :erlang.term_to_binary(:binary.copy(<<0>>, 50_000_000), compressed: 9)
    assert Snapshot.from_binary(forged(nil, content: bomb)) == {:error, :damaged}
    zeros = :binary.copy(<<0>>, 50_000_000)
    assert Snapshot.from_binary(forged(nil, content: zeros, bytes: 1000)) == {:error, :damaged}

    assert Snapshot.from_binary(forged(nil, content: "x", bytes: 1 <<< 62)) ==
             {:error, :damaged}
  end

  test "a small file whose terms would take gigabytes ended the node" do
    n = 70_000_000
    file = forged(nil, content: <<131, 108, n::32, :binary.copy(<<106>>, n + 1)::binary>>)
    assert byte_size(file) < 100_000
    most = %{size: 50_000_000, kill: true, error_logger: false}
    read = fn -> exit(Snapshot.from_binary(file)) end
    {_, monitor} = :erlang.spawn_opt(read, [:monitor, max_heap_size: most])
    assert_receive {:DOWN, ^monitor, _, _, {:error, :damaged}}, 60_000
  end

  test "what a file's terms take is known before they are made" do
    for term <- [content(example()), {1, [2.5, <<0::800>>], 1 <<< 80, [1, 2], nil}] do
      words = :erts_debug.flat_size(term)
      binary = :erlang.term_to_binary(term)
      refute Snapshot.Weight.fits?(binary, div(words, 2))
      assert Snapshot.Weight.fits?(binary, 3 * words + 100)
    end
  end

  test "a line of memory has a number of bytes that can be shown" do
    line = ["native", "native", 1 <<< 2000, "somewhere", []]
    memory = [1, [line], "native", "sentence", "advice", [], nil, nil, 0]
    term = content(example()) |> Tuple.to_list() |> List.replace_at(-1, memory)
    assert Snapshot.from_binary(forged(List.to_tuple(term))) == {:error, :damaged}
    small = put_in(memory, [Access.at(1), Access.at(0), Access.at(2)], -5)
    term = List.replace_at(term, -1, small)
    assert {:ok, s} = Snapshot.from_binary(forged(List.to_tuple(term)))
    assert inspect(s.memory.lines, safe: false) =~ "-5 B"
  end

  test "a term of any other shape is a damaged file" do
    seed = System.unique_integer([:positive])
    IO.puts("seed #{seed}")
    :rand.seed(:exsss, seed)
    term = content(example())
    assert {:ok, _} = Snapshot.from_binary(forged(term))

    for _ <- 1..3000 do
      result = term |> mutate() |> forged() |> Snapshot.from_binary()
      assert match?({:ok, %Snapshot{}}, result) or result == {:error, :damaged}

      with {:ok, s} <- result,
           do: assert(is_binary(inspect(s)) and is_list(Mtrace.sites(s, by: :app)))
    end
  end

  # Something in it becomes something else.
  defp mutate(term) when is_tuple(term) and tuple_size(term) > 0 do
    i = :rand.uniform(tuple_size(term)) - 1
    if :rand.uniform(8) == 1, do: odd(), else: put_elem(term, i, mutate(elem(term, i)))
  end

  defp mutate([_ | _] = list) do
    i = :rand.uniform(length(list)) - 1

    case :rand.uniform(8) do
      1 -> odd()
      2 -> List.delete_at(list, i)
      _ -> List.update_at(list, i, &mutate/1)
    end
  end

  defp mutate(_), do: odd()

  defp odd do
    Enum.random([
      nil,
      true,
      -1,
      1 <<< 80,
      1.5,
      "x",
      [],
      {},
      [1 | 2],
      %{},
      self(),
      :malloc,
      0,
      3,
      <<1::1>>
    ])
  end
end
