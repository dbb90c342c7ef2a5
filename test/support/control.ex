defmodule Mtrace.Test.Control do
  @moduledoc "Runs priv/mtracectl."

  alias Mtrace.Test.Program

  def path, do: Path.join(Path.dirname(Program.object()), "mtracectl")

  @doc """
  Runs it with these arguments and returns `{stdout, stderr, status}`. A first word that is the
  name of a program of test/programs is its path. Option: `:env`.
  """
  def run(args, options \\ []) do
    errors = Path.join(System.tmp_dir!(), "mtracectl-#{System.unique_integer([:positive])}")

    try do
      {out, status} =
        System.cmd("sh", ["-c", ~s(exec "$0" "$@" 2>"$ERRORS"), path() | args],
          env: [{"ERRORS", errors} | Keyword.get(options, :env, [])]
        )

      {out, File.read!(errors), status}
    after
      File.rm(errors)
    end
  end

  @doc "Runs `program` of test/programs with these arguments under `mtracectl run`."
  def trace(options \\ [], program, args),
    do: run(["run"] ++ options ++ [Program.path(program) | args])

  @doc """
  Starts a command whose first line of output is a number; returns the port and that. It ends
  when its standard input is closed: see `finish/1`.
  """
  def start(command, args) do
    port =
      Port.open({:spawn_executable, command}, [
        :binary,
        :exit_status,
        :stderr_to_stdout,
        args: args
      ])

    {port, String.to_integer(String.trim(await(port, "", ~r/^\d+\n/m)))}
  end

  @doc "What it prints until `pattern` is found in it."
  def await(port, so_far, pattern) do
    if so_far =~ pattern do
      so_far
    else
      receive do
        {^port, {:data, data}} -> await(port, so_far <> data, pattern)
        {^port, {:exit_status, status}} -> raise "ended with #{status}: #{so_far}"
      after
        30_000 -> raise "nothing came: #{so_far}"
      end
    end
  end

  @doc "Lets it go on to its end; returns `{what it printed, status}`."
  def finish(port) do
    Port.command(port, "x")
    ending(port, "")
  end

  def ending(port, so_far) do
    receive do
      {^port, {:data, data}} -> ending(port, so_far <> data)
      {^port, {:exit_status, status}} -> {so_far, status}
    after
      30_000 -> raise "it does not end: #{so_far}"
    end
  end
end
