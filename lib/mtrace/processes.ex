defmodule Mtrace.Processes do
  # What is known of processes while they live.
  @moduledoc false

  @doc "A map from each of the pids (or nils) that is alive to what it is."
  def describe(pids) do
    for pid <- Enum.uniq(pids), pid != nil, info = info(pid), into: %{}, do: {pid, info}
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
