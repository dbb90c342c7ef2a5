defmodule Mtrace.Processes do
  # What is known of processes while they live.
  @moduledoc false

  # A process answers between two of its calls only: one that is in a long NIF is not waited for.
  @patience_ms 200

  @doc """
  A map from each of the pids (or nils) that is alive to what it is. Those that do not answer within
  #{@patience_ms} ms are left out.
  """
  def describe(pids) do
    # An alias: a helper that is killed a moment too late sends to nobody.
    tag = :erlang.alias()

    helpers =
      for pid <- Enum.uniq(pids), pid != nil do
        spawn(fn -> send(tag, {tag, pid, info(pid)}) end)
      end

    deadline = System.monotonic_time(:millisecond) + @patience_ms
    known = collect(tag, length(helpers), deadline, %{})
    :erlang.unalias(tag)
    Enum.each(helpers, &Process.exit(&1, :kill))
    flush(tag)
    known
  end

  defp collect(_tag, 0, _deadline, known), do: known

  defp collect(tag, n, deadline, known) do
    receive do
      {^tag, _pid, nil} -> collect(tag, n - 1, deadline, known)
      {^tag, pid, info} -> collect(tag, n - 1, deadline, Map.put(known, pid, info))
    after
      max(deadline - System.monotonic_time(:millisecond), 0) -> known
    end
  end

  defp flush(tag) do
    receive do
      {^tag, _, _} -> flush(tag)
    after
      0 -> :ok
    end
  end

  defp info(pid) do
    with [registered_name: name, initial_call: call, current_function: current] <-
           Process.info(pid, [:registered_name, :initial_call, :current_function]) do
      %{
        registered_name: if(name != [], do: name),
        initial_call: dictionary(pid, :"$initial_call") || call,
        current_function: current,
        label: dictionary(pid, :"$process_label")
      }
    end
  end

  # One key of a process's dictionary can be asked for since OTP 26.2.
  defp dictionary(pid, key) do
    case :erlang.process_info(pid, {:dictionary, key}) do
      {_, value} when value != :undefined -> value
      _ -> nil
    end
  rescue
    ArgumentError -> from_all(Process.info(pid, :dictionary), key)
  end

  defp from_all({:dictionary, all}, key), do: all |> List.keyfind(key, 0, {key, nil}) |> elem(1)
  defp from_all(nil, _key), do: nil
end
