defmodule Mtrace.Memory.Proc do
  # What the kernel says of this process's memory: proc(5), /proc/self of Linux. The texts are
  # parsed leniently: a line that is not understood is left out.
  @moduledoc false

  @type status :: %{
          rss: non_neg_integer,
          anonymous: non_neg_integer | nil,
          file: non_neg_integer | nil,
          shared: non_neg_integer | nil,
          swap: non_neg_integer | nil
        }

  @type mapping :: %{
          start: non_neg_integer,
          end: non_neg_integer,
          permissions: String.t(),
          inode: String.t(),
          path: binary,
          anonymous: non_neg_integer | nil,
          resident: non_neg_integer | nil
        }

  @doc "The text of a file of /proc/self, or `nil`."
  def read(root, name) do
    case File.read(Path.join(root, name)) do
      {:ok, text} -> text
      _ -> nil
    end
  end

  @doc """
  Bytes resident in all, of anonymous memory, of files, of shared memory, and in swap; `nil` for
  what the kernel does not tell (before 4.5). `nil` without a sum.
  """
  @spec status(binary | nil) :: status | nil
  def status(text) do
    sizes = sizes(text || "")

    with rss when is_integer(rss) <- sizes["VmRSS"] do
      %{
        rss: rss,
        anonymous: sizes["RssAnon"],
        file: sizes["RssFile"],
        shared: sizes["RssShmem"],
        swap: sizes["VmSwap"]
      }
    end
  end

  @doc "A map from each name in lines like `Pss:  12 kB` to bytes."
  @spec sizes(binary) :: %{binary => non_neg_integer}
  def sizes(text) do
    for line <- lines(text), {name, bytes} <- [size(line)], into: %{}, do: {name, bytes}
  end

  defp size(line) do
    with [name, value] <- :binary.split(line, ":"),
         [number, "kB"] <- String.split(value, [" ", "\t"], trim: true),
         {n, ""} when n >= 0 <- Integer.parse(number) do
      {name, n * 1024}
    else
      _ -> nil
    end
  end

  @doc """
  The mappings in the text of /proc/self/maps or of smaps, in their order. `anonymous` and
  `resident` are smaps' Anonymous and Rss, `nil` from maps.
  """
  @spec mappings(binary) :: [mapping]
  def mappings(text) do
    text |> lines() |> Enum.reduce([], &mapping/2) |> Enum.reverse()
  end

  defp mapping(line, found) do
    case {header(line), found} do
      {nil, [last | others]} -> [figure(last, size(line)) | others]
      {nil, []} -> []
      {mapping, _} -> [mapping | found]
    end
  end

  defp header(line) do
    with [range, <<_, _, _, _>> = permissions, _offset, _device, more] <-
           String.split(line, " ", parts: 5),
         [first, last] <- :binary.split(range, "-"),
         {from, ""} <- Integer.parse(first, 16),
         {to, ""} when to > from and from >= 0 <- Integer.parse(last, 16),
         [inode | path] <- :binary.split(more, " ") do
      %{
        start: from,
        end: to,
        permissions: permissions,
        inode: inode,
        path: path |> Enum.join() |> trim(),
        anonymous: nil,
        resident: nil
      }
    else
      _ -> nil
    end
  end

  defp figure(mapping, {"Rss", bytes}), do: %{mapping | resident: bytes}
  defp figure(mapping, {"Anonymous", bytes}), do: %{mapping | anonymous: bytes}
  defp figure(mapping, _), do: mapping

  defp trim(" " <> text), do: trim(text)
  defp trim(text), do: text

  defp lines(text), do: :binary.split(text, "\n", [:global, :trim_all])
end
