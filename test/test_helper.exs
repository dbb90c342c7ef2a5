# The same suite runs twice: in a BEAM that Mtrace is preloaded into (tests tagged :preloaded), and in
# one that it is not (tests tagged :plain). Fixtures are built by their makefiles.
for dir <- ["nif", "programs"] do
  path = Path.join(__DIR__, dir)

  case System.cmd("make", ["-s", "-C", path], stderr_to_stdout: true) do
    {_, 0} -> :ok
    {output, _} -> raise "the fixtures in test/#{dir} could not be built:\n" <> output
  end
end

other = if Mtrace.status().active == :preloaded, do: :plain, else: :preloaded
ExUnit.start(exclude: [other], timeout: 300_000)
