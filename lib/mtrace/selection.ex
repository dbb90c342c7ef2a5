defmodule Mtrace.Selection do
  # Sites of a snapshot: picked, summed up, sorted.
  @moduledoc false

  alias Mtrace.{Culprit, Estimate, Group, Options, Pattern, Site, Snapshot}

  @by [:stack, :function, :library, :app, :caller, :pid, :thread, :allocator]
  @sort ~w(live_bytes live allocated_bytes allocated freed_bytes freed peak_bytes oldest_ms median_ms
           youngest_ms recorded)a
  @allocators ~w(malloc enif binary resource env driver)a
  @kinds ~w(normal dirty_cpu dirty_io async other)a
  @filters ~w(function library app caller allocator pid thread min_age_ms max_age_ms)a

  @names Enum.map_join(@filters, ", ", &inspect/1)

  @options [
    by: {&__MODULE__.by?/1, "one of #{Enum.map_join(@by, ", ", &inspect/1)}"},
    sort: {&__MODULE__.sort?/1, "one of #{Enum.map_join(@sort, ", ", &inspect/1)}"},
    top: {&__MODULE__.top?/1, "a whole number from 1, or :all"},
    filter: {&__MODULE__.filter?/1, "a keyword list of #{@names}, or a function of a site"},
    ignore: {&__MODULE__.ignore?/1, "a pattern, a list of patterns, or {:file, path}"}
  ]

  def by?(by), do: by in @by
  def sort?(field), do: field in @sort
  def top?(n), do: n == :all or (is_integer(n) and n > 0)

  def filter?(filter) when is_function(filter, 1), do: true

  def filter?(filter),
    do: Keyword.keyword?(filter) and Enum.all?(Keyword.keys(filter), &(&1 in @filters))

  def ignore?({:file, path}), do: is_binary(path) or is_list(path)

  def ignore?(patterns),
    do: is_binary(patterns) or is_list(patterns) or is_struct(patterns, Regex)

  @doc "The options that `sites/3` knows, for others that have them too."
  def options, do: @options

  @doc """
  `[Site]` by `:stack`, else `[Group]`. Raises `ArgumentError` for options that make no sense and for
  files that cannot be read.
  """
  @spec sites(Snapshot.t(), keyword, String.t()) :: [Site.t() | Group.t()]
  def sites(%Snapshot{} = snapshot, options, call) do
    Options.check!(call, options, @options)

    snapshot
    |> pick(options)
    |> group(Keyword.get(options, :by, :stack))
    |> sort(Keyword.get(options, :sort, :live_bytes))
    |> take(Keyword.get(options, :top, :all))
  end

  @doc "What is left of filter and ignore: sites, each with its chunks."
  @spec pick(Snapshot.t(), keyword) :: [{Site.t(), [Mtrace.Chunk.t()]}]
  def pick(snapshot, options) do
    ignored = ignored(Keyword.get(options, :ignore, []))
    chunks = Enum.group_by(snapshot.chunks, & &1.site)

    {of_site, of_chunk} =
      case Keyword.get(options, :filter, []) do
        f when is_function(f) -> {[f], []}
        list -> list |> Enum.map(&condition/1) |> split()
      end

    for site <- snapshot.sites,
        Enum.all?(of_site, & &1.(site)),
        not Enum.any?(site.stack, &Pattern.match_frame?(ignored, &1)),
        picked = part(site, Map.get(chunks, site.id, []), of_chunk),
        do: picked
  end

  defp split(conditions) do
    {of_site, of_chunk} = Enum.split_with(conditions, &match?({:site, _}, &1))
    {Enum.map(of_site, &elem(&1, 1)), Enum.map(of_chunk, &elem(&1, 1))}
  end

  # What was allocated is not known of a part of the chunks.
  defp part(site, chunks, []), do: {site, chunks}

  defp part(site, chunks, conditions) do
    case Enum.filter(chunks, fn chunk -> Enum.all?(conditions, & &1.(chunk)) end) do
      [] -> nil
      ^chunks -> {site, chunks}
      some -> {site |> forget_totals() |> Map.merge(Estimate.live(some)), some}
    end
  end

  @totals ~w(allocated allocated_error allocated_bytes allocated_bytes_error freed freed_bytes peak_bytes)a

  defp forget_totals(site), do: Map.merge(site, Map.new(@totals, &{&1, nil}))

  defp condition({:function, p}), do: {:site, named(p, &(&1 && &1.symbol))}
  defp condition({:library, p}), do: {:site, named(p, &(&1 && &1.library))}

  defp condition({:app, app}) when is_atom(app) or is_binary(app),
    do: {:site, &match_app?(&1.culprit, app)}

  defp condition({:caller, caller} = condition) do
    wanted = mfa(caller) || wrong(condition, "a {module, function, arity}, a module, or nil")
    {:site, &match_caller?(&1.caller, wanted)}
  end

  defp condition({:allocator, allocator}) when allocator in @allocators,
    do: {:site, &(&1.allocator == allocator)}

  defp condition({:pid, nil}), do: {:chunk, &is_nil(&1.pid)}

  defp condition({:pid, pid}) when is_pid(pid) or is_binary(pid),
    do: {:chunk, &same_pid?(&1.pid, pid)}

  defp condition({:pid, name} = condition) when is_atom(name) do
    case Process.whereis(name) do
      pid when is_pid(pid) -> condition({:pid, pid})
      _ -> wrong(condition, "a pid, or the name of a process that is registered")
    end
  end

  defp condition({:thread, thread})
       when is_integer(thread) or is_binary(thread) or thread in @kinds,
       do: {:chunk, &(thread in [&1.thread.id, &1.thread.name, &1.thread.kind])}

  defp condition({:min_age_ms, ms}) when is_integer(ms), do: {:chunk, &(&1.age_ms >= ms)}
  defp condition({:max_age_ms, ms}) when is_integer(ms), do: {:chunk, &(&1.age_ms <= ms)}

  defp condition({name, _} = condition) do
    wrong(
      condition,
      case name do
        :app -> "an application's name"
        :allocator -> "one of #{Enum.map_join(@allocators, ", ", &inspect/1)}"
        :pid -> "a pid, or the name of a process that is registered"
        :thread -> "a number, a name, or one of #{Enum.map_join(@kinds, ", ", &inspect/1)}"
        _ -> "milliseconds"
      end
    )
  end

  defp wrong({name, value}, takes) do
    raise ArgumentError,
          "filter: takes as #{inspect(name)} #{takes}, got: #{Options.shown(value)}"
  end

  # The names that are shown of a site: its culprit's, or those of what is behind the hook.
  defp named(patterns, of) do
    patterns = Pattern.compile!(patterns)
    &Pattern.match?(patterns, of.(shown(&1)))
  end

  # Applications, modules and pids of a snapshot from elsewhere may be texts.
  defp match_app?(%{app: {name, _}}, app), do: to_string(name) == to_string(app)
  defp match_app?(_, app), do: app == nil

  # {:caller, what to compare with}: any of the parts may be :_.
  defp mfa(nil), do: {:is, nil}
  defp mfa(:thread), do: {:is, :thread}
  defp mfa({kind, {_, _}} = caller) when kind in [:load, :destructor], do: {:is, caller}
  defp mfa({m, f}) when is_atom(m) and is_atom(f), do: {:mfa, {m, f, :_}}

  defp mfa({m, f, a} = mfa) when is_atom(m) and is_atom(f) and (is_integer(a) or a == :_),
    do: {:mfa, mfa}

  defp mfa(f) when is_function(f) do
    info = Function.info(f)
    if info[:type] == :external, do: {:mfa, {info[:module], info[:name], info[:arity]}}
  end

  defp mfa(module) when is_atom(module), do: {:mfa, {module, :_, :_}}
  defp mfa(_), do: nil

  defp match_caller?({m, f, a}, {:mfa, {m2, f2, a2}}),
    do: same?(m, m2) and same?(f, f2) and same?(a, a2)

  defp match_caller?(caller, {:is, wanted}), do: caller == wanted
  defp match_caller?(_, _), do: false

  defp same?(_, :_), do: true
  defp same?(x, x), do: true
  defp same?(x, y), do: is_atom(y) and y != nil and x == Atom.to_string(y)

  defp same_pid?(pid, pid), do: true
  defp same_pid?(text, pid), do: is_binary(text) and is_pid(pid) and text == inspect(pid)

  defp ignored({:file, path}) do
    case Pattern.read(path) do
      {:ok, patterns} ->
        patterns

      {:error, reason} ->
        raise ArgumentError,
              "ignore: cannot read #{inspect(path)}: #{:file.format_error(reason)}; " <>
                "it is a file with a pattern a line"
    end
  end

  defp ignored(patterns), do: Pattern.compile!(patterns)

  defp group(picked, :stack), do: Enum.map(picked, &elem(&1, 0))

  # By what only chunks know.
  defp group(picked, by) when by in [:pid, :thread] do
    picked
    |> Enum.flat_map(fn {site, chunks} -> Enum.map(chunks, &{Map.fetch!(&1, by), site, &1}) end)
    |> Enum.group_by(&one(elem(&1, 0)))
    |> Enum.map(fn {_, [{key, _, _} | _] = members} ->
      sites = members |> Enum.map(&elem(&1, 1)) |> Enum.uniq_by(& &1.id)
      chunks = Enum.map(members, &elem(&1, 2))
      group(by, key, most(chunks, sites), length(sites), chunks)
    end)
  end

  defp group(picked, by) do
    picked
    |> Enum.group_by(fn {site, _} -> key(by, site) end)
    |> Enum.map(fn {key, members} ->
      sites = Enum.map(members, &elem(&1, 0))
      chunks = Enum.flat_map(members, &elem(&1, 1))
      largest = Enum.max_by(sites, & &1.live_bytes)
      by |> group(key, largest, length(sites), chunks) |> Map.merge(totals(sites))
    end)
  end

  # A thread is one, whether or not it was known to be a scheduler when it allocated.
  defp one(%{id: id}), do: id
  defp one(pid), do: pid

  defp group(by, key, site, sites, chunks) do
    group = %Group{by: by, key: key, culprit: site.culprit, sites: sites}
    Map.merge(group, Estimate.live(chunks))
  end

  # The site that most of these bytes are from.
  defp most(chunks, sites) do
    bytes =
      Enum.reduce(chunks, %{}, fn c, sum ->
        Map.update(sum, c.site, c.weight * c.size, &(&1 + c.weight * c.size))
      end)

    Enum.max_by(sites, &Map.fetch!(bytes, &1.id))
  end

  defp totals(sites) do
    if Enum.any?(sites, &is_nil(&1.allocated)) do
      %{}
    else
      Map.new(@totals, fn field ->
        values = Enum.map(sites, &Map.fetch!(&1, field))

        {field,
         if(field in [:allocated_error, :allocated_bytes_error],
           do: root(values),
           else: Enum.sum(values)
         )}
      end)
    end
  end

  defp root(errors), do: errors |> Enum.map(&(&1 * &1)) |> Enum.sum() |> Estimate.error()

  @doc "What sites are grouped by; see `Mtrace.Group`."
  def key(:function, site), do: with(%{} = f <- shown(site), do: {file(f.library), f.symbol})
  def key(:library, site), do: with(%{} = f <- shown(site), do: f.library)
  def key(:app, %{culprit: culprit}), do: culprit && culprit.app
  def key(:caller, site), do: site.caller
  def key(:allocator, site), do: site.allocator

  defp shown(site), do: site.culprit || Culprit.headline(site.stack)
  defp file(library), do: library && Path.basename(library)

  defp sort(rows, field) do
    Enum.sort_by(rows, &{-(Map.fetch!(&1, field) || 0), -&1.live_bytes})
  end

  defp take(rows, :all), do: rows
  defp take(rows, n), do: Enum.take(rows, n)
end
