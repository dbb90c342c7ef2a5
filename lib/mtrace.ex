defmodule Mtrace do
  @moduledoc """
  Finds native memory leaks in a running BEAM.

  Resident memory climbs while `:erlang.memory/0` stays flat: a NIF, a driver or a C library
  leaks. Mtrace's C core stands in front of `malloc` and keeps a table of chunks that are alive,
  with their age and the stack that allocated them. Chunks that grow old while others come and
  go are where to look.

  Start the node with the object preloaded, here by hand (a release does it in
  `rel/env.sh.eex`, see the README):

      mix compile
      LD_PRELOAD=$PWD/_build/dev/lib/mtrace/priv/mtrace.so iex -S mix

  or, in a node that runs and cannot be restarted, `attach/1` to it:

      iex> {:ok, _status} = Mtrace.attach()

  and ask:

      iex> Mtrace.leaks()

  No process and no started application is needed. From an Erlang shell the calls are
  `'Elixir.Mtrace':sites()`, `'Elixir.Mtrace':stats()` and so on; to have structs printed as in iex:
  `['Elixir.IO':inspect(S) || S <- 'Elixir.Mtrace':sites()], ok.`

  ## How to look for a leak

    1. `Mtrace.memory/1`: is it native memory at all?
    2. `Mtrace.leaks/1` watches for 30 seconds, and names what grows; for what leaks slowly
       `Mtrace.mark/0`, and an hour later `Mtrace.leaks(since: mark)`.
    3. `Mtrace.sites(by: :app)` for what is there already, a cache that is too large for one;
       `Mtrace.snapshot/1` has the single chunks with their ages.
    4. `Mtrace.report/2` hands all of it on, as a page.

  Code that the node loads takes memory too, in a release at its start, in a shell as modules are
  called: `beamasm_metadata_update` is that.

  ## What is seen

  Every call of the malloc family by any thread of the node: by NIFs, drivers, C and C++
  libraries and the JIT; and what NIFs and drivers take from the emulator by `enif_alloc`,
  `enif_alloc_binary`, `enif_alloc_resource`, `enif_alloc_env` and `driver_alloc`. Erlang's own data
  (processes, ETS, binaries) is not: erts takes it from the kernel in large pieces (its first ones
  appear as `erts_sys_aligned_alloc`).

  ## What is recorded

  The table has room for 4096 chunks (`MTRACE_SLOTS`), so not all are recorded. As long as there
  is room everything is; then a sampler draws chunks at random, the larger the likelier, and
  thins what is in the table, so that it always holds a fair sample of what is alive, from start-up
  structures to a leak that began a minute ago. Each chunk stands for a known number of chunks of
  its kind. The sampler also keeps to a budget: recording takes at most 1 % of the time of any
  thread. `configure/1` changes both; `stats/0` and `status/0` say how dense the sample is
  (`interval`).

  Where nothing is traced the calls raise `Mtrace.InactiveError`; `status/0` always answers.
  """

  alias Mtrace.{Growth, InactiveError, Leaks, Native, Options, Preparation}
  alias Mtrace.{Selection, Snapshot, Status}

  @typedoc """
  One frame of a stack: the file of the library (or program) and the function's symbol, `nil`
  where unknown; or `nil` for an address in no known object (code of the JIT).
  """
  @type frame :: {library :: String.t(), symbol :: String.t() | nil} | nil

  @typedoc """
  A chunk: its age in whole seconds, its size and address in bytes, the nanoseconds that finding
  the names took, and its stack, innermost first. The first frame is the hook.
  """
  @type old ::
          {age_s :: non_neg_integer, size :: non_neg_integer, address :: non_neg_integer,
           ns :: non_neg_integer, stack :: [frame]}

  @typedoc "What `stats/0` returns; see there."
  @type stats :: %{required(atom) => non_neg_integer}

  @doc """
  The `n` oldest chunks that are recorded and still allocated, oldest first.

  A list of `{age, size, address, nanoseconds, stack}`: seconds, bytes, the time that finding the names
  took, and a list of `{library, symbol}`, in which `nil` stands for what is not known.

  Fewer than `n` are returned if the table holds fewer. What is recorded is a sample once the
  table has filled up (see "What is recorded" in `Mtrace`): the oldest of all need not be in it. With
  `demangle` names of C++ and Rust appear as in the source (`"operator new(unsigned long)"`), else as in the object (`"_Znwm"`).

  The names come from the symbol tables of the files that are mapped, static functions
  included unless a file was stripped.

  Raises `ArgumentError` unless `n` is a non-negative integer and `demangle` a boolean,
  `Mtrace.InactiveError` if nothing is traced.

  Costs some milliseconds for what was not named before, whose files are read; names that were
  found are kept. It runs on a dirty scheduler and stops nobody.

      iex> Mtrace.olds(1)
      [{12, 4096, 140164811784208, 143210,
        [{"/app/priv/mtrace.so", "malloc"}, {"/app/priv/leaky.so", "leak_malloc"}, nil]}]
  """
  @spec olds(non_neg_integer, boolean) :: [old]
  def olds(n \\ 10, demangle \\ false)

  def olds(n, demangle) when is_integer(n) and n >= 0 and is_boolean(demangle) do
    n |> min(0xFFFFFFFF) |> Native.olds(demangle) |> ok!()
  end

  def olds(n, demangle) when is_integer(n) and n >= 0 do
    raise ArgumentError,
          "Mtrace.olds/2 takes true or false as its second argument (demangle names or not), " <>
            "got: #{inspect(demangle)}"
  end

  def olds(n, _demangle) do
    raise ArgumentError,
          "Mtrace.olds/2 takes the number of chunks to return as its first argument, " <>
            "a non-negative integer, got: #{inspect(n)}"
  end

  @doc """
  Everything that is recorded, with its names, as an `Mtrace.Snapshot`: chunks and sites, whose stacks
  are lists of `Mtrace.Frame`.

  Beyond what `olds/2` shows, frames have the source file and line, functions that the compiler
  inlined, the application whose library it is, and the Erlang functions in the JIT's code. Names
  are demangled. Debug information comes from the libraries or from their debug files under
  `/usr/lib/debug` and the folders in `MTRACE_DEBUG_PATH` (colons between them), by libdw; without
  that there are no lines, and `status/0` says what to install. A library that was unloaded keeps
  the names of its functions. The network is never asked.

    * `:processes` - whether to ask the processes that chunks were allocated for what they are (`true`);
      it takes at most 200 ms, where some of them are busy
    * `:memory` - whether the snapshot has what `memory/1` says of this moment, too (`false`)

  `Mtrace.Snapshot.save/2` keeps it in a file. `sites/2`, `diff/3`, `leaks/1`, `export/4` and `report/2`
  work on a snapshot as on the node itself.

  Raises `Mtrace.InactiveError` if nothing is traced. Costs some 15 to 50 ms when all 4096 slots are
  taken, and more the first time, for debug information to be read; it runs on a dirty scheduler and
  stops nobody. Names are kept, in at most some 8 MiB; the rest is given back.

      iex> Mtrace.snapshot()
      #Mtrace.Snapshot<nonode@nohost, 2026-11-20 10:23:46Z, 1873 chunks from 402
        stacks, one draw in 64.0 KiB>
  """
  @spec snapshot(processes: boolean, memory: boolean) :: Snapshot.t()
  def snapshot(options \\ []) do
    Options.check!("snapshot/1", options,
      processes: {&is_boolean/1, "true or false"},
      memory: {&is_boolean/1, "true or false"}
    )

    Preparation.calibrate()
    raw = Native.snapshot() |> ok!()
    stats = Native.stats() |> ok!()

    coverage = Map.take(stats, [:recorded, :slots, :interval, :ignored, :thinned, :resets])
    snapshot = Snapshot.Build.build(raw, coverage, Keyword.get(options, :processes, true))
    if options[:memory], do: %{snapshot | memory: memory(snapshot: snapshot)}, else: snapshot
  end

  @doc """
  Where live memory was allocated, most bytes first: an `Mtrace.Site` for each different stack, or an
  `Mtrace.Group` for what sites have in common.

  Of the node as it is, or of a snapshot: `sites(by: :app)`, `sites(snapshot, by: :app)`.

    * `:by` - `:stack` (the default) for sites; `:function`, `:library`, `:app`, `:caller` (the NIF),
      `:pid`, `:thread`, `:allocator` for groups
    * `:sort` - the field that decides, the largest first: `:live_bytes` (the default), `:live`,
      `:allocated_bytes`, `:allocated`, `:freed_bytes`, `:freed`, `:peak_bytes`, `:oldest_ms`,
      `:median_ms`, `:youngest_ms` or `:recorded`
    * `:top` - how many at most (`:all`)
    * `:filter` - what to look at: a function of a site that returns a boolean, or a keyword list, all
      of which must hold: `function:`, `library:` (patterns for the culprit's), `app:`, `caller:`
      (a `{module, function, arity}`, in which `:_` stands for any, `&Module.function/1`, or a
      module), `allocator:`, `pid:` (or a registered name), `thread:` (number, name or kind),
      `min_age_ms:`, `max_age_ms:`. The last four pick chunks
    * `:ignore` - what to leave out: a pattern, a list of them, or `{:file, path}` with one a line.
      A site is left out if a pattern is found in the function, library or source file of any of its
      frames

  A pattern is a `Regex`, or a string as in the suppressions of LeakSanitizer, whose files can be read,
  too: it is looked for anywhere, `*` stands for any text, `^` and `$` for the ends.

  Raises `ArgumentError` for other options, `Mtrace.InactiveError` if nothing is traced. Costs as
  `snapshot/1`, and some ms for summing up.

      iex> Mtrace.sites(top: 1)
      [
        #Mtrace.Site<97.7 KiB in 1000 chunks, leak_malloc at leaky.c:12 in leaky.so
          (mtrace 0.1.0)>
      ]
      iex> Mtrace.sites(by: :caller, filter: [app: :jiffy], ignore: ["OpenSSL", "^lib*_init"])
  """
  @spec sites(Snapshot.t() | keyword) :: [Mtrace.Site.t()] | [Mtrace.Group.t()]
  def sites(options \\ [])
  def sites(%Snapshot{} = snapshot), do: sites(snapshot, [])

  def sites(options) do
    Options.check!("sites/1", options, Selection.options())
    Selection.sites(snapshot(processes: false), options, "sites/1")
  end

  @doc "The same of a snapshot."
  @spec sites(Snapshot.t(), keyword) :: [Mtrace.Site.t()] | [Mtrace.Group.t()]
  def sites(%Snapshot{} = snapshot, options), do: Selection.sites(snapshot, options, "sites/2")

  @doc """
  What grew between two snapshots, the most first: a list of `Mtrace.Growth`. What is as it was is left
  out.

  Both may be of one run, or of two, or of two versions of a program: stacks are compared by their
  names. Takes the options of `sites/1`, but for `:sort`, which is `:growth_bytes` (the default) or
  `:growth`. Raises `ArgumentError` for other options. Costs some ms.

      iex> before = Mtrace.snapshot()
      iex> Mtrace.diff(before, Mtrace.snapshot(), by: :app, top: 3)
      [#Mtrace.Growth<+97.7 KiB, 0 to 1000 chunks: mtrace 0.1.0>]
  """
  @spec diff(Snapshot.t(), Snapshot.t(), keyword) :: [Growth.t()]
  def diff(old, new, options \\ [])

  def diff(%Snapshot{} = old, %Snapshot{} = new, options), do: Growth.diff(old, new, options)

  def diff(old, new, _options) do
    raise ArgumentError,
          "Mtrace.diff/3 compares two snapshots, got: #{inspect(old)} and #{inspect(new)}"
  end

  @doc """
  A snapshot for `leaks(since: mark)` later, which so watches without waiting.

  An adaptive sampler leaves a quarter of its table to what is in it, and draws more from now on: what
  is allocated after a mark is seen more surely, what was before less (`live_bytes_error` shows it).
  Costs as `snapshot/1`; a mark takes some MB of the caller's memory as long as it is kept.

      iex> mark = Mtrace.mark()
      iex> Mtrace.leaks(since: mark)
  """
  @spec mark :: Snapshot.t()
  def mark do
    Native.sharpen(:begin) |> ok!()
    snapshot(processes: false)
  end

  @doc """
  Watches for a while, and tells what leaks: a list of `Mtrace.Leak`, those that leak first, then by
  bytes a minute. An empty list: nothing does.

    * `:window` - how long to watch, in ms, from 100 to 86400000 (30000). A leak that shows three times
      in it can be told, if its chunks are drawn: small rare ones of a busy node need a longer window
    * `:since` - instead of a window: a snapshot of this run of the node (`mark/0`), or a list of them,
      the earliest first. Returns at once, and can be asked again. The more marks, the surer: what was
      allocated and freed between two of them is not seen, and `:growing` takes two at least
    * `:until` - with `:since`: the last snapshot, instead of the node as it is
    * `:steady` - whether to list what does not leak, too (`false`)
    * `:top` - how many at most (`:all`)
    * `:filter`, `:ignore` - as in `sites/1`
    * `:progress` - whether to show on the terminal that it watches, and its result in a sentence;
      by default where the caller has a terminal

  `{:error, :reset}` if the table was emptied meanwhile (`reset/0`, `attach/1`), `{:error, :detached}` if
  tracing was ended. Raises `ArgumentError` for other options, `Mtrace.InactiveError` if nothing is
  traced.

  Begins as `mark/0`, and looks at the node 13 times in all, each of which costs as `snapshot/1`;
  between them the caller sleeps.

  ## How a verdict is found

  Sites whose native frames are the same are one, whatever Erlang code called. Each chunk is known
  by its address and the time of its birth, so that it is seen again at each look.

  A chunk that has lived for a third of the window stays, until it is gone. A site is a `:leak` where all
  of these hold:

    * chunks that are there at the end were allocated in each third of the window, 3 at least, and in the
      second no fewer than a fifth of those of the first: growth that has stopped, a cache that is
      full, is none
    * what went of those that stayed, of the window or from before, is no more than a tenth of what came:
      what is freed late, or all at once now and then, shows there

  It is `:growing` where the first holds, and more chunks came than went by three standard errors; or
  where the site had at least as many bytes at each look as at the one before, and more after each
  third of the window than chance explains; or where it is one chunk that was given more room again
  and again, a buffer that grows by `realloc`. All else is `:steady`.

  So it does not matter how many chunks of a site are freed soon: one in a hundred that stays is enough.
  `survival` tells that share: `1 - (frees + 1) / (allocations + 2)`, Laplace's rule of succession.

  That survival and growth tell leaks is Scalene's idea (Berger, Stern, Altmayer Pizzorno: Triangulating
  Python Performance Issues with Scalene, OSDI 2023). Scalene follows one object at a time, from one
  new maximum of memory to the next, and reports lines of code where survival is above 0.95 while memory
  as a whole grows by 1 %. Mtrace sees all recorded chunks of a site at once: it asks whether that site
  grows, not the program, needs no maximum, and asks survival of those only that have lived for a
  while, for a line that frees most of its chunks may leak the others. `bin/corpus` tells how well it
  does on programs of which it is known whether they leak; its last result is docs/corpus.md.

      iex> Mtrace.leaks(window: 30_000)
      [
        #Mtrace.Leak<leak, 5.7 MiB a minute, 99 % survive, parse_header at shop.c:88
          in shop.so (shop 1.2.0), called by Shop.Nif.parse/1>
      ]
  """
  @spec leaks(keyword) :: [Mtrace.Leak.t()] | {:error, :reset | :detached}
  def leaks(options \\ []), do: Leaks.watch(options, fn -> snapshot(processes: false) end)

  @doc """
  Explains the resident memory (RSS) of the node, as an `Mtrace.Memory`: lines that add up to it,
  what most of it is in a sentence, and what to do next.

    * `:full` - `true`: what is resident of each mapping is taken from /proc/self/smaps. That is
      exact, and stalls large nodes: some 45 ms for each GiB, in which threads that map memory
      wait. Default: `false`, mincore(2) and /proc/self/pagemap in pieces of some MiB, 2 ms for
      each GiB
    * `:snapshot` - an `Mtrace.Snapshot` whose sites say which application malloc's memory belongs
      to; `false`: leave that out. Default: one is taken, where Mtrace traces

  Never raises `Mtrace.InactiveError`: where nothing is traced, or the library is missing, there
  is less to tell, and `notes` says why. Raises `ArgumentError` for other options.

  Costs as `snapshot/0`, and 8 ms; and for each GiB that is resident 20 ms of
  /proc/self/smaps_rollup, for `pss_bytes` alone, which from Linux 5.10 on gives way to threads
  that map memory. All schedulers are asked for Erlang's figures: one that is in a long NIF is
  waited for 2 seconds. `:timer.tc(&Mtrace.memory/0)` measures it on your node.

      iex> Mtrace.memory().sentence
      "Native code has 127.5 MiB (55 %) of the 232.0 MiB that are resident"
  """
  @spec memory(full: boolean, snapshot: Snapshot.t() | false) :: Mtrace.Memory.t()
  def memory(options \\ []), do: Mtrace.Memory.Measure.run(options)

  @typedoc "What `export/4` writes."
  @type export_format :: :pprof | :collapsed | :speedscope | :dot | :csv

  @typedoc "Options of `export/4`; which format takes which stands there."
  @type export_option ::
          {:value, :live_bytes | :live | :allocated_bytes | :allocated}
          | {:min_share, number}
          | {:rows, :sites | :chunks}

  @doc """
  Writes a snapshot as a file that other tools read: `:ok`, or `{:error, posix}` if that failed, and
  what stood at `path` is as it was. With `:iodata` instead of a file's name, `{:ok, iodata}`.

    * `:pprof` - for `go tool pprof` and what else reads
      [pprof's format](https://github.com/google/pprof/blob/main/proto/profile.proto), gzipped.
      Four values, named as in Go's heap profiles: `inuse_space` (bytes, the default) and
      `inuse_objects` are alive, `alloc_space` and `alloc_objects` were allocated. Labels (`-tagfocus`,
      `-tags`): `app`, `caller`, `allocator`; and for what is alive `pid`, `process`, `thread` and
      `age`, the median in milliseconds
    * `:collapsed` - a line for each stack, for flame graphs. Erlang functions end with `_[j]`, inlined
      ones with `_[i]`: `flamegraph.pl --color=java` gives each its colour. `;` in names is `:`
    * `:speedscope` - for [speedscope](https://www.speedscope.app), with all four values
    * `:dot` - a call graph for Graphviz (`dot -Tsvg`): what each function holds itself and with what
      it calls; Erlang green, native code brown
    * `:csv` - a table (RFC 4180) for databases and spreadsheets, with a header; numbers have their
      units in their names. `stack` is innermost first with `;` between names. A text that begins with
      `=`, `+`, `-` or `@` has a `'` before it, so that no spreadsheet computes it

  In every format the hook's own frames are left out, functions without a name are called as
  `bitcask.so+0x5840`, and bytes in names that are no UTF-8 or would move a terminal's cursor are
  U+FFFD. Values are the estimates of `Mtrace.Site`, and sum up to theirs.

    * `:value` - what `:collapsed` and `:dot` show: `:live_bytes` (the default), `:live`,
      `:allocated_bytes` or `:allocated`, as in `Mtrace.Site`
    * `:min_share` - functions and calls with less than this share of the whole are left out of
      `:dot`, from 0 to 1 (0.01)
    * `:rows` - in `:csv`, `:sites` (the default) or `:chunks`

  Raises `ArgumentError` for what is no snapshot, format, path or option of that format. Disturbs
  nothing but the caller, for some 10 to 100 ms, or a second for a full table of which no two stacks
  are alike.

      iex> Mtrace.export(Mtrace.snapshot(), :pprof, "/tmp/app.pb.gz")
      :ok

  and then, in a shell, `go tool pprof -top /tmp/app.pb.gz`.
  """
  @spec export(Snapshot.t(), export_format, Path.t() | :iodata, [export_option]) ::
          :ok | {:ok, iodata} | {:error, File.posix()}
  defdelegate export(snapshot, format, path, options \\ []), to: Mtrace.Export

  @doc """
  Writes one self-contained HTML page to `path`, and returns `:ok`, or `{:error, posix}`; with `:iodata`
  as the path, `{:ok, page}`.

  The page opens without network, in any browser of these years: the verdict, what grew, a flame
  graph of live memory that zooms and can be searched and filtered, the sites with their stacks, what
  the resident memory is made of, and what all of it stands on. It names files, functions and
  processes of the node: share it as you would share a log.

    * `:window` - how long to watch before, in ms, as `leaks/1` does (30000); 0: not at all, and the page
      says that nobody watched
    * `:leaks` - a list of `Mtrace.Leak` instead: nobody watches then
    * `:snapshot` - an `Mtrace.Snapshot` to show, one that was loaded for example, instead of the node as
      it is; nobody watches then
    * `:memory` - an `Mtrace.Memory` to show (that of the snapshot, or `memory/1`); `nil`: none
    * `:title` - a string (`"Native memory of "` and the node's name)

  Raises `ArgumentError` for other arguments, `Mtrace.InactiveError` if a snapshot has to be taken
  and nothing is traced; `{:error, :reset}` and `{:error, :detached}` as `leaks/1`. Costs as that,
  `snapshot/1` and `memory/1`, and up to two seconds of the caller's time where the table is full; the page
  has 100 KiB and what its stacks need, up to some 3 MiB.

      iex> Mtrace.report("/tmp/report.html", title: "The shop, after the weekend")
      :ok
  """
  @spec report(Path.t() | :iodata,
          window: non_neg_integer,
          snapshot: Snapshot.t() | nil,
          leaks: [Mtrace.Leak.t()] | nil,
          memory: Mtrace.Memory.t() | nil,
          title: String.t() | nil
        ) :: :ok | {:ok, iodata} | {:error, File.posix() | :reset | :detached}
  def report(path, options \\ []), do: Mtrace.Export.Html.report(path, options)

  @doc """
  Counters of the malloc family, the heap's own account, and how much of it all is recorded.

    * `malloc_cnt`, `calloc_cnt`, `realloc_cnt`, `reallocarray_cnt`, `free_cnt`,
      `free_sized_cnt`, `free_aligned_sized_cnt`, `posix_memalign_cnt`, `aligned_alloc_cnt`,
      `memalign_cnt`, `valloc_cnt`, `pvalloc_cnt`, `malloc_usable_size_cnt`, `strdup_cnt`,
      `strndup_cnt` - calls since tracing began, by all threads. Exact. `free(NULL)` is not
      counted. glibc's `strdup` calls `malloc`, which is counted there as well.
    * `enif_alloc_cnt`, `enif_realloc_cnt`, `enif_free_cnt`, `enif_alloc_binary_cnt`,
      `enif_realloc_binary_cnt`, `enif_release_binary_cnt`, `enif_make_binary_cnt`,
      `enif_term_to_binary_cnt`, `enif_alloc_resource_cnt`, `enif_alloc_env_cnt`,
      `enif_free_env_cnt`, `driver_alloc_cnt`, `driver_realloc_cnt`, `driver_free_cnt`,
      `driver_alloc_binary_cnt`, `driver_realloc_binary_cnt`, `driver_free_binary_cnt` - the same for
      what NIF libraries and drivers call of the emulator's own
    * `allocated_bytes`, `used_bytes`, `free_bytes` - what glibc's heap took from the kernel in
      its arenas, the part of it in use, and the part that is free: `arena`, `uordblks` and
      `fordblks` of mallinfo2(3)
    * `mmap_bytes`, `mmap_chunks` - what it took chunk by chunk: `hblkhd`, `hblks`. With another
      allocator than glibc's these five are that allocator's, if it has a mallinfo2, or describe
      glibc's heap, which then is hardly used
    * `recorded` - chunks in the table now
    * `slots` - chunks that the table has room for
    * `interval` - the sampler's, in bytes: an allocation of n bytes is drawn with probability
      `1 - exp(-(n + 1024) / interval)`; 0 means that everything is drawn
    * `ignored` - chunks that were drawn but found no place in the table, since the start or the
      last `reset/0`
    * `thinned` - chunks that were taken out of it again to make room, since then
    * `resets` - how often the table was emptied, by `reset/0` or `attach/1`

  Raises `Mtrace.InactiveError` if nothing is traced. Costs microseconds; walks glibc's arenas
  under their locks, for some microseconds each.

      iex> Mtrace.stats().malloc_cnt
      603398
  """
  @spec stats :: stats
  def stats, do: Native.stats() |> ok!()

  @doc """
  Empties the table, and returns the nanoseconds that took.

  From now on chunks are recorded that are allocated from now on; an adaptive sampler begins
  again with everything. The counters of `stats/0` go on, except `ignored` and `thinned`.

  Raises `Mtrace.InactiveError` if nothing is traced. Costs some 200 to 500 µs; stops nobody.

      iex> Mtrace.reset()
      48211
  """
  @spec reset :: non_neg_integer
  def reset do
    if Status.state() == :detached, do: raise(InactiveError, reason: :detached)
    Preparation.prepare()
    Native.reset() |> ok!()
  end

  @parts Status.parts()

  @typedoc """
  What can be attached to: `:malloc`, the malloc family; `:beam`, what NIFs and drivers allocate by
  the emulator's own functions (`enif_alloc` and its kin), and who calls them.
  """
  @type part :: :malloc | :beam

  @doc """
  Starts tracing in a node that was started without the preload, and returns `{:ok, status}`, the
  status as `status/0` has it.

    * `:only` - a list of `:malloc` and `:beam` (both)

  The calls of every library of the node, those loaded later included, then go through Mtrace, as
  with the preload. The table is empty at first: what was allocated before is not seen, and its
  frees are passed on. A free that is missed, because it went through a pointer to `free` that was
  copied before, is noticed when its address is handed out again (`missed_frees` in `status/0`).
  Attached to already, parts that were not are added, and the table is kept.

  Returns `{:error, reason}`, and nothing is traced, if `reason` is

    * `:preloaded` - the node is traced from its start
    * `{:unknown, parts}` - `:only` names what there is not
    * another of `Mtrace.InactiveError`: `MTRACE=0`, no memory, no library

  Raises `ArgumentError` if the options are no keyword list of `:only`.

  Takes 10 to 60 ms on a dirty scheduler, and stops nobody; costs as the preload does, and about 1 ns
  more for each allocation. The first time a node in interactive mode loads Mtrace's modules, which
  waits its turn where every scheduler is busy.

      iex> {:ok, status} = Mtrace.attach()
      iex> status.active
      :attached
  """
  @spec attach(only: [part]) :: {:ok, map} | {:error, :preloaded | {:unknown, list} | term}
  def attach(options \\ []) do
    with {:ok, parts} <- parts(options) do
      attached =
        Preparation.promptly(fn ->
          with {:ok, :ok} <- Native.attach(parts), do: {:ok, status()}
        end)

      spawn(&Preparation.prepare/0)
      attached
    end
  end

  defp parts(options) do
    only = Keyword.keyword?(options) && Keyword.get(options, :only, Keyword.keys(@parts))

    unless is_list(only) and only != [] and Keyword.drop(options, [:only]) == [] do
      raise ArgumentError,
            "Mtrace.attach/1 takes only: a list of #{inspect(Keyword.keys(@parts))}, " <>
              "got: #{inspect(options)}"
    end

    case Enum.reject(only, &(is_atom(&1) and Keyword.has_key?(@parts, &1))) do
      [] -> {:ok, only |> Enum.uniq() |> Enum.map(&@parts[&1]) |> Enum.sum()}
      unknown -> {:error, {:unknown, unknown}}
    end
  end

  @doc """
  Stops tracing in a node that was attached to, and returns `:ok`.

  Every library calls its allocator directly again. The table stays as it is at this moment and can
  be read (`olds/2`, `snapshot/0`, `sites/1`, `stats/0`); the next `attach/1` empties it. Not attached,
  nothing happens. Returns `{:error, :preloaded}` in a node that was preloaded, which goes on being
  traced.

  Takes 5 to 20 ms on a dirty scheduler and stops nobody.

      iex> Mtrace.detach()
      :ok
  """
  @spec detach :: :ok | {:error, :preloaded | term}
  def detach do
    with {:ok, :ok} <- Native.detach(), do: :ok
  end

  @max_interval 17_592_186_044_416

  @doc """
  Changes how Mtrace records, at once and until the node stops.

    * `:interval` - `:adaptive` (the default: from everything to whatever table and budget allow),
      or a fixed number of bytes from 0 to #{@max_interval}. Then the table is not thinned when it
      fills up, and chunks that find no place are `ignored`: estimates are worth little then, and
      `status/0` says so. 0 records everything, until the table is full
    * `:budget` - the share of any thread's time that recording may take, in per cent, from 0.01 to
      100 (1). It is kept by an adaptive interval only
    * `:depth` - native frames kept of a stack, from 2 to 64 (32)
    * `:erlang_depth` - Erlang frames kept of a stack, from 0 to 16 (8)

  What is in the table stays; after `detach/0` it holds from the next `attach/1` on. Returns `:ok`. Raises `ArgumentError`, and changes nothing, if a key
  or a value is none of these; `Mtrace.InactiveError` if nothing is traced. Costs microseconds.

  The environment variables `MTRACE_INTERVAL`, `MTRACE_BUDGET`, `MTRACE_DEPTH` and
  `MTRACE_ERLANG_DEPTH` say the same at the start of the node.

      iex> Mtrace.configure(budget: 0.5, depth: 48)
      :ok
  """
  @spec configure(
          interval: :adaptive | non_neg_integer,
          budget: number,
          depth: pos_integer,
          erlang_depth: non_neg_integer
        ) :: :ok
  def configure(options) do
    unless Keyword.keyword?(options) do
      raise ArgumentError,
            "Mtrace.configure/1 takes a keyword list of :interval, :budget, :depth and :erlang_depth, " <>
              "got: #{inspect(options)}"
    end

    Enum.each(options, &check!/1)

    budget = options[:budget]

    Native.configure(
      options[:interval],
      budget && round(budget * 10_000),
      options[:depth],
      options[:erlang_depth]
    )
    |> ok!()
  end

  defp check!({:interval, :adaptive}), do: :ok
  defp check!({:interval, n}) when is_integer(n) and n in 0..@max_interval, do: :ok
  defp check!({:budget, n}) when is_number(n) and n >= 0.01 and n <= 100, do: :ok
  defp check!({:depth, n}) when is_integer(n) and n in 2..64, do: :ok
  defp check!({:erlang_depth, n}) when is_integer(n) and n in 0..16, do: :ok

  defp check!({:slots, value}) do
    raise ArgumentError,
          "the number of slots is fixed when the node starts: set MTRACE_SLOTS there, " <>
            "got slots: #{inspect(value)} in Mtrace.configure/1"
  end

  defp check!({key, value}) do
    raise ArgumentError, "Mtrace.configure/1 takes #{allowed(key)}, got: #{inspect(value)}"
  end

  defp allowed(:interval),
    do: "as :interval either :adaptive or a number of bytes from 0 to #{@max_interval}"

  defp allowed(:budget), do: "as :budget a percentage from 0.01 to 100"
  defp allowed(:depth), do: "as :depth a number of frames from 2 to 64"
  defp allowed(:erlang_depth), do: "as :erlang_depth a number of frames from 0 to 16"

  defp allowed(key),
    do: "the keys :interval, :budget, :depth and :erlang_depth, not #{inspect(key)}"

  @doc """
  Whether and how Mtrace is active in this node, and what to do if it is not. Never raises.

    * `active` - `:preloaded`, `:attached`, `:detached` (it is not any more, and what was recorded
      can be read), `:inactive` or `:unsupported`
    * `message` - the same in a sentence, with the remedy
    * `object` - the file that was loaded as a NIF, `nil` if none was
    * `version` - of the package

  and where it is active, or was

    * `allocator` - the object whose malloc stands behind Mtrace
    * `unwinder` - `:cfi`, Mtrace's own; `:libunwind` where that does not exist; or `:none` or
      `:refused`: stacks are then the return address alone, and `notes` says why
    * `parts` - what is traced, of `:malloc` and `:beam`; see `attach/1`
    * `options` - `%{interval:, budget:, depth:, erlang_depth:, slots:}`, as the environment or
      `configure/1` set them: `:adaptive` or bytes, per cent, frames, frames, chunks
    * `coverage` - `%{recorded:, slots:, interval:, ignored:, thinned:, sites:, missed_frees:}`:
      the first five as in `stats/0`; different stacks in the table; records that ended because
      their address was handed out again
    * `own_bytes` - memory that the core has mapped for itself
    * `naming_bytes` - memory that names take, which are kept from one question to the next
    * `notes` - sentences about what is not seen here, and what to do

  and where it is not, `reason`, as in `Mtrace.InactiveError`.

      iex> Mtrace.status().message
      "Mtrace is active: preloaded, 1873 of 4096 slots taken, one draw in 128.0 KiB"
  """
  @spec status :: %{
          required(:active) => :preloaded | :attached | :detached | :inactive | :unsupported,
          required(:message) => String.t(),
          required(:object) => String.t() | nil,
          required(:version) => String.t(),
          optional(atom) => term
        }
  def status do
    Preparation.calibrate()

    Status.describe()
  end

  defp ok!({:ok, value}), do: value
  defp ok!({:error, reason}), do: raise(InactiveError, reason: reason)
end
