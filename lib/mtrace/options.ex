defmodule Mtrace.Options do
  # Options of the public calls.
  @moduledoc false

  @doc """
  The options, if they are a keyword list of the names in `known`, each with a value that its function
  accepts. Raises `ArgumentError` with a sentence that says what is wrong.
  """
  @spec check!(String.t(), term, [{atom, (term -> boolean)}]) :: keyword
  def check!(call, options, known) do
    unless Keyword.keyword?(options) do
      raise ArgumentError, "Mtrace.#{call} takes a keyword list, got: #{inspect(options)}"
    end

    for {name, value} <- options do
      valid = Keyword.get(known, name)

      unless valid do
        raise ArgumentError,
              "Mtrace.#{call} has no option #{inspect(name)}; it takes " <>
                Enum.map_join(Keyword.keys(known), ", ", &inspect/1)
      end

      unless valid.(value) do
        raise ArgumentError,
              "Mtrace.#{call} cannot use #{inspect(value)} as #{inspect(name)}; see its documentation"
      end
    end

    options
  end
end
