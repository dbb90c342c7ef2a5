defmodule Mtrace.Output do
  # Files that appear whole or not at all.
  @moduledoc false

  @doc """
  Writes the content beside `path`, then renames it: `:ok` or `{:error, posix}`. `:iodata` for a path
  gives `{:ok, content}`. Raises `ArgumentError` for what is no path.
  """
  @spec write(Path.t() | :iodata, iodata) :: :ok | {:ok, iodata} | {:error, File.posix()}
  def write(:iodata, content), do: {:ok, content}

  def write(path, content) do
    path = path!(path)
    beside = "#{path}.#{System.unique_integer([:positive])}.#{System.pid()}.part"

    with {:error, reason} <- replace(path, beside, content) do
      _ = File.rm(beside)
      {:error, reason}
    end
  end

  # A pipe or /dev/stdout cannot be renamed onto.
  defp replace(path, beside, content) do
    case File.stat(path) do
      {:ok, %{type: type}} when type not in [:regular, :directory] -> File.write(path, content)
      _ -> with :ok <- File.write(beside, content), do: File.rename(beside, path)
    end
  end

  defp path!(path) do
    IO.chardata_to_string(path)
  rescue
    _ in [ArgumentError, FunctionClauseError, UnicodeConversionError] ->
      raise ArgumentError, "a file's path must be a string, or :iodata, got: #{inspect(path)}"
  end
end
