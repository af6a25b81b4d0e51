"""Archives of raw topics: Parquet files and manifests on any file system that fsspec knows.

Importing anything of this package takes pyarrow and fsspec, so only what needs an archive does.
"""

from importlib.util import find_spec

from service.errors import Problem

if missing := [name for name in ("pyarrow", "fsspec") if find_spec(name) is None]:
    raise Problem(f'an archive needs {" and ".join(missing)}: pip install "bluetick[archive]"')
