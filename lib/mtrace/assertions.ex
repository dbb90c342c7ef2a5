defmodule Mtrace.Assertions do
  @moduledoc """
  Fails a test of ExUnit when native code leaks: a NIF's, a driver's, a C library's.

      defmodule Shop.ImageTest do
        use ExUnit.Case
        import Mtrace.Assertions

        test "resizing gives back what it takes" do
          image = File.read!("test/fixtures/shop.png")
          assert_no_native_leak(fn -> Shop.Image.resize(image, 100, 100) end)
        end
      end

  Nothing need be preloaded: where nothing is traced, `Mtrace.attach/1` is called before and
  `Mtrace.detach/0` afterwards. See the guide "Test a NIF" for the whole of it, CI included.
  """

  alias Mtrace.{InactiveError, Pattern, Selection}
  alias Mtrace.Assertions.{Failure, Keeper, Survivors}

  @batches 5
  @defaults [
    warmup: 5,
    repeat: 50,
    allowed_bytes: 0,
    gc: true,
    processes: :own,
    ignore: []
  ]

  @type option ::
          {:warmup, non_neg_integer}
          | {:repeat, pos_integer}
          | {:allowed_bytes, non_neg_integer}
          | {:gc, boolean}
          | {:processes, :own | :all | [pid | atom]}
          | {:ignore, String.t() | Regex.t() | [String.t() | Regex.t()] | {:file, Path.t()}}

  @doc """
  Calls `fun` again and again, and fails if native memory that it allocates stays and grows with the
  number of calls. Returns `:ok`.

    * `:warmup` - calls that do not count, for what is made once (#{@defaults[:warmup]})
    * `:repeat` - calls that count, at least 3 (#{@defaults[:repeat]}). A leak in one call of n is
      found with 5n of them and more
    * `:allowed_bytes` - bytes that may stay of all of these calls together (0)
    * `:gc` - collect the garbage of the processes that count before each look, so that the
      destructors of resources run (`true`)
    * `:processes` - whose memory counts. `:own`: of the process that calls, of those that have it
      among their ancestors (`start_link`, `start_supervised`), and of those that they start
      meanwhile, ended or not. A list of pids and registered names: those servers' and their
      children's, too. `:all`: anybody's, for a module that is not `async: true`. What is allocated
      for no process, as on a thread that a NIF has made, always counts
    * `:ignore` - what is known and accepted, as in `Mtrace.sites/1`: a pattern, a list of them, or
      `{:file, path}`. What has one in the function, library or source file of any frame is left out

  It fails with `ExUnit.AssertionError` (`RuntimeError` where there is no ExUnit), whose message says
  how much stayed in how many chunks, in all and in a call; and for each place the function, source
  line, library and application, the NIF and the process that called, and the stack.

  **What is a leak.** The calls are divided into #{@batches} batches, with a look behind each. Only
  chunks that were allocated since the warm-up count, and that a library of native code other than
  the emulator's, C's or an allocator's is to blame for: code that the BEAM loads does not count,
  nor does what it takes for ETS, processes or binaries. A place leaks if chunks of two batches or
  more stay to the end, those of the last batch not regarded, or if it holds more bytes behind each
  batch than before, in one chunk that grows for one. What seems to leak is tried once more with as
  many calls, and fails the test only if it does so again, and not only on schedulers' threads that
  had none of it yet: what is made once, once for each thread, or is kept of the last call is no leak. (valgrind's memcheck tells apart what is "still reachable"
  by pointers; here it is told apart by growth.)

  **How exact.** Every chunk is recorded (`interval: 0`) as long as the table has room. If it has not,
  the measurement starts again with a sample, and the figures are estimates.

  **What it disturbs.** Tracing is configured, and the table emptied, for the whole node; what was
  configured before is put back, also if `fun` raises (which is passed on) or the test is killed. Of
  several assertions in async tests one runs at a time; other tests may run beside. Another's
  `Mtrace.reset/0` meanwhile would hide a leak, and fails the test. The processes that count are
  traced by `:erlang.trace/3` for what they start; where a test traces them itself, their children
  do not count.

  Raises `Mtrace.InactiveError` if nothing is traced and attaching does not work here, and
  `ArgumentError` for other arguments. Costs `warmup + repeat` calls, twice that if it fails, some 20 ms
  for each look, and 10 to 60 ms to attach.

      iex> assert_no_native_leak(fn -> Shop.Image.resize(image, 100, 100) end, repeat: 20)
      ** (ExUnit.AssertionError) native memory leaks: 78.1 KiB in 20 chunks stayed of 20 calls, ...

      3.9 KiB a call, 78.1 KiB in 20 chunks: resize_rows at resize.c:88 in image.so (shop 1.2.3)
          called as Shop.Image.Native.resize/3 by #PID<0.312.0>, the calling process
          source: /app/c_src/resize.c:88
          stack:
            ...
  """
  @spec assert_no_native_leak((() -> term), [option]) :: :ok
  def assert_no_native_leak(fun, options \\ []) do
    options = check!(fun, options)
    if Process.get(__MODULE__), do: raise(ArgumentError, nested())
    {:ok, keeper} = start!(options)
    Process.put(__MODULE__, keeper)

    suspects =
      try do
        repeat(options.warmup, fun)
        measure(fun, keeper, options)
      after
        Process.delete(__MODULE__)
        Keeper.stop(keeper)
      end

    if sum(suspects, :bytes) > options.allowed_bytes, do: failed!(Failure.message(suspects))
    :ok
  end

  defp start!(options) do
    case Keeper.start(options.pids) do
      {:ok, keeper} -> {:ok, keeper}
      {:error, reason} -> raise InactiveError, reason: reason
    end
  end

  defp nested do
    "assert_no_native_leak/2 is called inside of the function that another one calls: each empties " <>
      "the table, so that the outer one would see nothing. Call them one after the other"
  end

  # What is suspected twice leaks.
  defp measure(fun, keeper, options) do
    case exactly(fun, keeper, options) do
      {_, []} ->
        []

      {exact, suspects} ->
        series(fun, keeper, options, exact, suspects)
    end
  end

  defp exactly(fun, keeper, options) do
    suspects = series(fun, keeper, options, true)

    if Mtrace.stats().ignored == 0 do
      {true, suspects}
    else
      Mtrace.configure(interval: :adaptive)
      {false, series(fun, keeper, options, false)}
    end
  end

  defp series(fun, keeper, options, exact, before \\ nil) do
    runs = batches(options.repeat)
    collect_garbage(keeper, options)
    Mtrace.reset()
    %{resets: resets} = Mtrace.stats()

    looks =
      for n <- runs do
        repeat(n, fun)
        look(keeper, options, resets)
      end

    case suspects(looks, runs, keeper, options, exact, before) do
      [] ->
        []

      _ ->
        # Destructors may be waiting for their turn in another scheduler.
        Process.sleep(50)
        looks = List.replace_at(looks, -1, look(keeper, options, resets))
        suspects(looks, runs, keeper, options, exact, before)
    end
  end

  defp batches(repeat) do
    n = min(@batches, repeat)
    for i <- 1..n, do: div(repeat * i, n) - div(repeat * (i - 1), n)
  end

  defp repeat(0, _fun), do: :ok

  defp repeat(n, fun) do
    fun.()
    repeat(n - 1, fun)
  end

  defp look(keeper, options, resets) do
    collect_garbage(keeper, options)
    snapshot = Mtrace.snapshot(processes: false)
    if snapshot.coverage.resets != resets, do: failed!(Failure.reset())
    Survivors.look(snapshot, &ignored?(&1, options.ignore))
  end

  # By name: in a release there is no ExUnit.
  defp failed!(message) do
    error = Module.concat(["ExUnit.AssertionError"])
    raise if Code.ensure_loaded?(error), do: error.exception(message: message), else: message
  end

  defp suspects(looks, runs, _keeper, %{processes: :all}, exact, before) do
    Survivors.suspects(looks, runs, fn _ -> true end, exact, before)
  end

  defp suspects(looks, runs, keeper, _options, exact, before) do
    own = Keeper.processes(keeper)
    Survivors.suspects(looks, runs, &(&1 == nil or &1 in own), exact, before)
  end

  defp collect_garbage(keeper, options) do
    if options.gc do
      :erlang.garbage_collect()
      Keeper.collect_garbage(keeper)
    end
  end

  defp ignored?(chunk, patterns) do
    Enum.any?(chunk.stack, &Pattern.match_frame?(patterns, &1))
  end

  defp sum(suspects, key), do: suspects |> Enum.map(& &1[key]) |> Enum.sum()

  defp check!(fun, options) do
    unless is_function(fun, 0) do
      raise ArgumentError,
            "assert_no_native_leak/2 takes a function without arguments, got: #{inspect(fun)}"
    end

    unless Keyword.keyword?(options) do
      raise ArgumentError,
            "assert_no_native_leak/2 takes a keyword list of options, got: #{inspect(options)}"
    end

    Enum.each(options, fn {key, value} ->
      unless valid?(key, value) do
        raise ArgumentError,
              "assert_no_native_leak/2 takes #{allowed(key)}, got: #{inspect([{key, value}])}"
      end
    end)

    options = Map.new(Keyword.merge(@defaults, options))
    %{options | ignore: patterns(options.ignore)} |> Map.put(:pids, pids(options.processes))
  end

  defp valid?(:warmup, n), do: is_integer(n) and n >= 0
  defp valid?(:repeat, n), do: is_integer(n) and n >= 3
  defp valid?(:allowed_bytes, n), do: is_integer(n) and n >= 0
  defp valid?(:gc, value), do: is_boolean(value)
  defp valid?(:processes, value) when value in [:own, :all], do: true

  defp valid?(:processes, value),
    do: is_list(value) and Enum.all?(value, &process?/1)

  defp valid?(:ignore, value), do: Selection.ignore?(value)
  defp valid?(_, _), do: false

  defp process?(pid) when is_pid(pid), do: node(pid) == node()
  defp process?(name), do: is_atom(name)

  defp allowed(:warmup), do: "as :warmup a number of calls"

  defp allowed(:repeat),
    do: "as :repeat a number of calls of at least 3, to see what grows with it"

  defp allowed(:allowed_bytes), do: "as :allowed_bytes a number of bytes"
  defp allowed(:gc), do: "as :gc true or false"

  defp allowed(:processes),
    do: "as :processes :own, :all, or a list of this node's pids and registered names"

  defp allowed(:ignore), do: "as :ignore patterns or {:file, path}, as Mtrace.sites/1"

  defp allowed(_),
    do: "the options #{@defaults |> Keyword.keys() |> Enum.map_join(", ", &inspect/1)} only"

  defp patterns({:file, path}) do
    case Pattern.read(path) do
      {:ok, patterns} ->
        patterns

      {:error, reason} ->
        raise ArgumentError,
              "assert_no_native_leak/2 is to ignore what #{inspect(path)} lists, which cannot be " <>
                "read: #{:file.format_error(reason)}"
    end
  end

  defp patterns(patterns), do: Pattern.compile!(patterns)

  defp pids(processes) when is_list(processes), do: Enum.map(processes, &pid/1)
  defp pids(_), do: []

  defp pid(pid) when is_pid(pid), do: pid

  defp pid(name) do
    Process.whereis(name) ||
      raise ArgumentError,
            "assert_no_native_leak/2 is to count the memory of the process #{inspect(name)}, " <>
              "and there is none of that name"
  end
end
