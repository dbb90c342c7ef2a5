defmodule Mtrace.Remote do
  # What `mix mtrace.leaks` and `mix mtrace.report` share: reaching a running node as a hidden node that
  # listens nowhere, asking its Mtrace, and saying in one sentence why that did not work.
  @moduledoc false

  alias Mtrace.InactiveError
  alias Mtrace.Remote.{Progress, Reach}

  @version Mix.Project.config()[:version]
  @patience_ms 60_000

  @enforce_keys [:node, :status]
  defstruct [:node, :status, attached: false]

  @type t :: %__MODULE__{node: node, status: map, attached: boolean}

  @switches [
    name: :string,
    sname: :string,
    cookie: :string,
    attach: :boolean,
    window: :integer
  ]

  @doc "The options that both tasks take, for OptionParser."
  def switches, do: @switches

  @doc """
  Connects, looks for Mtrace there, attaches if it is to, calls `fun` with the remote, and leaves the
  node as it was. Returns what `fun` does, or `{:error, sentence}`.
  """
  @spec with_node(keyword, (t -> result)) :: result | {:error, String.t()} when result: term
  def with_node(options, fun) do
    with {:ok, node} <- node_of(options),
         :ok <- connect(node, options[:cookie]),
         {:ok, remote} <- traced(node, options[:attach] == true) do
      try do
        fun.(remote)
      after
        if remote.attached, do: call(remote, :detach, [])
      end
    end
  end

  @doc """
  Calls a function of `Mtrace` there, and returns `{:ok, answer}` or `{:error, sentence}`. `working`:
  `{text, ms}` to be shown in this terminal meanwhile.
  """
  @spec call(t, atom, list, {String.t(), non_neg_integer} | nil) ::
          {:ok, term} | {:error, String.t()}
  def call(remote, function, arguments, working \\ nil) do
    {text, ms} = working || {nil, 0}
    ask = fn -> erpc(remote.node, Mtrace, function, arguments, ms + @patience_ms) end

    case if(text, do: Progress.show(text, ms, ask), else: ask.()) do
      {:ok, answer} -> {:ok, answer}
      {:failed, reason} -> {:error, failed(remote, function, length(arguments), reason)}
    end
  end

  @doc "`Mtrace.leaks/1` there, with its options: `{:ok, leaks}` or `{:error, sentence}`."
  @spec leaks(t, keyword) :: {:ok, [term]} | {:error, String.t()}
  def leaks(remote, options) do
    working = {"watching #{remote.node} for #{seconds(options[:window])}", options[:window]}

    case call(remote, :leaks, [options ++ [progress: false]], working) do
      {:ok, leaks} when is_list(leaks) ->
        {:ok, leaks}

      {:ok, {:error, :reset}} ->
        {:error,
         "somebody emptied the table of #{remote.node} meanwhile (Mtrace.reset/0 or attach/1): " <>
           "watch again"}

      {:ok, {:error, :detached}} ->
        {:error,
         "somebody detached from #{remote.node} meanwhile (Mtrace.detach/0): watch again"}

      {:ok, other} ->
        {:error, "#{remote.node} answers what is not understood: #{inspect(other, limit: 10)}"}

      {:error, sentence} ->
        {:error, sentence}
    end
  end

  @doc false
  def seconds(ms) when rem(ms, 1000) == 0, do: "#{div(ms, 1000)} s"
  def seconds(ms), do: "#{ms / 1000} s"

  @doc """
  `:ok` if every struct has the fields that it has here, at any depth of lists and fields; otherwise a
  sentence: the node may have another version of Mtrace.
  """
  @spec check_shape(t, term) :: :ok | {:error, String.t()}
  def check_shape(remote, answer) do
    if shape?(answer) do
      :ok
    else
      {:error,
       "what Mtrace #{version(remote)} on #{remote.node} answers differs from what this version, " <>
         "#{@version}, can read: run the task of the same version there and here"}
    end
  end

  @doc "A line if the versions differ, else `nil`."
  @spec version_note(t) :: String.t() | nil
  def version_note(remote) do
    if version(remote) != @version do
      "#{remote.node} has Mtrace #{version(remote)}, this is #{@version}"
    end
  end

  defp version(remote), do: Mtrace.Frame.printable(to_string(remote.status[:version]))

  defp shape?(list) when is_list(list), do: Enum.all?(list, &shape?/1)

  defp shape?(%struct{} = value) do
    case to_string(struct) do
      "Elixir.Mtrace." <> _ ->
        function_exported?(Code.ensure_loaded!(struct), :__struct__, 0) and
          Map.keys(value) == Map.keys(struct.__struct__()) and
          value |> Map.from_struct() |> Map.values() |> shape?()

      _ ->
        true
    end
  rescue
    ArgumentError -> false
  end

  defp shape?(_), do: true

  # --- names

  defp node_of(options) do
    case {options[:name], options[:sname]} do
      {nil, nil} ->
        {:error, "which node? Name it with --name shop@host.example.com, or --sname shop@host"}

      {name, nil} ->
        full_name(name, &(&1 =~ "."), "a dot in its host; for one without: --sname #{name}")

      {nil, name} ->
        name = if name =~ "@", do: name, else: "#{name}@#{short_host()}"
        full_name(name, &(not (&1 =~ ".")), "no dot in its host; for one with: --name #{name}")

      {_, _} ->
        {:error,
         "--name is for a node with a long name, --sname for one with a short: give one"}
    end
  end

  defp full_name(name, host?, otherwise) do
    case String.split(name, "@") do
      [local, host] when local != "" and host != "" and byte_size(name) < 256 ->
        # The name comes from the command line.
        if host?.(host),
          do: {:ok, String.to_atom(name)},
          else: {:error, "#{name}: a name of that kind has #{otherwise}"}

      _ ->
        {:error, "#{name} is no name of a node, which has one @ in it, as in shop@127.0.0.1"}
    end
  end

  defp short_host do
    {:ok, host} = :inet.gethostname()
    to_string(host)
  end

  # --- connecting

  defp connect(node, cookie) do
    with :ok <- start(node) do
      if cookie, do: Node.set_cookie(node, String.to_atom(cookie))
      if Node.connect(node) == true, do: :ok, else: {:error, Reach.explain(node)}
    end
  end

  # Nobody connects to us: we need no epmd, and no port is opened.
  defp start(node) do
    [_, host] = node |> to_string() |> String.split("@")
    name = :"mtrace_#{System.pid()}_#{:erlang.unique_integer([:positive])}@#{host}"
    domain = if host =~ ".", do: :longnames, else: :shortnames

    if Node.alive?() do
      :ok
    else
      case :net_kernel.start(name, %{name_domain: domain, hidden: true, dist_listen: false}) do
        {:ok, _} -> :ok
        {:error, reason} -> {:error, "distribution does not start here: #{inspect(reason)}"}
      end
    end
  end

  # --- Mtrace there

  defp traced(node, attach?) do
    case erpc(node, Mtrace, :status, [], @patience_ms) do
      {:ok, %{active: active} = status} when active in [:preloaded, :attached] ->
        {:ok, %__MODULE__{node: node, status: status}}

      {:ok, %{active: _} = status} ->
        remote = %__MODULE__{node: node, status: status}
        if attach?, do: attach(remote), else: {:error, inactive(remote)}

      {:ok, _} ->
        {:error, "#{node} has a module Mtrace that is another program's"}

      {:failed, {:exception, :undef, [{Mtrace, :status, _, _} | _]}} ->
        {:error,
         "#{node} has no Mtrace on its code path: have it in the deps of that release, or make a " <>
           "tar with bin/pack of Mtrace's repository, unpack it there and load it as it says"}

      {:failed, reason} ->
        remote = %__MODULE__{node: node, status: %{}}
        {:error, failed(remote, :status, 0, reason)}
    end
  end

  defp inactive(remote) do
    "#{remote.node} is not traced; with --attach it is for as long as this command takes. It says: " <>
      Mtrace.Frame.printable(to_string(remote.status[:message]))
  end

  defp attach(remote) do
    case call(remote, :attach, [[]]) do
      {:ok, {:ok, status}} ->
        {:ok, %{remote | status: status, attached: true}}

      {:ok, {:error, reason}} ->
        {:error, "#{remote.node} cannot be attached to: #{why(reason)}"}

      {:error, sentence} ->
        {:error, sentence}
    end
  end

  defp why(reason) do
    InactiveError.describe(reason)
  rescue
    _ -> inspect(reason)
  end

  # --- calling

  defp erpc(node, module, function, arguments, timeout) do
    {:ok, :erpc.call(node, module, function, arguments, timeout)}
  catch
    _kind, reason -> {:failed, reason}
  end

  defp failed(remote, function, arity, {:exception, :undef, [{Mtrace, f, _, _} | _]})
       when f == function do
    "Mtrace #{version(remote)} on #{remote.node} has no #{function}/#{arity}: " <>
      "have #{@version} there, as here"
  end

  defp failed(remote, _, _, {:exception, %{__exception__: true} = error, _}),
    do: "#{remote.node} says: #{Mtrace.Frame.printable(Exception.message(error))}"

  defp failed(remote, _, _, {:erpc, :noconnection}),
    do: "the connection to #{remote.node} was lost: did it stop?"

  defp failed(remote, function, _, {:erpc, :timeout}),
    do: "#{remote.node} did not answer Mtrace.#{function} in time: is it overloaded?"

  defp failed(remote, function, _, reason),
    do: "Mtrace.#{function} failed on #{remote.node}: #{inspect(reason, limit: 20)}"
end
