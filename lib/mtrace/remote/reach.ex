defmodule Mtrace.Remote.Reach do
  # Why a node could not be connected to: by asking on the way for each thing that it needs.
  @moduledoc false

  @patience_ms 5000

  @doc "One sentence."
  @spec explain(node) :: String.t()
  def explain(node) do
    [name, host] = node |> to_string() |> String.split("@")
    "#{node} is not reached: " <> reason(name, host)
  end

  defp reason(name, host) do
    with {:ok, address} <- resolve(host),
         {:ok, port} <- registered(address, name, host),
         :ok <- listens(address, port, host) do
      "it is there, and refuses the connection: is the cookie the right one (--cookie; without it " <>
        "that of ~/.erlang.cookie), and does it speak the plain protocol, not TLS's?"
    end
  end

  defp resolve(host) do
    case :inet.getaddr(String.to_charlist(host), :inet) do
      {:ok, address} -> {:ok, address}
      {:error, _} -> "no address is known for the host #{host}"
    end
  end

  defp registered(address, name, host) do
    case in_time(fn -> :erl_epmd.names(address) end) do
      {:ok, names} ->
        case List.keyfind(names, String.to_charlist(name), 0) do
          {_, port} -> {:ok, port}
          nil -> "epmd on #{host} knows no node #{name}, only #{listed(names)}"
        end

      _ ->
        "no epmd answers on #{host}: does a node run there that is distributed (started with " <>
          "-name or -sname), and is epmd's port, 4369 or ERL_EPMD_PORT, open to here?"
    end
  end

  defp listed([]), do: "none at all"

  defp listed(names) do
    names
    |> Enum.map_join(", ", fn {name, _} -> to_string(name) end)
    |> Mtrace.Frame.printable()
  end

  defp listens(address, port, host) do
    case :gen_tcp.connect(address, port, [:binary, active: false], @patience_ms) do
      {:ok, socket} ->
        :gen_tcp.close(socket)
        :ok

      {:error, reason} ->
        "epmd on #{host} names port #{port} for it, which does not answer " <>
          "(#{:inet.format_error(reason)}): is it open to here?"
    end
  end

  # A host that drops what is sent to it lets one wait for minutes.
  defp in_time(fun) do
    task = Task.async(fun)

    case Task.yield(task, @patience_ms) || Task.shutdown(task, :brutal_kill) do
      {:ok, result} -> result
      _ -> :late
    end
  end
end
