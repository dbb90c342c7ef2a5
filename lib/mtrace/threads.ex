defmodule Mtrace.Threads do
  # What is known of a thread of this node, by the kernel's number of it.
  @moduledoc false

  @doc "The name is `nil` if the thread has ended, or runs in another container's numbering."
  def describe({id, kind}) do
    name = name(id)
    %{id: id, name: name, kind: kind(kind, name)}
  end

  defp name(id) do
    case File.read("/proc/self/task/#{id}/comm") do
      {:ok, text} -> String.trim_trailing(text, "\n")
      _ -> nil
    end
  end

  # The emulator names its threads; schedulers are known by the emulator's own word.
  defp kind(:other, name) do
    if name && name =~ ~r/^(erts_)?async/, do: :async, else: :other
  end

  defp kind(kind, _name), do: kind
end
