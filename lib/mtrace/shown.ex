defmodule Mtrace.Shown do
  # How structs are printed: as their own text, or, where a field is not what it should be, with all
  # fields as they are. What is made by hand, or by another version, can be looked at, too.
  @moduledoc false

  @doc "`text` makes a document of the struct, or raises."
  @spec as(struct, Inspect.Opts.t(), (struct -> Inspect.Algebra.t())) :: Inspect.Algebra.t()
  def as(struct, options, text) do
    text.(struct)
  rescue
    _ -> Inspect.Any.inspect(struct, options)
  end
end
