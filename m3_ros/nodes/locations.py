"""Paths as ROS users write them: plain, file:///..., or package://name/..."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from m3_ros.errors import M3Error


def local_path(url: str) -> Path:
    """Return the path that a plain path, a file:// URL or a package:// URL names.

    Raises:
        M3Error: the URL is empty, of another kind, or names a package that is not installed.
    """
    if not url.strip():
        raise M3Error("a path is needed; got an empty one: give a plain path, file:///... or package://name/...")
    parts = urlsplit(url)
    if "://" not in url:
        return Path(url).expanduser().absolute()
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if parts.scheme == "package":
        return _share(parts.netloc) / unquote(parts.path).lstrip("/")
    raise M3Error(f"{url!r} is of kind {parts.scheme!r}; known are plain paths, file:///... and package://name/...")


def _share(package: str) -> Path:
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    try:
        return Path(get_package_share_directory(package))
    except (PackageNotFoundError, OSError, ValueError) as error:
        raise M3Error(f"package {package!r} is not installed here ({error}): give a plain path") from error
