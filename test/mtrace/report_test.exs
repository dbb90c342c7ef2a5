defmodule Mtrace.ReportTest do
  # The page of Mtrace.report/2 as text; test/report/page_test.exs opens it in a browser.
  use ExUnit.Case, async: true
  @moduletag :plain

  import Mtrace.Test.Constructed
  alias Mtrace.Test.JsonReader

  defp page(options) do
    {:ok, page} = Mtrace.report(:iodata, Keyword.put_new(options, :snapshot, snapshot()))
    IO.iodata_to_binary(page)
  end

  defp json(page) do
    [_, rest] = String.split(page, ~s(<script type="application/json" id="data">))
    rest |> String.split("</script>", parts: 2) |> hd()
  end

  defp data(options \\ []), do: options |> page() |> json() |> JsonReader.read()

  # A row as a map, with its texts.
  defp site(data, row) do
    string = &if(&1 >= 0, do: Enum.at(data["strings"], &1))

    frame = fn index ->
      [name, library, file, line, app, flags] = Enum.at(data["frames"], index)
      texts = for index <- [name, library, file, app], do: string.(index)

      [:name, :library, :file, :app]
      |> Enum.zip(texts)
      |> Map.new()
      |> Map.merge(%{line: line, flags: flags})
    end

    site = data["columns"] |> Enum.zip(row) |> Map.new()
    texts = for key <- ~w(app caller allocator), into: %{}, do: {key, string.(site[key])}

    Map.merge(site, texts)
    |> Map.merge(%{
      "stack" => Enum.map(site["stack"], frame),
      "where" => if(site["where"] >= 0, do: frame.(site["where"]))
    })
  end

  defp sites(data), do: Enum.map(data["sites"], &site(data, &1))

  describe "the data" do
    test "are the sites with their frames, each frame and text once" do
      data = data()
      assert data["strings"] == Enum.uniq(data["strings"])
      assert data["frames"] == Enum.uniq(data["frames"])
      [first, second | _] = sites(data)

      assert %{
               "live" => 1000,
               "live_bytes" => 600_000,
               "live_bytes_error" => 20_000,
               "app" => "shop 1.2.3",
               "caller" => "Shop.Native.put/2",
               "allocator" => "malloc",
               "blamed" => 1,
               "where" => %{name: "leak_item", file: "/build/leak.c", line: 13}
             } = first

      assert Enum.map(first["stack"], & &1.name) ==
               ~w(malloc leak_item Shop.Cart.add/2 gen_server:handle_call/3)

      assert Enum.map(first["stack"], & &1.flags) == [8, 0, 1, 1]
      assert hd(tl(second["stack"])).flags == 2
      assert %{"node" => "shop@host", "otp_release" => "25"} = data
      assert %{"recorded" => 1027, "interval" => 65536} = data["coverage"]
    end

    test "frames without a name have their place, sites without a culprit what is behind the hook" do
      lost = %Mtrace.Frame{address: 0xABCDEF}
      stripped = native(nil, "/usr/lib/erlang/bin/beam.smp")
      data = data(snapshot: snapshot([Mtrace.Test.Constructed.site([stripped, lost], 1, 1)]))
      [site] = sites(data)
      assert %{"blamed" => 0, "app" => nil, "where" => %{name: "+0x1234", flags: 4}} = site
      assert %{name: "+0xabcdef", library: nil, file: nil, line: 0} = List.last(site["stack"])

      empty = %{Mtrace.Test.Constructed.site([], 1, 1) | stack: []}
      assert [%{"where" => nil, "stack" => []}] = sites(data(snapshot: snapshot([empty])))
    end

    test "who called has the form of its language" do
      for {caller, text} <- [
            {{Elixir.Shop.Native, :put, 2}, "Shop.Native.put/2"},
            {{:store, :put, 3}, "store:put/3"},
            {{"Elixir.Gone", "put", 3}, "Gone.put/3"},
            {{:load, {:store, :upgrade}}, "store:upgrade, a callback"},
            {{:destructor, {Elixir.Shop, "cart"}}, "Shop.cart, a destructor"},
            {:thread, "a thread of its own"},
            {nil, nil}
          ] do
        one = Mtrace.Test.Constructed.site([native("f", "/a.so")], 1, 1, caller: caller)
        assert [%{"caller" => ^text}] = sites(data(snapshot: snapshot([one])))
      end
    end

    test "leaks have their site and processes, also where the snapshot has neither" do
      [site | _] = Mtrace.Test.Constructed.sites()

      process = %{
        pid: self(),
        bytes: 10,
        registered_name: :cart,
        initial_call: {Elixir.Shop, :init, 1},
        current_function: nil,
        label: {:cart, 7}
      }

      stored = %{
        process
        | pid: "<0.7.0>",
          registered_name: "cart",
          initial_call: "a:b/1",
          label: nil
      }

      data = data(snapshot: snapshot([]), leaks: [leak(site, processes: [process, stored])])
      [leak] = data["leaks"]
      assert %{"where" => %{name: "leak_item"}} = site(data, leak["site"])
      assert %{"verdict" => "leak", "growth_bytes" => 300_000, "survival" => 0.9988} = leak
      pid = self() |> :erlang.pid_to_list() |> List.to_string()

      assert [
               %{
                 "pid" => ^pid,
                 "name" => "cart",
                 "initial_call" => "Shop.init/1",
                 "label" => "{:cart, 7}"
               },
               %{"pid" => "<0.7.0>", "initial_call" => "a:b/1", "label" => nil}
             ] = leak["processes"]
    end

    test "the memory's lines keep their nesting" do
      assert %{"rss_bytes" => 412_000_000, "lines" => [erlang, _, rest]} =
               data(memory: memory())["memory"]

      assert [%{"name" => "ETS", "bytes" => 80_000_000, "lines" => []}] = erlang["lines"]
      assert rest["bytes"] == -10_000_000
      assert data()["memory"] == nil
    end

    test "of a full table with deep stacks are a few megabytes" do
      sites =
        for i <- 1..2000 do
          stack =
            for j <- 1..40,
                do:
                  native("function_#{rem(i * 40 + j, 5000)}", "/lib/l#{rem(j, 9)}.so",
                    line: j,
                    file: "f.c"
                  )

          Mtrace.Test.Constructed.site(stack, 2, i)
        end

      assert byte_size(page(snapshot: snapshot(sites))) < 3_000_000
    end
  end

  describe "the verdict" do
    setup do
      [first, second, third | _] = Mtrace.Test.Constructed.sites()

      {:ok,
       leak: leak(first),
       growing: leak(second, verdict: :growing, frees: 12, survival: 0.984),
       steady: leak(third, verdict: :steady)}
    end

    defp verdict(options), do: data(options)["verdict"]

    test "names what leaks, how fast and how sure", context do
      leaks = [context.leak, context.growing, context.steady, context.steady]

      assert %{"state" => "leak", "headline" => headline, "sentences" => sentences} =
               verdict(leaks: leaks)

      assert headline ==
               "leak_item at leak.c:13 in shop.so (shop 1.2.3) leaks 41.0 MiB ± 6.0 MiB a minute, " <>
                 "called as Shop.Native.put/2."

      assert sentences == [
               "None of the 812 chunks seen there in 30 s was freed: the next one stays with a chance of 99.9 %.",
               "1 more site grows."
             ]
    end

    test "is the leak's, wherever it stands among what grows", context do
      growing = %{context.steady | verdict: :growing}
      assert %{"headline" => "leak_item" <> _} = verdict(leaks: [growing, context.leak])
    end

    test "says of what grows how much of it goes", context do
      assert %{
               "state" => "growing",
               "headline" => headline,
               "sentences" => [sure | _],
               "commands" => [watch, _]
             } = verdict(leaks: [context.growing, context.growing])

      assert headline =~
               "No leak is certain, but leak_item at leak.c:13 in shop.so (shop 1.2.3) grows by 41.0 MiB"

      assert sure ==
               "Of the 812 chunks seen there in 30 s, 12 were freed: the next one stays with a chance of 98.4 %."

      assert watch =~ "window: 300000"
    end

    test "is none where nothing grew", context do
      assert %{"state" => "steady", "headline" => "No leak: nothing grew in 30 s."} =
               verdict(leaks: [context.steady])

      assert %{"state" => "steady", "headline" => "No leak: nothing grew while Mtrace watched."} =
               verdict(leaks: [])
    end

    test "says what to do where nobody watched" do
      assert %{"state" => "unwatched", "sentences" => [sentence], "commands" => [watch | _]} =
               verdict([])

      assert sentence =~
               "976.6 KiB of native memory are live, from 4 stacks; most, 585.9 KiB in 1000 chunks, from leak_item"

      assert watch == "leaks = Mtrace.leaks(window: 30_000)"
      assert verdict(leaks: nil) == verdict([])
    end

    test "says so where nothing is recorded" do
      for options <- [[], [leaks: []]] do
        assert %{"state" => "empty"} = verdict([snapshot: snapshot([])] ++ options)
      end
    end

    test "does without a stack, a culprit or a rate", context do
      bare = %{context.leak.site | stack: [], culprit: nil, caller: nil}

      leak = %{
        context.leak
        | site: bare,
          culprit: nil,
          caller: nil,
          bytes_per_minute: -1,
          bytes_per_minute_error: 0,
          allocations: 0
      }

      assert %{"headline" => "A place without a stack leaks -1 B a minute."} =
               verdict(leaks: [leak])

      assert %{"state" => "unwatched"} = verdict(snapshot: snapshot([bare]))
    end
  end

  describe "names of other people's files" do
    @hostile "</script><img src=x onerror=alert(1)><!--\u2028\e[31m\0"

    test "stay text" do
      frame =
        native(@hostile, "/lib/#{@hostile}.so", file: @hostile, app: {:"</script>", @hostile})

      one = Mtrace.Test.Constructed.site([frame], 1, 1, caller: {:"</script>", :"<b>", 1})
      snapshot = %{snapshot([one]) | node: :"<i>@h", otp_release: "<b>"}
      page = page(snapshot: snapshot, leaks: [leak(one)], title: "</title>" <> @hostile)

      assert length(String.split(page, "</script")) ==
               length(String.split(page(title: "x"), "</script"))

      refute page =~ "<img"
      refute page =~ "</title></title>"
      data = page |> json() |> JsonReader.read()

      assert [%{"where" => %{name: @hostile, file: @hostile}, "caller" => "</script>:<b>/1"}] =
               sites(data)

      assert data["title"] == "</title>" <> @hostile
    end

    test "of any bytes make a page of UTF-8" do
      # the seed that ExUnit prints
      :rand.seed(:exsss, ExUnit.configuration()[:seed])

      sites =
        for _ <- 1..200 do
          name = :rand.bytes(:rand.uniform(20))

          Mtrace.Test.Constructed.site(
            [native(name, "/" <> name, file: name, app: {:a, name})],
            1,
            1
          )
        end

      page = page(snapshot: snapshot(sites), title: :rand.bytes(30), leaks: [leak(hd(sites))])
      assert String.valid?(page)
      assert length(sites(page |> json() |> JsonReader.read())) == 200
      python_reads(json(page))
    end

    defp python_reads(json) do
      if python = System.find_executable("python3") do
        file =
          Path.join(
            System.tmp_dir!(),
            "mtrace-report-#{System.unique_integer([:positive])}.json"
          )

        File.write!(file, json)
        on_exit(fn -> File.rm(file) end)

        script =
          "import json,sys; print(len(json.load(open(sys.argv[1],encoding='utf-8'))['sites']))"

        assert {"200\n", 0} = System.cmd(python, ["-c", script, file])
      end
    end
  end

  test "only the scripts and the style that the page came with may be used" do
    page = page(title: "x")
    [_, policy] = Regex.run(~r/Content-Security-Policy" content="([^"]*)"/, page)
    assert policy =~ "default-src 'none';"
    refute policy =~ "unsafe"

    for {tag, n} <- [{"script", 2}, {"style", 1}] do
      bodies = Regex.scan(~r/<#{tag}>(.*?)<\/#{tag}>/s, page, capture: :all_but_first)
      assert length(bodies) == n

      for [body] <- bodies,
          do: assert(policy =~ "'sha256-#{Base.encode64(:crypto.hash(:sha256, body))}'")
    end

    refute page =~ "{{"
  end

  describe "the file" do
    setup do
      dir = Path.join(System.tmp_dir!(), "mtrace-report-#{System.unique_integer([:positive])}")
      File.mkdir_p!(dir)
      on_exit(fn -> File.rm_rf!(dir) end)
      {:ok, dir: dir}
    end

    defp report(path), do: Mtrace.report(path, snapshot: snapshot())

    test "is the page, and nothing lies beside it", %{dir: dir} do
      file = Path.join(dir, "größe.html")
      for _ <- 1..2, do: assert(report(file) == :ok)
      assert File.read!(file) == page([])
      assert report(String.to_charlist(file)) == :ok
      assert File.ls!(dir) == ["größe.html"]
    end

    test "that is a link stays one", %{dir: dir} do
      [link, file] = for name <- ~w(link.html file.html), do: Path.join(dir, name)
      File.write!(file, "old")
      File.ln_s!("file.html", link)
      assert report(link) == :ok
      assert File.read_link!(link) == "file.html"
      assert File.read!(file) =~ "<!DOCTYPE html>"
    end

    test "that is a link to a file that is not there yet was put in the link's place",
         %{dir: dir} do
      [link, file] = for name <- ~w(link.html file.html), do: Path.join(dir, name)
      File.ln_s!("file.html", link)
      assert report(link) == :ok
      assert File.read_link!(link) == "file.html"
      assert File.read!(file) =~ "<!DOCTYPE html>"
    end

    test "is not put in the place of what is no file", %{dir: dir} do
      assert report("/dev/null") == :ok
      assert File.stat!("/dev/null").type == :device
      assert report(dir) == {:error, :eisdir}
    end

    test "that cannot be written is an error, and what was there stays", %{dir: dir} do
      assert report(Path.join(dir, "none/report.html")) == {:error, :enoent}
      File.write!(Path.join(dir, "file"), "old")
      assert report(Path.join(dir, "file/report.html")) == {:error, :enotdir}
      assert report(Path.join(dir, String.duplicate("n", 256))) == {:error, :enametoolong}
      assert File.ls!(dir) == ["file"]
    end

    test "may have a name as long as names may be", %{dir: dir} do
      long = Path.join(dir, String.duplicate("n", 255))
      assert report(long) == :ok
      assert File.read!(long) == page([])
    end
  end

  test "wrong arguments are named" do
    for {path, options, sentence} <- [
          {nil, [], "the name of the file to write, or :iodata"},
          {"", [], "got: \"\""},
          {"a\0b", [], "the name of the file"},
          {[:a], [], "the name of the file"},
          {:iodata, :x, "a keyword list of :snapshot, :leaks, :memory, :title"},
          {:iodata, [snapshot: %{}], "as :snapshot an Mtrace.Snapshot"},
          {:iodata, [leaks: [1]], "as :leaks a list of Mtrace.Leak"},
          {:iodata, [memory: 1], "as :memory an Mtrace.Memory"},
          {:iodata, [title: ~c"x"], "as :title a string"},
          {:iodata, [leak: []],
           "the keys :snapshot, :leaks, :memory, :title, :window, not :leak"}
        ] do
      error = assert_raise ArgumentError, fn -> Mtrace.report(path, options) end
      assert error.message =~ sentence
      assert error.message =~ "got: " or sentence =~ "not :leak"
    end
  end

  test "without a snapshot, and with nothing traced, it says that nothing is traced" do
    assert_raise Mtrace.InactiveError, fn -> Mtrace.report(:iodata) end
  end

  test "what the page is made of belongs to the package" do
    assert "priv/report" in Mix.Project.config()[:package][:files]
    assert File.read!("NOTICE") =~ "d3-flame-graph"
  end
end

defmodule Mtrace.ReportOfThisNodeTest do
  use ExUnit.Case
  @moduletag :preloaded

  alias Mtrace.Test.{JsonReader, Leaky}

  test "a page of this node has what leaked here" do
    Mtrace.configure(interval: 0)
    Mtrace.reset()
    on_exit(fn -> Mtrace.configure(interval: :adaptive) end)
    Leaky.leak(:malloc, 123_457, 3)
    {:ok, page} = Mtrace.report(:iodata, window: 0)
    page = IO.iodata_to_binary(page)
    [_, json] = Regex.run(~r/id="data">(.*?)<\/script>/s, page)
    data = JsonReader.read(json)
    assert "leak_by_malloc" in data["strings"]
    assert data["verdict"]["state"] == "unwatched"
    columns = data["columns"]

    assert Enum.any?(data["sites"], fn row ->
             site = columns |> Enum.zip(row) |> Map.new()

             site["live_bytes"] == 3 * 123_457 and
               Enum.at(data["strings"], site["caller"]) =~ "Leaky.leak/3"
           end)
  end
end
