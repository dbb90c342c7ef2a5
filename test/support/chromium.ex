defmodule Mtrace.Test.Chromium do
  @moduledoc """
  A headless Chromium, spoken to by its DevTools protocol over a pipe: JSON with a zero byte behind
  each message. Records what the page requests and what it logs.
  """
  use GenServer
  alias Mtrace.Export.Json
  alias Mtrace.Test.JsonReader

  @programs ~w(chromium chromium-browser google-chrome)
  @patience 60_000

  def find, do: Enum.find_value(@programs, &System.find_executable/1)

  def start_link(_), do: GenServer.start_link(__MODULE__, nil)

  @doc "A command of the protocol, its result."
  def command(browser, method, params \\ %{}),
    do: GenServer.call(browser, {:command, method, params}, @patience)

  @doc "Opens the file in a window of this size, and waits until the page has drawn itself."
  def open(browser, file, width \\ 1280, media \\ "light") do
    GenServer.call(browser, :forget)

    command(browser, "Emulation.setDeviceMetricsOverride", %{
      width: width,
      height: 900,
      deviceScaleFactor: 1,
      mobile: false
    })

    command(browser, "Emulation.setEmulatedMedia", %{
      features: [%{name: "prefers-color-scheme", value: media}]
    })

    command(browser, "Page.navigate", %{url: "file://" <> file})
    await(browser, "document.readyState === 'complete' && location.protocol === 'file:'")
  end

  @doc "The value of an expression in the page."
  def run(browser, expression) do
    answer =
      command(browser, "Runtime.evaluate", %{
        expression: expression,
        returnByValue: true,
        awaitPromise: true
      })

    if details = answer["exceptionDetails"], do: raise("#{expression}: #{inspect(details)}")
    answer["result"]["value"]
  end

  @doc "Waits until the expression holds."
  def await(browser, expression, tries \\ 200) do
    cond do
      run(browser, expression) == true -> :ok
      tries == 0 -> raise "in vain: #{expression}"
      true -> Process.sleep(20) && await(browser, expression, tries - 1)
    end
  end

  @doc "A click of the mouse on the middle of what the selector finds, scrolled into view."
  def click(browser, selector) do
    box = """
    (() => { const e = document.querySelector(#{json(selector)}); e.scrollIntoView({block: 'center'});
      const r = e.getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2]; })()
    """

    [x, y] = run(browser, box)

    for type <- ~w(mouseMoved mousePressed mouseReleased) do
      command(browser, "Input.dispatchMouseEvent", %{
        type: type,
        x: x,
        y: y,
        button: "left",
        clickCount: 1
      })
    end
  end

  @doc "A key, by its name in the DOM: \"Tab\", \"Enter\", \"ArrowDown\"."
  def press(browser, key) do
    code = %{
      "Tab" => 9,
      "Enter" => 13,
      "Escape" => 27,
      "ArrowUp" => 38,
      "ArrowDown" => 40,
      "ArrowLeft" => 37,
      "ArrowRight" => 39
    }

    for type <- ~w(rawKeyDown keyUp) do
      command(browser, "Input.dispatchKeyEvent", %{
        type: type,
        key: key,
        windowsVirtualKeyCode: code[key]
      })
    end
  end

  def type(browser, selector, text) do
    run(browser, "document.querySelector(#{json(selector)}).select()")
    command(browser, "Input.insertText", %{text: text})
  end

  def screenshot(browser, file) do
    %{"data" => data} =
      command(browser, "Page.captureScreenshot", %{captureBeyondViewport: true})

    File.write!(file, Base.decode64!(data))
  end

  @doc "`%{requests: [url], errors: [text]}` since the page was opened."
  def seen(browser), do: GenServer.call(browser, :seen)

  def json(term), do: term |> Json.encode() |> IO.iodata_to_binary()

  @impl true
  def init(nil) do
    folder =
      Path.join(System.tmp_dir!(), "mtrace-chromium-#{System.unique_integer([:positive])}")

    File.mkdir_p!(folder)

    # The protocol's descriptors are 3 and 4; a port has 0 and 1. Without a sandbox: tests run as root.
    script = "exec \"$@\" 3<&0 4>&1 0</dev/null 1>\"$0/log\" 2>&1"

    args =
      ~w(--headless=new --remote-debugging-pipe --no-sandbox --disable-gpu --no-first-run
         --disable-background-networking --disable-dev-shm-usage --hide-scrollbars) ++
        ["--user-data-dir=#{folder}"]

    port =
      Port.open(
        {:spawn_executable, "/bin/sh"},
        [:binary, :exit_status, env: [{~c"LD_PRELOAD", false}]] ++
          [args: ["-c", script, folder, find() | args]]
      )

    Process.flag(:trap_exit, true)
    state = %{port: port, folder: folder, rest: "", id: 0, session: nil, events: []}
    {%{"targetId" => target}, state} = ask(state, "Target.createTarget", %{url: "about:blank"})

    {%{"sessionId" => session}, state} =
      ask(state, "Target.attachToTarget", %{targetId: target, flatten: true})

    state = %{state | session: session}

    state =
      Enum.reduce(~w(Page Runtime Network Log), state, &elem(ask(&2, &1 <> ".enable", %{}), 1))

    {:ok, state}
  end

  @impl true
  def handle_call({:command, method, params}, _from, state) do
    {answer, state} = ask(state, method, params)
    {:reply, answer, state}
  end

  def handle_call(:forget, _from, state), do: {:reply, :ok, %{state | events: []}}

  def handle_call(:seen, _from, state) do
    requests = for {"Network.requestWillBeSent", p} <- state.events, do: p["request"]["url"]

    errors =
      Enum.flat_map(state.events, fn
        {"Runtime.exceptionThrown", p} -> [inspect(p["exceptionDetails"])]
        {"Runtime.consoleAPICalled", p} -> [inspect(p["args"])]
        {"Log.entryAdded", p} -> [p["entry"]["text"]]
        _ -> []
      end)

    {:reply, %{requests: Enum.reverse(requests), errors: Enum.reverse(errors)}, state}
  end

  @impl true
  def handle_info({port, {:data, data}}, %{port: port} = state),
    do: {:noreply, events(state, data)}

  def handle_info({port, {:exit_status, _}}, %{port: port} = state),
    do: {:stop, :chromium_ended, state}

  def handle_info(_, state), do: {:noreply, state}

  # It ends when the pipe is closed.
  @impl true
  def terminate(_reason, state) do
    {:os_pid, pid} = Port.info(state.port, :os_pid) || {:os_pid, nil}
    if Port.info(state.port), do: Port.close(state.port)
    if pid, do: await_end(pid, 200)
    File.rm_rf(state.folder)
  end

  defp await_end(pid, tries) do
    if tries > 0 and File.exists?("/proc/#{pid}") do
      Process.sleep(20)
      await_end(pid, tries - 1)
    end
  end

  defp ask(state, method, params) do
    id = state.id + 1
    message = %{id: id, method: method, params: params}
    message = if state.session, do: Map.put(message, :sessionId, state.session), else: message
    Port.command(state.port, [Json.encode(message), 0])
    answer(%{state | id: id}, id)
  end

  defp answer(%{port: port} = state, id) do
    receive do
      {^port, {:data, data}} ->
        {messages, state} = messages(state, data)
        {[answers], others} = {[Enum.filter(messages, &(&1["id"] == id))], messages}
        state = Enum.reduce(others, state, &event/2)

        case answers do
          [%{"result" => result}] -> {result, state}
          [%{"error" => error}] -> raise "chromium: #{inspect(error)}"
          [] -> answer(state, id)
        end

      {^port, {:exit_status, status}} ->
        raise "chromium ended with #{status}: #{File.read!(Path.join(state.folder, "log"))}"
    after
      @patience -> raise "chromium does not answer"
    end
  end

  defp events(state, data) do
    {messages, state} = messages(state, data)
    Enum.reduce(messages, state, &event/2)
  end

  defp event(%{"method" => method, "params" => params}, state),
    do: %{state | events: [{method, params} | state.events]}

  defp event(_, state), do: state

  defp messages(state, data) do
    {whole, [rest]} = (state.rest <> data) |> String.split(<<0>>) |> Enum.split(-1)
    {Enum.map(whole, &JsonReader.read/1), %{state | rest: rest}}
  end
end
