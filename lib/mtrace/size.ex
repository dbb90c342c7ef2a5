defmodule Mtrace.Size do
  # Bytes for people, in binary units (IEC 80000-13).
  @moduledoc false

  @units [{"GiB", 1_073_741_824}, {"MiB", 1_048_576}, {"KiB", 1024}]

  def format(bytes) do
    case Enum.find(@units, fn {_, unit} -> bytes >= unit end) do
      {name, unit} -> "#{:erlang.float_to_binary(bytes / unit, decimals: 1)} #{name}"
      nil -> "#{bytes} B"
    end
  end
end
