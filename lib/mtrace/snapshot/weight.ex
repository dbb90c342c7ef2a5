defmodule Mtrace.Snapshot.Weight do
  # How much memory a term of a file would take, found out before it is made: a byte of the external
  # format may become 35 of the heap, and a few bytes of a deflated file a thousand of that.
  # (erts User's Guide, External Term Format.)
  @moduledoc false

  @doc """
  Whether the terms are those that files of snapshots consist of (numbers, binaries, atoms, lists,
  tuples), and take no more than so many words.
  """
  @spec fits?(binary, non_neg_integer) :: boolean
  def fits?(<<131, terms::binary>>, words), do: fits?(terms, 1, words)
  def fits?(_, _words), do: false

  # `n` terms are to come.
  defp fits?(_, _, words) when words < 0, do: false
  defp fits?(_, 0, _), do: true
  defp fits?(<<97, _, rest::binary>>, n, words), do: fits?(rest, n - 1, words)
  defp fits?(<<98, _::32, rest::binary>>, n, words), do: fits?(rest, n - 1, words)
  defp fits?(<<70, _::64, rest::binary>>, n, words), do: fits?(rest, n - 1, words - 2)
  defp fits?(<<106, rest::binary>>, n, words), do: fits?(rest, n - 1, words)

  defp fits?(<<104, size, rest::binary>>, n, words),
    do: fits?(rest, n - 1 + size, words - size - 1)

  defp fits?(<<105, size::32, rest::binary>>, n, words),
    do: fits?(rest, n - 1 + size, words - size - 1)

  # And the tail.
  defp fits?(<<108, size::32, rest::binary>>, n, words),
    do: fits?(rest, n + size, words - 2 * size)

  defp fits?(<<107, size::16, _::binary-size(size), rest::binary>>, n, words),
    do: fits?(rest, n - 1, words - 2 * size)

  defp fits?(<<109, size::32, _::binary-size(size), rest::binary>>, n, words),
    do: fits?(rest, n - 1, words - div(size, 8) - 8)

  defp fits?(<<110, size, _, _::binary-size(size), rest::binary>>, n, words),
    do: fits?(rest, n - 1, words - div(size, 8) - 2)

  defp fits?(<<111, size::32, _, _::binary-size(size), rest::binary>>, n, words),
    do: fits?(rest, n - 1, words - div(size, 8) - 2)

  # Atoms, of Latin-1 and UTF-8, with long and short lengths.
  defp fits?(<<tag, size::16, _::binary-size(size), rest::binary>>, n, words)
       when tag in [100, 118],
       do: fits?(rest, n - 1, words)

  defp fits?(<<tag, size, _::binary-size(size), rest::binary>>, n, words)
       when tag in [115, 119],
       do: fits?(rest, n - 1, words)

  defp fits?(_, _, _), do: false
end
