defmodule Mtrace.Release do
  @moduledoc """
  Preloads Mtrace in a release: one line in mix.exs.

      def project do
        [
          app: :shop,
          releases: [shop: [steps: [:assemble, &Mtrace.Release.preload/1]]],
          ...
        ]
      end

  Put it before `:tar`, if that is among the steps, so that what is packed has it. The project's own
  `rel/env.sh.eex` stays as it is and stays in force.
  """

  @begin "# mtrace: begin. Mtrace.Release.preload/1 wrote these lines and replaces them."
  @finish "# mtrace: end"

  @doc """
  A step for `mix release` that has the release's node started with Mtrace preloaded, and returns the
  release as it was given.

  It appends some lines to the env.sh that `:assemble` made, or replaces those that it appended
  before. They act for `start`, `start_iex`, `daemon` and `daemon_iex` only, and

    * name the object from `RELEASE_ROOT`, so that the release may be packed, copied and moved
    * put it in front of an `LD_PRELOAD` that is set, once
    * leave everything as it is, with one line on stderr that says why, if the object is missing, its
      path has a space or a colon in it (which `LD_PRELOAD` cannot name), or the system's loader
      refuses it: that of another architecture, or an older glibc's. The node then starts untraced

  To start the node once without it, with everything else as it is: `MTRACE=0 bin/shop start`.

  Raises `ArgumentError` if the release has no env.sh (it is for Windows only, or the step stands
  before `:assemble`), or if Mtrace is not among its applications. It costs one start of `sh` when
  the node starts, some milliseconds.

      iex> Mtrace.Release.preload(release)
      * adding mtrace-0.1.0/priv/mtrace.so to LD_PRELOAD in releases/0.1.0/env.sh
      %Mix.Release{...}
  """
  @spec preload(release) :: release when release: %{required(atom) => term}
  def preload(%{version_path: folder, applications: applications} = release) do
    version = version!(applications)
    file = Path.join(folder, "env.sh")
    File.write!(file, file |> read!() |> without_lines() |> Kernel.<>(lines(version)))
    say(release, version)
    release
  end

  def preload(other) do
    raise ArgumentError,
          "Mtrace.Release.preload/1 is a step of mix release, to be named in mix.exs as " <>
            "steps: [:assemble, &Mtrace.Release.preload/1], and takes a release, got: #{inspect(other)}"
  end

  defp version!(%{mtrace: properties}), do: to_string(properties[:vsn])

  defp version!(_) do
    raise ArgumentError,
          "Mtrace is not among the applications of this release, so there is nothing to preload: " <>
            "have it in deps, and without runtime: false or an only: that leaves :prod out"
  end

  defp read!(file) do
    case File.read(file) do
      {:ok, text} ->
        text

      {:error, reason} ->
        raise ArgumentError,
              "Mtrace.Release.preload/1 adds lines to #{file}, which cannot be read " <>
                "(#{:file.format_error(reason)}): name the step behind :assemble, in a release " <>
                "that has executables for :unix"
    end
  end

  defp without_lines(text) do
    pattern = ~r/^#{Regex.escape(@begin)}\n.*?^#{Regex.escape(@finish)}\n/ms
    text = Regex.replace(pattern, text, "")
    if text == "" or String.ends_with?(text, "\n"), do: text, else: text <> "\n"
  end

  # An object that the loader cannot map costs a message for each program that is started, and one
  # that wants a newer glibc ends them all: a shell is tried with it first.
  defp lines(version) do
    """
    #{@begin}
    case ${RELEASE_COMMAND-} in
    start | start_iex | daemon | daemon_iex)
      mtrace=$RELEASE_ROOT/lib/mtrace-#{version}/priv/mtrace.so
      mtrace_refused=
      case $mtrace in
      *[[:space:]:]*) mtrace_refused='LD_PRELOAD cannot name a path with a space or a colon' ;;
      *)
        if [ ! -f "$mtrace" ]; then
          mtrace_refused='the file is missing'
        else
          mtrace_refused=$(LD_PRELOAD="$mtrace" sh -c : 2>&1) || mtrace_refused="${mtrace_refused:-refused}"
        fi
        ;;
      esac
      case " ${LD_PRELOAD-} " in
      *[\\ :]"$mtrace"[\\ :]*) ;;
      *)
        if [ -n "$mtrace_refused" ]; then
          echo "mtrace: $mtrace is not preloaded: $mtrace_refused" >&2
        else
          export LD_PRELOAD="$mtrace${LD_PRELOAD:+:$LD_PRELOAD}"
        fi
        ;;
      esac
      unset mtrace mtrace_refused
      ;;
    esac
    #{@finish}
    """
  end

  defp say(release, version) do
    if Map.get(release, :options, [])[:quiet] != true do
      shown = Path.join(["releases", Path.basename(release.version_path), "env.sh"])
      IO.puts("* adding mtrace-#{version}/priv/mtrace.so to LD_PRELOAD in #{shown}")
    end
  end
end
