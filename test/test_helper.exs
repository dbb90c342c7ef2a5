# The same suite runs three times: in a BEAM that Mtrace is preloaded into (tests tagged :preloaded),
# in one that it is not (tests tagged :plain), and, with MTRACE_TEST=attached, in one that it was
# attached to afterwards: those of the first but what is about the start (tagged :from_start).
# Fixtures are built by their makefiles.
for dir <- ["nif", "programs"] do
  path = Path.join(__DIR__, dir)

  case System.cmd("make", ["-s", "-C", path], stderr_to_stdout: true) do
    {_, 0} -> :ok
    {output, _} -> raise "the fixtures in test/#{dir} could not be built:\n" <> output
  end
end

exclude =
  cond do
    Mtrace.status().active == :preloaded ->
      [:plain]

    System.get_env("MTRACE_TEST") == "attached" ->
      {:ok, %{active: :attached}} = Mtrace.attach()
      [:plain, :from_start]

    true ->
      [:preloaded]
  end

ExUnit.start(exclude: exclude, timeout: 300_000)
