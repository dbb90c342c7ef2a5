defmodule Mtrace.Export.PprofTest do
  use ExUnit.Case, async: true
  @moduletag :plain

  import Mtrace.Test.Recorded
  alias Mtrace.Test.Profile

  @types [
    {"alloc_objects", "count"},
    {"alloc_space", "bytes"},
    {"inuse_objects", "count"},
    {"inuse_space", "bytes"}
  ]

  defp totals(profile) do
    Enum.reduce(profile.samples, [0, 0, 0, 0], fn sample, sums ->
      Enum.zip_with(sums, sample.values, &+/2)
    end)
  end

  defp sums(snapshot) do
    for key <- [:allocated, :allocated_bytes, :live, :live_bytes] do
      snapshot.sites |> Enum.map(&Map.fetch!(&1, key)) |> Enum.sum()
    end
  end

  defp names(sample), do: for(%{lines: lines} <- sample.stack, {name, _, _} <- lines, do: name)

  test "has the types of Go's heap profiles, time, coverage and interval" do
    profile = shop() |> exported(:pprof) |> Profile.read()
    assert profile.types == @types
    assert profile.default == "inuse_space"
    assert profile.time_nanos == 1_795_170_226_123_456_000
    assert profile.period == {"inuse_space", "bytes", 1024}

    assert profile.comments == [
             "node shop@host, OTP 25",
             "interval 1024 bytes",
             "recorded 6 of 4096 slots, ignored 1, thinned 2",
             "2 different stacks"
           ]
  end

  test "splits what is alive by process and thread, and what was allocated is the site's" do
    profile = shop() |> exported(:pprof) |> Profile.read()
    me = self() |> :erlang.pid_to_list() |> to_string()
    site = %{"app" => "shop", "caller" => "Shop.put/2", "allocator" => "malloc"}

    assert profile.samples
           |> Enum.filter(&("put" in names(&1)))
           |> Enum.map(&{&1.values, &1.labels}) ==
             [
               {[22, 4450, 0, 0], site},
               {[0, 0, 3, 2500],
                Map.merge(site, %{
                  "pid" => "<0.0.0>",
                  "process" => "init",
                  "thread" => "8 dirty_cpu",
                  "age" => {10, "milliseconds"}
                })},
               {[0, 0, 7, 750],
                Map.merge(site, %{
                  "pid" => me,
                  "thread" => "7 1_scheduler",
                  "age" => {20, "milliseconds"}
                })}
             ]

    assert [%{values: [1, 64, 0, 0]}, %{values: [0, 0, 1, 64], labels: labels}] =
             Enum.reject(profile.samples, &("put" in names(&1)))

    assert %{"caller" => "load Shop.load", "allocator" => "enif"} = labels
    refute is_map_key(labels, "pid")
  end

  test "stacks begin behind the hook, inlined functions share a location, Erlang has its own mapping" do
    profile = shop() |> exported(:pprof) |> Profile.read()
    [put | _] = profile.samples

    assert [
             %{
               mapping: "/app/lib/shop-1.2.3/priv/shop.so",
               start: 0x7F1000000000,
               address: 0x7F1000000500,
               lines: [{"inlined_copy", "/src/copy.h", 7}, {"put", "/src/put.c", 13}]
             },
             %{
               mapping: "/usr/lib/erlang/erts-13.1.5/bin/beam.smp",
               lines: [{"beam_jit_call_nif", "", 0}]
             },
             %{mapping: "[erlang]", lines: [{"Shop.put/2", "lib/shop.ex", 10}]},
             %{mapping: "[erlang]", lines: [{"lists:foldl/3", "", 0}], address: 0x7F2000000900}
           ] = put.stack

    assert "shop.so+0x5840" in names(List.last(profile.samples))
  end

  test "values of groups add up to their site's, however their weights are rounded" do
    # the seed that ExUnit prints
    :rand.seed(:exsss, ExUnit.configuration()[:seed])

    for _ <- 1..20 do
      snapshot = random()
      profile = snapshot |> exported(:pprof) |> Profile.read()
      assert totals(profile) == sums(snapshot)
      assert Enum.all?(profile.samples, fn s -> Enum.all?(s.values, &(&1 >= 0)) end)
      assert Enum.any?(profile.samples, &is_map_key(&1.labels, "age"))
    end
  end

  test "sites whose chunks are not there keep their totals" do
    snapshot = %{random() | chunks: []}
    profile = snapshot |> exported(:pprof) |> Profile.read()
    assert totals(profile) == sums(snapshot)
  end

  test "an empty snapshot is an empty profile" do
    profile = empty() |> exported(:pprof) |> Profile.read()
    assert %{types: @types, samples: []} = profile
  end

  test "names of any bytes become UTF-8 without control characters" do
    profile = hell() |> exported(:pprof) |> Profile.read()
    assert totals(profile) == sums(hell())
    names = profile.samples |> Enum.flat_map(&names/1) |> Enum.uniq()
    assert "\uFFFDx\uFFFD" in names and "a\uFFFDb\uFFFD\uFFFDc" in names
    assert "</script><!--" in names and "größe 🧵" in names and "\uFFFDevil\uFFFD" in names
    refute Enum.any?(names, &(&1 =~ ~r/[\x00-\x1F\x7F]/))
  end

  test "a stack of nothing but the hook is shown as none, and unknown addresses without a mapping" do
    bare = site([hook()])
    lost = site([hook(), %Mtrace.Frame{address: 0xABC}])
    snapshot = snapshot([{bare, [chunk(bare, 1, 1.0)]}, {lost, [chunk(lost, 1, 1.0)]}])
    profile = snapshot |> exported(:pprof) |> Profile.read()

    assert [["[no stack]"], ["[no stack]"], ["0xabc"], ["0xabc"]] ==
             Enum.map(profile.samples, &names/1)

    assert [[nil], [nil], [nil], [nil]] ==
             for(s <- profile.samples, do: for(l <- s.stack, do: l.mapping))
  end

  describe "go tool pprof" do
    @describetag skip: without("go")

    defp pprof(snapshot, arguments) do
      file = file(".pb.gz")
      assert :ok == Mtrace.export(snapshot, :pprof, file)

      {output, status} =
        System.cmd("go", ["tool", "pprof"] ++ arguments ++ [file],
          env: [{"PPROF_TMPDIR", System.tmp_dir!()}, {"LD_PRELOAD", nil}],
          stderr_to_stdout: true
        )

      assert status == 0, output
      output
    end

    test "shows live bytes unless asked for another value" do
      top = pprof(shop(), ["-top", "-unit=B"])
      assert top =~ "Type: inuse_space"
      assert top =~ "100% of 3314B total"
      assert top =~ ~r/3250B 98\.07%\s+98\.07%\s+3250B 98\.07%\s+inlined_copy/
      assert top =~ ~r/64B +1\.93% +100% +64B +1\.93% +shop\.so\+0x5840/
      assert pprof(shop(), ["-top", "-unit=B", "-sample_index=alloc_space"]) =~ "4514B total"
      assert pprof(shop(), ["-top", "-sample_index=inuse_objects"]) =~ "100% of 11 total"
      assert pprof(shop(), ["-top", "-sample_index=alloc_objects"]) =~ "100% of 23 total"
    end

    test "filters by labels and lists lines" do
      assert pprof(shop(), ["-top", "-unit=B", "-tagfocus=process=init"]) =~
               "2500B, 75.44% of 3314B total"

      assert pprof(shop(), ["-top", "-unit=B", "-tagfocus=15ms:25ms"]) =~
               "750B, 22.63% of 3314B total"

      assert pprof(shop(), ["-top", "-lines"]) =~ "copy.h:7"

      assert pprof(shop(), ["-tags", "-unit=B"]) =~
               ~r/allocator: Total 3314\.0B\s+3250\.0B \(98\.07%\): malloc/

      assert pprof(shop(), ["-comments"]) =~ "recorded 6 of 4096 slots"
    end

    test "reads names of any bytes, and a profile of nothing" do
      assert pprof(hell(), ["-raw"]) =~ "</script><!--"
      assert pprof(hell(), ["-top", "-unit=B"]) =~ "of #{10 * length(hostile())}B total"
      assert pprof(empty(), ["-raw"]) =~ "inuse_space"
    end
  end
end
