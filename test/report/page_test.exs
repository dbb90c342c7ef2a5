defmodule Mtrace.ReportPageTest do
  # The page of Mtrace.report/2 in a headless Chromium: what a reader sees and does.
  use ExUnit.Case
  @moduletag :plain

  import Mtrace.Test.Constructed
  alias Mtrace.Test.Chromium

  unless Chromium.find() do
    @moduletag skip: "there is no Chromium here: on Debian, apt-get install chromium"
  end

  setup_all do
    {:ok, browser: start_supervised!(Chromium)}
  end

  setup do
    file =
      Path.join(System.tmp_dir!(), "mtrace-page-#{System.unique_integer([:positive])}.html")

    on_exit(fn -> File.rm(file) end)
    {:ok, page: file}
  end

  # Opens a page of the constructed snapshot, in a window of 1280 points unless said otherwise.
  defp open(%{browser: browser, page: file}, options, width \\ 1280, media \\ "light") do
    options = Keyword.put_new(options, :snapshot, snapshot())
    assert Mtrace.report(file, options) == :ok
    Chromium.open(browser, file, width, media)
    browser
  end

  defp leaks do
    [first, second | _] = sites()
    [leak(first), leak(second, verdict: :growing, growth_bytes: 100_000)]
  end

  defp text(browser, selector) do
    Chromium.run(browser, "document.querySelector(#{Chromium.json(selector)}).innerText")
    |> String.replace("\u00A0", " ")
  end

  defp texts(browser, selector) do
    Chromium.run(
      browser,
      "[...document.querySelectorAll(#{Chromium.json(selector)})].map((e) => e.textContent)"
    )
    |> Enum.map(&String.replace(&1, "\u00A0", " "))
  end

  # Names of the frames that are drawn, outermost first, with their widths in points.
  defp drawn(browser) do
    Chromium.run(browser, """
    [...document.querySelectorAll('g.frame')].map((g) =>
      [g.getAttribute('name'), Math.round(Number(g.getAttribute('width'))), g.__data__.depth])
    """)
    |> Enum.sort_by(fn [_, _, depth] -> depth end)
    |> Enum.map(fn [name, width, _] -> {name, width} end)
  end

  defp frame(name), do: "g.frame[name=#{Chromium.json(name)}]"

  defp choose(browser, selector, text) do
    Chromium.run(browser, """
    (() => {
      const select = document.querySelector(#{Chromium.json(selector)});
      const option = [...select.options].find((o) => o.textContent.startsWith(#{Chromium.json(text)}));
      select.value = option.value;
      select.dispatchEvent(new Event('change'));
    })()
    """)
  end

  defp value(browser, key), do: Chromium.click(browser, "input[name=value][value=#{key}]")

  test "draws everything, logs no error and requests nothing but itself", context do
    browser = open(context, leaks: leaks(), memory: memory(), title: "The shop")
    assert text(browser, "#headline") =~ "leak_item at leak.c:13 in shop.so"
    assert text(browser, "#state") =~ ~r/^leak$/i
    assert texts(browser, "#leak-table tbody strong") == ["Leak", "Growing"]
    assert text(browser, "#leak-table") =~ "41.0 MiB ± 6.0 MiB"
    assert [{"all", all}, {"gen_server:handle_call/3", most} | _] = drawn(browser)
    assert_in_delta most / all, 0.9, 0.01
    assert text(browser, "#shown") == "976.6 KiB ± 19.5 KiB (live bytes) from 4 sites"
    assert length(texts(browser, "#site-table tbody tr")) == 4
    assert length(texts(browser, "#memory-bar .part")) == 2

    assert texts(browser, "#memory-table .depth") ==
             ["Erlang's data", "ETS", "malloc, in use", "unexplained", "Resident memory"]

    assert text(browser, "#memory-table") =~ "-9.5 MiB"
    assert text(browser, "#coverage") =~ "1,027 of 4,096 slots"
    assert text(browser, "#title") == "The shop"

    Chromium.await(browser, "document.querySelectorAll('g.frame rect[width]').length > 5")
    assert Chromium.seen(browser) == %{requests: ["file://" <> context.page], errors: []}
  end

  test "colours Erlang's frames apart from native ones", context do
    browser = open(context, [])

    colour = fn name ->
      Chromium.run(
        browser,
        "getComputedStyle(document.querySelector(#{Chromium.json(frame(name) <> " rect")})).fill"
      )
    end

    erlang = colour.("Shop.Cart.add/2")
    assert erlang == colour.("gen_server:handle_call/3")
    assert colour.("leak_item") != erlang
    assert colour.("beam_load") not in [erlang, colour.("leak_item")]
  end

  test "zooms by a click, and out again", context do
    browser = open(context, [])
    before = drawn(browser)
    Chromium.click(browser, frame("store_put"))
    zoomed = drawn(browser)
    widths = Map.new(zoomed)
    assert widths["store_put"] == widths["all"]
    refute Map.has_key?(widths, "leak_item")
    assert text(browser, "#frame") =~ "97.7 KiB, 10.0 % of what is shown, 1 site"
    Chromium.click(browser, "#unzoom")
    assert drawn(browser) == before
    assert Chromium.run(browser, "document.getElementById('unzoom').disabled")
  end

  test "is read and zoomed by the keyboard alone", context do
    browser = open(context, [])
    Chromium.run(browser, "document.querySelector('g.frame[tabindex=\"0\"]').focus()")
    at = fn -> Chromium.run(browser, "document.activeElement.getAttribute('name')") end
    assert at.() == "all"
    # one stop among the others of the page
    assert Chromium.run(browser, "document.querySelectorAll('g[tabindex=\"0\"]').length") == 1
    for _ <- 1..3, do: Chromium.press(browser, "ArrowDown")
    assert at.() == "leak_item"

    assert Chromium.run(browser, "document.activeElement.getAttribute('aria-label')") =~
             "leak_item, leak.c:13, shop 1.2.3"

    assert text(browser, "#frame") =~ "/build/leak.c:13"
    Chromium.press(browser, "ArrowRight")
    assert at.() == "store_put"
    Chromium.press(browser, "Enter")
    assert at.() == "store_put"
    assert Map.new(drawn(browser))["store_put"] == Map.new(drawn(browser))["all"]
    Chromium.press(browser, "Escape")
    assert Map.has_key?(Map.new(drawn(browser)), "leak_item")
    Chromium.press(browser, "ArrowUp")
    assert at.() == "Shop.Cart.add/2"
    # one stop among the others of the page
    assert Chromium.run(browser, "document.querySelectorAll('g[tabindex=\"0\"]').length") == 1
  end

  test "finds by function, file, library and application", context do
    browser = open(context, [])

    for {term, found} <- [
          {"LEAK_item", "found 1 frame with 781.3 KiB, 80.0 %"},
          {"leak.c", "found 1 frame"},
          {"store-0.9", "found 1 frame with 97.7 KiB, 10.0 %"},
          {"stdlib", "found 1 frame with 878.9 KiB, 90.0 %"},
          # frames within one that is found are not counted twice
          {"shop", "found 3 frames with 878.9 KiB, 90.0 %"},
          {"no.such", "the search finds nothing"}
        ] do
      Chromium.type(browser, "#search", term)
      assert text(browser, "#shown") =~ found
    end

    Chromium.type(browser, "#search", "store_put")

    assert Chromium.run(
             browser,
             "[...document.querySelectorAll('g[data-match]')].map((g) => g.getAttribute('name'))"
           ) == ["store_put"]

    # what is zoomed into does not change what is found
    Chromium.click(browser, frame("leak_item"))
    Chromium.type(browser, "#search", "shop")
    assert text(browser, "#shown") =~ "found 3 frames with 878.9 KiB, 90.0 %"
  end

  test "filters graph and table by application and by NIF", context do
    browser = open(context, leaks: leaks())
    names = fn -> for {name, _} <- drawn(browser), do: name end
    rows = fn -> length(texts(browser, "#site-table tbody tr")) end

    choose(browser, "#by-app", "store")
    assert names.() == ["all", "gen_server:handle_call/3", "Shop.Cart.add/2", "store_put"]
    assert rows.() == 1
    assert text(browser, "#shown") == "97.7 KiB (live bytes) from 1 site"

    choose(browser, "#by-caller", "Shop.Native.put/2")
    assert text(browser, "#graph-empty") == "Nothing to show with this choice."
    assert rows.() == 0

    choose(browser, "#by-app", "all")
    assert rows.() == 2
    assert "leak_item" in names.() and "store_put" not in names.()

    choose(browser, "#by-caller", "not from a NIF")
    assert names.() == ["all", "beam_load"]
    choose(browser, "#by-caller", "all")
    assert rows.() == 4
    assert Chromium.seen(browser).errors == []
  end

  test "switches what the width shows, growth only where it is known", context do
    browser = open(context, leaks: leaks())

    share = fn name ->
      widths = Map.new(drawn(browser))
      Float.round((widths[name] || 0) / widths["all"], 2)
    end

    assert share.("store_put") == 0.1
    value(browser, "live")
    assert text(browser, "#shown") == "1,027 (live chunks) from 4 sites"
    assert share.("store_put") == 0.0
    value(browser, "allocated_bytes")
    assert text(browser, "#shown") =~ "2.9 MiB (allocated bytes)"
    value(browser, "growth_bytes")
    assert text(browser, "#shown") =~ "390.6 KiB ± 27.6 KiB (growth in bytes) from 2 sites"
    assert share.("std::list<int>::push(int const&)") == 0.25

    browser = open(context, [])
    assert length(texts(browser, "input[name=value]")) == 3
  end

  test "is light or dark as the reader's system is, until the switch says otherwise", context do
    page = "getComputedStyle(document.body).backgroundColor"
    browser = open(context, [], 1280, "light")
    light = Chromium.run(browser, page)
    browser = open(context, [], 1280, "dark")
    dark = Chromium.run(browser, page)
    assert dark != light
    Chromium.click(browser, "#theme")
    assert Chromium.run(browser, page) == light

    assert Chromium.run(
             browser,
             "document.getElementById('theme').getAttribute('aria-pressed')"
           ) == "false"

    Chromium.click(browser, "#theme")
    assert Chromium.run(browser, page) == dark
  end

  test "sorts the sites, and opens their stacks", context do
    browser = open(context, [])
    first = fn -> texts(browser, "#site-table tbody tr:first-child td") end
    assert hd(first.()) == "585.9 KiB ± 19.5 KiB"
    Chromium.click(browser, "#site-table th:nth-child(2) button")
    Chromium.click(browser, "#site-table th:nth-child(2) button")
    assert Enum.at(first.(), 1) == "2"

    assert Chromium.run(
             browser,
             "document.querySelector('#site-table th:nth-child(2)').getAttribute('aria-sort')"
           ) == "ascending"

    Chromium.click(browser, "#site-table tbody button")

    assert texts(browser, ".stack li") == [
             "malloc malloc.c:139 mtrace.so mtrace 0.1.0",
             "beam_load beam.smp"
           ]

    Chromium.click(browser, "#site-table tbody button")
    assert texts(browser, ".stack li") == []
  end

  test "shows names that look like HTML as text", context do
    hostile = "</script><img src=x onerror=\"window.ran = 1\">\e[31m\u202Efdp"

    frame =
      native(hostile, "/lib/#{hostile}.so", file: hostile, line: 3, app: {:"<b>x</b>", hostile})

    one = site([frame, erlang(hostile)], 1, 100, caller: {:"<i>m</i>", :"<u>", 1})

    process = %{
      pid: self(),
      bytes: 1,
      registered_name: :"<img src=y>",
      initial_call: nil,
      current_function: nil,
      label: nil
    }

    line = %Mtrace.Memory.Line{kind: :x, name: hostile, bytes: 1, source: hostile}
    memory = %{memory() | sentence: hostile, advice: hostile, lines: [line]}

    browser =
      open(context,
        snapshot: %{snapshot([one]) | node: :"<b>@h", otp_release: hostile},
        leaks: [leak(one, processes: [process])],
        memory: memory,
        title: hostile
      )

    shown = "</script><img src=x onerror=\"window.ran = 1\">\\u{1b}[31m\\u{202e}fdp"
    assert hd(texts(browser, "#site-table .link")) == shown
    assert text(browser, "#title") == shown
    Chromium.click(browser, "#site-table tbody button")
    Chromium.click(browser, "g.frame:nth-of-type(2)")
    Chromium.type(browser, "#search", hostile)
    choose(browser, "#by-app", "<b>x</b>")

    Chromium.await(
      browser,
      "document.querySelector('.d3-flame-graph-label').textContent.length > 0"
    )

    assert Chromium.run(
             browser,
             "document.querySelectorAll('img, main b, main i, main u').length"
           ) == 0

    assert Chromium.run(browser, "window.ran === undefined")
    assert Chromium.seen(browser) == %{requests: ["file://" <> context.page], errors: []}
  end

  test "runs no script that something puts into it, and loads nothing", context do
    browser = open(context, [])

    Chromium.run(browser, """
    (() => {
      const script = document.createElement('script');
      script.textContent = 'window.ran = 1';
      document.body.append(script);
      const image = document.createElement('img');
      image.src = 'http://127.0.0.1:9/x.png';
      document.body.append(image);
    })()
    """)

    assert Chromium.run(browser, "window.ran === undefined")
    errors = Enum.join(Chromium.seen(browser).errors, "\n")
    assert errors =~ "script-src" and errors =~ "img-src"
  end

  test "says what to do where nobody watched or nothing is recorded", context do
    browser = open(context, [])
    assert text(browser, "#verdict pre") =~ "Mtrace.leaks(window: 30_000)"
    assert Chromium.run(browser, "document.getElementById('leaks').hidden")

    browser = open(context, snapshot: snapshot([]))
    assert text(browser, "#headline") =~ "Nothing is recorded"
    assert text(browser, "#graph-empty") == "Nothing is recorded."
    assert text(browser, "#sites-note") == "No site matches."
    Chromium.type(browser, "#search", "x")
    assert Chromium.seen(browser).errors == []
  end

  test "shortens names of C++ and Rust to their functions, and has them whole too", context do
    names = [
      cpp = "space::holder<std::vector<int, std::allocator<int>>>::put(int, void const*)",
      rust = "<alloc::vec::Vec<core::option::Option<T>> as core::ops::drop::Drop>::drop",
      arrow = "call<a_long_name_of_a_function(one)->two, three>::again(four) const",
      odd = "a_name_with_a_bracket_that_is_never_closed_again<and_then_more"
    ]

    sites = for {name, i} <- Enum.with_index(names, 1), do: site([native(name, "/l.so")], 1, i)
    browser = open(context, snapshot: snapshot(Enum.reverse(sites)))

    assert texts(browser, "#site-table .link") == [
             odd,
             "call<…>::again(…) const",
             "<alloc::vec::Vec<…> as core::ops::drop::Drop>::drop",
             "space::holder<…>::put(…)"
           ]

    for name <- [cpp, rust, arrow] do
      assert Chromium.run(
               browser,
               "[...document.querySelectorAll('g title')].some((t) => t.textContent.startsWith(#{Chromium.json(name)}))"
             )
    end
  end

  test "keeps what did not grow behind a button, and many sites too", context do
    [first | _] = sites()
    sites = for i <- 1..100, do: site([native("f#{i}", "/l.so")], i, i)
    steady = leak(first, verdict: :steady)
    browser = open(context, snapshot: snapshot(sites), leaks: [leak(first), steady, steady])
    assert length(texts(browser, "#leak-table tbody tr")) == 1
    assert text(browser, "#more-leaks") == "Show 2 that did not grow"
    Chromium.click(browser, "#more-leaks")
    assert length(texts(browser, "#leak-table tbody tr")) == 3
    assert length(texts(browser, "#site-table tbody tr")) == 30
    Chromium.click(browser, "#more-sites")
    assert length(texts(browser, "#site-table tbody tr")) == 100
  end

  test "fits a window of 400 points, and follows when it is made wider", context do
    long = String.duplicate("a_name_without_any_space_", 20)

    one =
      site([native(long, "/lib/#{long}.so", file: long, line: 1, app: {:app, long})], 1, 100)

    browser =
      open(context, [snapshot: snapshot([one]), leaks: [leak(one)], memory: memory()], 400)

    assert Chromium.run(browser, "document.documentElement.scrollWidth") == 400

    inner =
      "[...document.querySelectorAll('.table')].every((e) => e.scrollWidth <= e.clientWidth)"

    assert Chromium.run(browser, inner)
    [{"all", width} | _] = drawn(browser)

    Chromium.command(browser, "Emulation.setDeviceMetricsOverride", %{
      width: 1000,
      height: 900,
      deviceScaleFactor: 1,
      mobile: false
    })

    Chromium.await(
      browser,
      "Number(document.querySelector('g.frame').getAttribute('width')) > #{width}"
    )

    assert Chromium.run(browser, "document.documentElement.scrollWidth") == 1000
  end

  test "names every control, and its colours can be told from their ground", context do
    browser = open(context, leaks: leaks(), memory: memory())

    unnamed = """
    [...document.querySelectorAll('button, select, input')].filter((e) => !e.hidden &&
      !(e.textContent.trim() || e.labels?.length || e.getAttribute('aria-label'))).length
    """

    assert Chromium.run(browser, unnamed) == 0

    for _ <- 1..2 do
      for name <- ~w(text quiet link leak growing steady unwatched),
          ground <- ~w(card page),
          do:
            assert(
              contrast(browser, "--" <> name, "--" <> ground) >= 4.5,
              "#{name} on #{ground}"
            )

      for name <- ~w(erlang own other all match),
          do: assert(contrast(browser, "#10141a", "--" <> name) >= 4.5, name)

      Chromium.click(browser, "#theme")
    end
  end

  # Web Content Accessibility Guidelines 2.1: contrast ratio.
  defp contrast(browser, one, other) do
    [a, b] = Enum.sort([luminance(browser, one), luminance(browser, other)])
    (b + 0.05) / (a + 0.05)
  end

  defp luminance(_browser, "#" <> hex) do
    [r, g, b] = for <<digits::binary-2 <- hex>>, do: linear(String.to_integer(digits, 16) / 255)
    0.2126 * r + 0.7152 * g + 0.0722 * b
  end

  defp luminance(browser, variable) do
    hex =
      Chromium.run(
        browser,
        "getComputedStyle(document.documentElement).getPropertyValue('#{variable}').trim()"
      )

    luminance(browser, hex)
  end

  defp linear(c) when c <= 0.03928, do: c / 12.92
  defp linear(c), do: :math.pow((c + 0.055) / 1.055, 2.4)
end
