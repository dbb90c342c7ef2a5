defmodule Mtrace.Applications do
  # Which OTP application a native library or a module belongs to, by the folders of the code path:
  # <folder>/priv/**/*.so and <folder>/ebin.
  @moduledoc false

  @enforce_keys [:folders]
  defstruct [:folders, :privs]

  @doc "The code path as it is now. Costs a few hundred µs."
  def read do
    folders =
      for ebin <- :code.get_path(),
          path = absolute(to_string(ebin)),
          Path.basename(path) == "ebin",
          into: %{} do
        {Path.dirname(path), path}
      end

    %__MODULE__{folders: folders}
  end

  # Path.expand/1 asks another process for the working directory each time, which on a busy node takes
  # a while, and code paths are absolute mostly.
  defp absolute("/" <> _ = path), do: path
  defp absolute(path), do: Path.expand(path)

  @doc "`{application, version}` of a library's file, or `nil`."
  def of_library(%__MODULE__{} = apps, library) do
    case String.split(library, "/priv/") do
      [_] ->
        nil

      parts ->
        # The folder before any of the path's "priv"s, the innermost first.
        1..(length(parts) - 1)
        |> Enum.map(&(parts |> Enum.take(&1) |> Enum.join("/priv/")))
        |> Enum.reverse()
        |> Enum.find_value(&(app(apps, &1) || by_inode(apps, &1)))
    end
  end

  @doc "The same of a module that is loaded."
  def of_module(%__MODULE__{} = apps, module) do
    case :code.is_loaded(module) do
      {:file, file} when is_list(file) ->
        app(apps, file |> to_string() |> absolute() |> Path.dirname() |> Path.dirname())

      {:file, :preloaded} ->
        {:erts, to_string(:erlang.system_info(:version))}

      _ ->
        nil
    end
  end

  defp app(apps, folder) do
    with %{^folder => ebin} <- apps.folders, do: describe(folder, ebin), else: (_ -> nil)
  end

  # Mix links priv folders: the library's path may be the link's, or its target's.
  defp by_inode(apps, folder) do
    with {:ok, %{inode: inode, major_device: device}} <- File.stat(Path.join(folder, "priv")) do
      Enum.find_value(apps.folders, fn {other, ebin} ->
        case File.stat(Path.join(other, "priv")) do
          {:ok, %{inode: ^inode, major_device: ^device}} -> describe(other, ebin)
          _ -> nil
        end
      end)
    else
      _ -> nil
    end
  end

  # The name is in the code path of this node; it is made an atom as the node itself does.
  defp describe(folder, ebin) do
    [name | version] = folder |> Path.basename() |> String.split("-", parts: 2)
    {String.to_atom(name), vsn(Path.join(ebin, "#{name}.app")) || List.first(version)}
  end

  defp vsn(file) do
    with {:ok, [{:application, _, properties}]} <- :file.consult(file),
         vsn when is_list(vsn) <- properties[:vsn] do
      to_string(vsn)
    else
      _ -> nil
    end
  end
end
