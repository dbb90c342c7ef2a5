defmodule Mtrace.Options do
  # Options of the public calls.
  @moduledoc false

  @type known :: [{atom, {(term -> boolean), String.t()}}]

  @doc """
  The options, if they are a keyword list of the names in `known`, each with a value that its function
  accepts. Raises `ArgumentError` with a sentence that says what the call takes.
  """
  @spec check!(String.t(), term, known) :: keyword
  def check!(call, options, known) do
    unless Keyword.keyword?(options) do
      raise ArgumentError, "Mtrace.#{call} takes a keyword list, got: #{shown(options)}"
    end

    for {name, value} <- options do
      case Keyword.get(known, name) do
        nil ->
          raise ArgumentError,
                "Mtrace.#{call} has no option #{inspect(name)}; it takes " <>
                  Enum.map_join(Keyword.keys(known), ", ", &inspect/1)

        {valid, takes} ->
          unless valid.(value) do
            raise ArgumentError,
                  "Mtrace.#{call} takes as #{inspect(name)} #{takes}, got: #{shown(value)}"
          end
      end
    end

    options
  end

  @doc "A value in a sentence."
  @spec shown(term) :: String.t()
  def shown(value), do: inspect(value, limit: 5, printable_limit: 60)
end
