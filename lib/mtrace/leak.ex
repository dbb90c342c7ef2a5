defmodule Mtrace.Leak do
  @moduledoc """
  What `Mtrace.leaks/1` found out about one site.

    * `verdict` - `:leak`: what has lived there for a while stays, and more comes; `:growing`: it grows,
      but some of that is freed, too, or it is one chunk that grows; `:steady`: neither. How they are
      told apart stands at `Mtrace.leaks/1`
    * `site` - the `Mtrace.Site`, as at the end of the window
    * `culprit`, `caller` - as in the site: the code to look at, and the NIF that was called
    * `processes` - the Erlang processes that what grew was allocated for, most bytes first, at most
      5: a list of `%{pid:, bytes:, registered_name:, initial_call:, current_function:, label:}`, `nil`
      where nothing is known
    * `growth_bytes`, `growth` - bytes and chunks that the site has more than at the window's
      beginning, negative where it shrank; `growth_bytes_error` the standard error
    * `bytes_per_minute`, `bytes_per_minute_error` - how fast: where chunks stay, those that came in the
      first two thirds of the window and are there, less those that went, by time; else the growth
    * `allocations`, `frees` - chunks that were seen to be allocated in the first part of the window,
      and how many of them were gone at its end
    * `survival` - `1 - (frees + 1) / (allocations + 2)`, Laplace's rule of succession: the chance
      that the next one stays, too
    * `window_ms` - how long was watched
  """

  @type verdict :: :leak | :growing | :steady

  @type process :: %{
          pid: pid | String.t(),
          bytes: non_neg_integer,
          registered_name: atom | String.t() | nil,
          initial_call: mfa | String.t() | nil,
          current_function: mfa | String.t() | nil,
          label: term
        }

  @type t :: %__MODULE__{
          verdict: verdict,
          site: Mtrace.Site.t(),
          culprit: Mtrace.Frame.t() | nil,
          caller: Mtrace.Chunk.caller(),
          processes: [process],
          growth: integer,
          growth_bytes: integer,
          growth_bytes_error: non_neg_integer,
          bytes_per_minute: integer,
          bytes_per_minute_error: non_neg_integer,
          allocations: non_neg_integer,
          frees: non_neg_integer,
          survival: float,
          window_ms: pos_integer
        }

  defstruct [
    :verdict,
    :site,
    :culprit,
    :caller,
    :growth,
    :growth_bytes,
    :growth_bytes_error,
    :bytes_per_minute,
    :bytes_per_minute_error,
    :allocations,
    :frees,
    :survival,
    :window_ms,
    processes: []
  ]

  defimpl Inspect do
    alias Mtrace.{Culprit, Frame, Size}

    def inspect(leak, options), do: Mtrace.Shown.as(leak, options, &text/1)

    defp text(leak) do
      where = Culprit.headline(leak.site.stack)
      error = if leak.bytes_per_minute_error > 0, do: " ± " <> size(leak.bytes_per_minute_error)

      Frame.wrap(
        "#Mtrace.Leak<#{leak.verdict}, #{size(leak.bytes_per_minute)}#{error} a minute, " <>
          survival(leak) <>
          if(where, do: ", #{Frame.short(where)}", else: "") <> caller(leak.caller) <> ">"
      )
    end

    defp size(bytes) when bytes < 0, do: "-" <> Size.format(-bytes)
    defp size(bytes), do: Size.format(bytes)
    defp survival(%{allocations: 0}), do: "none new"
    defp survival(leak), do: "#{percent(leak.survival)} survive"
    defp percent(share), do: "#{round(100 * share)} %"

    defp caller({_, _, arity} = mfa) when is_integer(arity),
      do: ", called by " <> Frame.printable(Mtrace.Group.caller(mfa))

    defp caller(_), do: ""
  end
end
