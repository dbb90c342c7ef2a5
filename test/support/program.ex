defmodule Mtrace.Test.Program do
  @moduledoc "Runs programs with and without Mtrace preloaded."

  @build Path.expand("../build/programs", __DIR__)

  def object, do: "#{Mtrace.Native.path()}.so"

  @doc "The path of a program of test/programs."
  def path(name), do: Path.join(@build, name)

  @doc """
  Runs `command`, a path or a program of test/programs, and returns `{output, status}`, errors
  included. Options: `:preload`, a list (default: Mtrace), and `:env`.
  """
  def run(command, args \\ [], options \\ []) do
    preload = Enum.join(Keyword.get(options, :preload, [object()]), ":")
    env = [{"LD_PRELOAD", preload} | Keyword.get(options, :env, [])]

    found =
      if File.exists?(path(command)), do: path(command), else: System.find_executable(command)

    System.cmd("env", Enum.map(env, &pair/1) ++ [found | args], stderr_to_stdout: true)
  end

  @doc "The same with MTRACE=1."
  def trace(command, args \\ [], options \\ []) do
    run(
      command,
      args,
      Keyword.update(options, :env, [{"MTRACE", "1"}], &[{"MTRACE", "1"} | &1])
    )
  end

  defp pair({name, value}), do: "#{name}=#{value}"

  @doc "Whether Mtrace's own walk exists here: glibc 2.35, on x86-64 or arm64."
  def walks? do
    {version, 0} = System.cmd("getconf", ["GNU_LIBC_VERSION"])
    [_, minor] = Regex.run(~r/glibc 2\.(\d+)/, version)

    String.to_integer(minor) >= 35 and
      to_string(:erlang.system_info(:system_architecture)) =~ ~r/x86_64|aarch64/
  end

  @doc "A shared library that the loader finds by this name, or nil."
  def library(name) do
    {output, 0} = System.cmd("sh", ["-c", "ldconfig -p 2>/dev/null || /sbin/ldconfig -p"])
    if output =~ name, do: name
  end
end
