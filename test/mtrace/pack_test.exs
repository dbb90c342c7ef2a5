defmodule Mtrace.PackTest do
  # The tar for nodes that carry neither Mtrace nor Elixir, used as its head says.
  use ExUnit.Case, async: true
  @moduletag :plain

  setup do
    dir = Path.join(System.tmp_dir!(), "mtrace-pack-#{System.unique_integer([:positive])}")
    File.mkdir_p!(dir)
    on_exit(fn -> File.rm_rf!(dir) end)

    {output, status} =
      System.cmd(Path.expand("bin/pack"), [Path.join(dir, "mtrace.tar.gz")],
        env: [{"MIX_ENV", nil}],
        stderr_to_stdout: true
      )

    assert status == 0, output
    {_, 0} = System.cmd("tar", ["xzf", "mtrace.tar.gz"], cd: dir)
    [folder] = Path.wildcard(Path.join(dir, "mtrace-*"))
    {:ok, folder: folder}
  end

  # In a plain Erlang, whose code path has no Elixir.
  for mode <- ["interactive", "embedded"] do
    test "attaches to, and names, in #{mode} mode", %{folder: folder} do
      {output, status} =
        System.cmd("erl", ["-mode", unquote(mode), "-noshell", "-eval", expression(folder)],
          env: [{"ERL_LIBS", nil}],
          stderr_to_stdout: true
        )

      assert {status, output} == {0, "{attached,true,ok,detached}"}
    end
  end

  defp expression(folder) do
    """
    {module, _} = code:load_abs("#{folder}/mtrace_load"),
    \#{active := inactive} = mtrace_load:here(),
    {ok, Status} = 'Elixir.Mtrace':attach(),
    [list_to_binary(lists:seq(1, 200)) || _ <- lists:seq(1, 100)],
    code:load_abs(code:lib_dir(stdlib) ++ "/ebin/calendar"),
    Snapshot = 'Elixir.Mtrace':snapshot(),
    Printed = is_binary('Elixir.Kernel':inspect(Snapshot)) andalso is_list('Elixir.Mtrace':olds(3, true)),
    Detached = 'Elixir.Mtrace':detach(),
    io:format("~w", [{maps:get(active, Status), Printed, Detached, maps:get(active, 'Elixir.Mtrace':status())}]),
    halt().
    """
  end
end
