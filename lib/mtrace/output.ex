defmodule Mtrace.Output do
  # Files that appear whole or not at all.
  @moduledoc false

  @doc """
  The path as a binary, or `:iodata`. From Erlang names of files come as lists; bytes that are no UTF-8
  may be in a name, too. Raises `ArgumentError` for what is no path, naming the call.
  """
  @spec path!(term, String.t()) :: binary | :iodata
  def path!(:iodata, _call), do: :iodata

  def path!(path, call) do
    text = text(path)

    if text in [nil, ""] or :binary.match(text, <<0>>) != :nomatch do
      raise ArgumentError,
            "Mtrace.#{call} takes the name of the file to write, or :iodata to get what would be in " <>
              "it, got: #{inspect(path)}"
    end

    text
  end

  defp text(path) when is_binary(path), do: path

  defp text(path) when is_list(path) do
    IO.chardata_to_string(path)
  rescue
    _ -> nil
  end

  defp text(_), do: nil

  @doc """
  Writes the content: `:ok` or `{:error, posix}`, and what stood there is as it was. For `:iodata`
  `{:ok, content}`. A link stays one, and the file that it leads to is replaced; what is no regular
  file (a pipe, a terminal) is written to as it is.
  """
  @spec write(binary | :iodata, iodata) :: :ok | {:ok, iodata} | {:error, File.posix()}
  def write(:iodata, content), do: {:ok, content}

  def write(path, content) do
    case File.stat(path) do
      {:ok, %{type: :directory}} -> {:error, :eisdir}
      {:ok, %{type: :regular}} -> path |> target(10) |> replace(content)
      {:ok, _} -> File.write(path, content, [:raw])
      {:error, :enoent} -> path |> target(10) |> replace(content)
      {:error, reason} -> {:error, reason}
    end
  end

  # Beside it first: a reader never finds half a file.
  defp replace(path, content) do
    name = ".mtrace-#{System.pid()}-#{System.unique_integer([:positive])}"
    beside = Path.join(Path.dirname(path), name)

    with :ok <- File.write(beside, content, [:raw, :exclusive]),
         :ok <- File.rename(beside, path) do
      :ok
    else
      {:error, reason} ->
        _ = File.rm(beside)
        {:error, reason}
    end
  end

  defp target(path, 0), do: path

  defp target(path, links) do
    case File.read_link(path) do
      {:ok, to} -> to |> Path.expand(Path.dirname(path)) |> target(links - 1)
      {:error, _} -> path
    end
  end
end
